package querytest

import (
	"cmp"
	"iter"
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
)

// Data is what a backend under test must hold.
type Data struct {
	Streams []Stream
}

// Stream is the series that share one set of external labels.
type Stream struct {
	// External labels that every series of the stream gets when it is read.
	// No two streams of one Data have the same.
	External labels.Labels
	// Series have different labels, also after External was added.
	Series []Series
	// Metadata by metric family.
	Metadata map[string]metadata.Metadata
}

// Series is one series as it was written.
type Series struct {
	// Labels without the external labels of the stream.
	Labels labels.Labels
	// Samples in order of time, no two at the same time.
	Samples []Sample
	// Exemplars in order of time.
	Exemplars []exemplar.Exemplar
}

// Sample is a float, or a histogram if one of the pointers is set.
type Sample struct {
	// T is the timestamp in milliseconds.
	T int64
	// ST is the start timestamp in milliseconds, 0 if there is none. The data
	// of the suite has none.
	ST             int64
	Float          float64
	Histogram      *histogram.Histogram
	FloatHistogram *histogram.FloatHistogram
}

// Labels returns the labels under which series is read: its own, overruled by
// the external labels of its stream.
func (s Stream) Labels(series Series) labels.Labels {
	return withExternal(series.Labels, s.External)
}

func withExternal(lset, external labels.Labels) labels.Labels {
	b := labels.NewBuilder(lset)
	external.Range(func(l labels.Label) { b.Set(l.Name, l.Value) })
	return b.Labels()
}

// Placed is a sample together with where it belongs.
type Placed struct {
	Stream int // index in Data.Streams
	Series int // index in Stream.Series
	Sample Sample
}

// ByTime yields all samples of all streams in order of time, as a database
// would receive them. The samples are copies, since appending a histogram may
// change it.
func (d Data) ByTime() iter.Seq[Placed] {
	var all []Placed
	for i, stream := range d.Streams {
		for j, series := range stream.Series {
			for _, s := range series.Samples {
				all = append(all, Placed{Stream: i, Series: j, Sample: s.Copy()})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b Placed) int { return cmp.Compare(a.Sample.T, b.Sample.T) })
	return slices.Values(all)
}

// Between returns the part of d with mint <= time < maxt: half-open, as the
// ranges of blocks are. Series and streams left without a sample are dropped.
func (d Data) Between(mint, maxt int64) Data {
	var cut Data
	for _, stream := range d.Streams {
		var series []Series
		for _, s := range stream.Series {
			kept := Series{Labels: s.Labels}
			for _, sample := range s.Samples {
				if mint <= sample.T && sample.T < maxt {
					kept.Samples = append(kept.Samples, sample)
				}
			}
			for _, e := range s.Exemplars {
				if mint <= e.Ts && e.Ts < maxt {
					kept.Exemplars = append(kept.Exemplars, e)
				}
			}
			if len(kept.Samples) > 0 {
				series = append(series, kept)
			}
		}
		if len(series) > 0 {
			cut.Streams = append(cut.Streams, Stream{External: stream.External, Series: series, Metadata: stream.Metadata})
		}
	}
	return cut
}

// Only returns the streams of d for which keep says so.
func (d Data) Only(keep func(external labels.Labels) bool) Data {
	var cut Data
	for _, stream := range d.Streams {
		if keep(stream.External) {
			cut.Streams = append(cut.Streams, stream)
		}
	}
	return cut
}

// Range returns the times of the first and last sample of the stream. Without
// samples mint is greater than maxt.
func (s Stream) Range() (mint, maxt int64) {
	mint, maxt = math.MaxInt64, math.MinInt64
	for _, series := range s.Series {
		if n := len(series.Samples); n > 0 {
			mint = min(mint, series.Samples[0].T)
			maxt = max(maxt, series.Samples[n-1].T)
		}
	}
	return mint, maxt
}

// Copy returns a sample that shares nothing with s.
func (s Sample) Copy() Sample {
	if s.Histogram != nil {
		s.Histogram = s.Histogram.Copy()
	}
	if s.FloatHistogram != nil {
		s.FloatHistogram = s.FloatHistogram.Copy()
	}
	return s
}

// clone returns a copy of d that shares no sample with it.
func (d Data) clone() Data {
	copied := Data{Streams: slices.Clone(d.Streams)}
	for i, stream := range copied.Streams {
		list := slices.Clone(stream.Series)
		for j, series := range list {
			samples := make([]Sample, 0, len(series.Samples))
			for _, s := range series.Samples {
				samples = append(samples, s.Copy())
			}
			list[j].Samples = samples
		}
		copied.Streams[i].Series = list
	}
	return copied
}

// Type of the value.
func (s Sample) Type() chunkenc.ValueType {
	switch {
	case s.Histogram != nil:
		return chunkenc.ValHistogram
	case s.FloatHistogram != nil:
		return chunkenc.ValFloatHistogram
	default:
		return chunkenc.ValFloat
	}
}

// chunkSample gives a Sample the methods Prometheus' encoders ask for.
type chunkSample struct{ s Sample }

func (c chunkSample) T() int64                      { return c.s.T }
func (c chunkSample) ST() int64                     { return c.s.ST }
func (c chunkSample) F() float64                    { return c.s.Float }
func (c chunkSample) H() *histogram.Histogram       { return c.s.Histogram }
func (c chunkSample) FH() *histogram.FloatHistogram { return c.s.FloatHistogram }
func (c chunkSample) Type() chunkenc.ValueType      { return c.s.Type() }

func (c chunkSample) Copy() chunks.Sample { return chunkSample{c.s.Copy()} }
