package receive

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/record"
)

// sampleTimes counts samples and has their times in ms, both inclusive.
type sampleTimes struct {
	n          int
	mint, maxt int64
}

func (s *sampleTimes) add(t int64) { s.merge(sampleTimes{1, t, t}) }

func (s *sampleTimes) merge(o sampleTimes) {
	switch {
	case o.n == 0:
	case s.n == 0:
		*s = o
	default:
		s.n, s.mint, s.maxt = s.n+o.n, min(s.mint, o.mint), max(s.maxt, o.maxt)
	}
}

// logLoss is what a damaged log has lost.
type logLoss struct {
	segments []string // that are damaged or missing
	missing  []string // those of them that are not there
	bytes    int64    // that cannot be read, of segments that are there
	// torn is set if all of it is the beginning of a record with which the log
	// ends. If a crash left it, the record was never acknowledged.
	torn bool
	// around spans the samples of some records before and after each place that
	// cannot be read. What was there lies between them in the log, so it should
	// in time. An end is unknown if nothing can be read on that side.
	around                  sampleTimes
	sinceStart, untilTheEnd bool
	// orphans are samples that can be read, but not which series they are of,
	// since that was said where it cannot be read.
	orphans sampleTimes
}

// logSurvey reads a log to the end and finds out what is missing from it.
type logSurvey struct {
	loss  logLoss
	known map[chunks.HeadSeriesRef]bool
	found map[chunks.HeadSeriesRef]*sampleTimes

	decoder record.Decoder
	recent  [logNeighbours]sampleTimes // of the last records with samples, in a ring
	records int                        // with samples
	pending int                        // how many records count to the last gap yet
}

// logNeighbours is how many records on either side of a gap tell its time: more
// than one, since those in order and out of order take turns.
const logNeighbours = 16

func newLogSurvey() *logSurvey {
	return &logSurvey{
		known:   map[chunks.HeadSeriesRef]bool{},
		found:   map[chunks.HeadSeriesRef]*sampleTimes{},
		decoder: record.NewDecoder(labels.NewSymbolTable(), slog.New(slog.DiscardHandler)),
		loss:    logLoss{torn: true},
	}
}

// read surveys the segments of a log, the newest of them last: only that one was
// being written when the process died.
func (s *logSurvey) read(segments []string) error {
	for i, segment := range segments {
		damaged := false
		err := scanFile(segment, s.record, func(g logGap) error {
			damaged = true
			if g.missing {
				s.loss.missing = append(s.loss.missing, segment)
			}
			g.torn = g.torn && i == len(segments)-1
			s.gap(g)
			return nil
		})
		if err != nil {
			return err
		}
		if damaged {
			s.loss.segments = append(s.loss.segments, segment)
		}
	}
	return nil
}

func (s *logSurvey) gap(g logGap) {
	s.loss.bytes += g.bytes
	s.loss.torn = s.loss.torn && g.torn
	for _, times := range s.recent {
		s.loss.around.merge(times)
	}
	s.loss.sinceStart = s.loss.sinceStart || s.records == 0
	s.pending = logNeighbours
}

// record takes in a record, which is decodable.
func (s *logSurvey) record(rec []byte) error {
	var samples sampleTimes
	sample := func(ref chunks.HeadSeriesRef, t int64) {
		samples.add(t)
		of := s.found[ref]
		if of == nil {
			of = &sampleTimes{}
			s.found[ref] = of
		}
		of.add(t)
	}
	switch s.decoder.Type(rec) {
	case record.Series:
		series, _ := s.decoder.Series(rec, nil)
		for _, one := range series {
			s.known[one.Ref] = true
		}
	case record.Samples, record.SamplesV2:
		floats, _ := s.decoder.Samples(rec, nil)
		for _, one := range floats {
			sample(one.Ref, one.T)
		}
	case record.HistogramSamples, record.CustomBucketsHistogramSamples, record.HistogramSamplesV2:
		histograms, _ := s.decoder.HistogramSamples(rec, nil)
		for _, one := range histograms {
			sample(one.Ref, one.T)
		}
	case record.FloatHistogramSamples, record.CustomBucketsFloatHistogramSamples, record.FloatHistogramSamplesV2:
		histograms, _ := s.decoder.FloatHistogramSamples(rec, nil)
		for _, one := range histograms {
			sample(one.Ref, one.T)
		}
	}
	if samples.n == 0 {
		return nil
	}
	if s.pending > 0 {
		s.loss.around.merge(samples)
		s.pending--
	}
	s.recent[s.records%logNeighbours] = samples
	s.records++
	return nil
}

// end returns what is missing. Samples of series that are not in known have
// lost them; nil if it is not known which series there are.
func (s *logSurvey) end(known map[chunks.HeadSeriesRef]bool) logLoss {
	s.loss.untilTheEnd = s.pending == logNeighbours
	if known != nil {
		for ref, samples := range s.found {
			if !known[ref] {
				s.loss.orphans.merge(*samples)
			}
		}
	}
	return s.loss
}

// attrs are what a log line says of the loss.
func (l logLoss) attrs() []any {
	out := []any{"segments", len(l.segments), "bytes", l.bytes}
	if len(l.missing) > 0 {
		out = append(out, "segments_missing", len(l.missing), "first_missing", l.missing[0])
	}
	if l.around.n > 0 && !l.sinceStart {
		out = append(out, "from", utc(l.around.mint))
	}
	if l.around.n > 0 && !l.untilTheEnd {
		out = append(out, "to", utc(l.around.maxt))
	}
	if l.orphans.n > 0 {
		out = append(out, "samples_without_series", l.orphans.n, "samples_from", utc(l.orphans.mint), "samples_to", utc(l.orphans.maxt))
	}
	return out
}

func utc(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// damagedSegments returns those of the segments that have gaps or are missing, and
// hands the types of all other records and the greatest reference in each to use.
func damagedSegments(segments []string, use func(record.Type, chunks.HeadSeriesRef)) (damaged []string, err error) {
	valid := func(rec []byte) bool {
		greatest, ok := checkRecord(rec)
		if ok {
			use(record.Type(rec[0]), greatest)
		}
		return ok
	}
	for _, segment := range segments {
		gaps := 0
		err := scanFileFor(segment, valid, func([]byte) error { return nil }, func(logGap) error { gaps++; return nil })
		if err != nil {
			return nil, err
		}
		if gaps > 0 {
			damaged = append(damaged, segment)
		}
	}
	return damaged, nil
}

// scanFile is scanSegment of a file, which may be missing, for records that the
// TSDB can decode.
func scanFile(segment string, record func(rec []byte) error, gap func(logGap) error) error {
	return scanFileFor(segment, decodable, record, gap)
}

func scanFileFor(segment string, valid func(rec []byte) bool, record func(rec []byte) error, gap func(logGap) error) error {
	f, err := os.Open(segment)
	if errors.Is(err, fs.ErrNotExist) {
		return gap(logGap{missing: true})
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return scanSegment(f, valid, record, gap)
}
