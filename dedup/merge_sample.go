package dedup

import (
	"math"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// never is the time of something that has not happened.
const never = math.MinInt64

// sample is what the choice between replicas looks at: not the sample itself,
// which stays in its iterator until it is written, but its time and one number
// that a counter never lowers: the value of a float, the count of a histogram.
type sample struct {
	typ   chunkenc.ValueType // ValNone: no sample
	t     int64
	v     float64
	stale bool
	gauge bool // a histogram marked as a gauge, or an aggregate of a window
	dim   bool // v was not read

	schema int8 // of a histogram
}

func (s sample) ok() bool { return s.typ != chunkenc.ValNone }

func (s sample) float() bool { return s.typ == chunkenc.ValFloat }

// comparable reports whether a drop from s to next could mean a counter reset.
func (s sample) comparable(next sample) bool {
	return s.ok() && s.float() == next.float() && !s.gauge && !next.gauge && !s.dim && !next.dim && s.number() && next.number()
}

// number reports whether s can be compared: it is no stale marker, which as a
// histogram has a count of 0, nor another NaN.
func (s sample) number() bool { return !s.stale && !math.IsNaN(s.v) }

// fell reports whether the value is lower than before in the same replica.
func fell(prev, next sample) bool { return prev.comparable(next) && next.v < prev.v }

// drop is a fall of a value from one sample of a replica to the next: a counter
// reset, some time between the two, if the series is a counter.
type drop struct {
	since, t int64 // of the samples before and after the fall
	from, to float64
}

// middle is half way between both ends of the fall.
func (d drop) middle() float64 { return d.to + (d.from-d.to)/2 }

// noDrop is the drop of a replica that has not fallen yet.
func noDrop() drop { return drop{since: never, t: never} }

func dropBetween(a, b sample) drop { return drop{since: a.t, t: b.t, from: a.v, to: b.v} }

// sameAs reports whether two replicas may have seen the same reset, give or take
// slack ms.
func (d drop) sameAs(other drop, slack int64) bool {
	return d.t != never && other.t != never &&
		d.since <= later(other.t, slack, 1, 1) && other.since <= later(d.t, slack, 1, 1)
}

// sampleReader reads samples off iterators, reusing its histograms.
type sampleReader struct {
	h  *histogram.Histogram
	fh *histogram.FloatHistogram
}

func (r *sampleReader) read(it chunkenc.Iterator, typ chunkenc.ValueType) sample {
	s := sample{typ: typ}
	switch typ {
	case chunkenc.ValFloat:
		s.t, s.v = it.At()
		s.stale = value.IsStaleNaN(s.v)
	case chunkenc.ValHistogram:
		if r.h == nil {
			r.h = &histogram.Histogram{}
		}
		var h *histogram.Histogram
		s.t, h = it.AtHistogram(r.h)
		s.v = float64(h.Count)
		s.stale = value.IsStaleNaN(h.Sum)
		s.gauge = h.CounterResetHint == histogram.GaugeType
		s.schema = int8(h.Schema)
	case chunkenc.ValFloatHistogram:
		if r.fh == nil {
			r.fh = &histogram.FloatHistogram{}
		}
		var fh *histogram.FloatHistogram
		s.t, fh = it.AtFloatHistogram(r.fh)
		s.v = fh.Count
		s.stale = value.IsStaleNaN(fh.Sum)
		s.gauge = fh.CounterResetHint == histogram.GaugeType
		s.schema = int8(fh.Schema)
	}
	return s
}
