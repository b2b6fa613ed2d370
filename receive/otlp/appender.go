package otlp

import (
	"cmp"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
)

// appender is what the translator appends to. It writes the samples into a
// message of remote write 2.0, one series each, and remembers which data point
// each is of: a point of an explicit histogram or a summary becomes several.
type appender struct {
	msg     message
	samples []appendedSample
	points  int

	// Of the sample before.
	family, suffix string
}

var _ storage.AppenderV2 = (*appender)(nil)

type appendedSample struct {
	t        int64
	point    int // 0 for target_info, which is of no point
	from, to int // where its series is in the message
}

func (a *appender) reset() {
	a.msg.reset()
	clear(a.samples[:cap(a.samples)])
	a.samples = a.samples[:0]
	a.points, a.family, a.suffix = 0, "", ""
}

// size is about how many bytes a holds on to.
func (a *appender) size() int {
	const sampleSize = 32
	return a.msg.size() + sampleSize*cap(a.samples)
}

// Append takes a sample. It never fails: what is wrong with a sample is found
// when the message is appended.
func (a *appender) Append(_ storage.SeriesRef, ls labels.Labels, st, t int64, v float64, h *histogram.Histogram, _ *histogram.FloatHistogram, opts storage.AppendV2Options) (storage.SeriesRef, error) {
	sample := appendedSample{t: t, point: a.pointOf(ls, opts), from: len(a.msg.series)}
	a.msg.begin(ls)
	if h != nil {
		a.msg.histogram(st, t, h)
	} else {
		a.msg.sample(st, t, v)
	}
	for _, e := range opts.Exemplars {
		a.msg.exemplar(e)
	}
	a.msg.metadata(opts.Metadata.Type, opts.Metadata.Help, opts.Metadata.Unit)
	a.msg.end()
	sample.to = len(a.msg.series)
	a.samples = append(a.samples, sample)
	return 1, nil
}

// message returns the samples as a message, which is valid until the next
// reset. They are in the order of time: OTLP does not promise that the points
// of a stream are, and the storage wants them so.
func (a *appender) message() []byte {
	byTime := func(x, y appendedSample) int { return cmp.Compare(x.t, y.t) }
	if slices.IsSortedFunc(a.samples, byTime) {
		a.msg.symbols = append(a.msg.symbols, a.msg.series...)
		return a.msg.symbols
	}
	slices.SortStableFunc(a.samples, byTime)
	out := slices.Grow(a.msg.symbols, len(a.msg.series))
	for _, s := range a.samples {
		out = append(out, a.msg.series[s.from:s.to]...)
	}
	a.msg.symbols = out
	return out
}

// pointOf returns which data point a sample is of. The translator says nothing
// of it, but appends a histogram as its _sum, if it has one, _count and
// _buckets, and a summary as its _sum, _count and quantiles.
func (a *appender) pointOf(ls labels.Labels, opts storage.AppendV2Options) int {
	if opts.MetricFamilyName == "target_info" && opts.Metadata.Help == "Target metadata" {
		return 0
	}
	suffix, _ := strings.CutPrefix(ls.Get(model.MetricNameLabel), opts.MetricFamilyName)
	var same bool
	switch suffix {
	case "":
		same = opts.Metadata.Type == model.MetricTypeSummary && a.suffix != ""
	case "_bucket":
		same = true
	case "_count":
		same = a.suffix == "_sum" && a.family == opts.MetricFamilyName
	}
	// All quantiles of a summary belong to the _count before them.
	if suffix != "" {
		a.suffix = suffix
	} else if !same {
		a.suffix = ""
	}
	a.family = opts.MetricFamilyName
	if !same {
		a.points++
	}
	return a.points
}

// Commit does nothing: the message is appended after the translation.
func (a *appender) Commit() error { return nil }

// Rollback does nothing.
func (a *appender) Rollback() error { return nil }

// refusals counts the data points that had samples refused.
type refusals struct {
	of      *appender
	counted map[int]bool
}

// add notes that the storage has refused the sample that is series i of the
// message.
func (r *refusals) add(i int) {
	point := r.of.samples[i].point
	if point == 0 {
		return
	}
	if r.counted == nil {
		r.counted = map[int]bool{}
	}
	r.counted[point] = true
}
