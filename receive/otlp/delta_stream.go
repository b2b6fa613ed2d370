package otlp

import (
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/varve-tsdb/varve/receive"
)

// maxDeltaBuckets bounds the buckets of each side of an exponential histogram
// that is added up; beyond it the resolution is reduced. It is what SDKs keep
// to by default.
const maxDeltaBuckets = 160

// deltaStream is the sum of a stream up to time t. Its slices are never changed
// once they are in it.
type deltaStream struct {
	start, t pcommon.Timestamp
	seen     time.Time

	isInt bool
	i     int64
	f     float64

	count, zeros uint64
	sum          float64
	hasSum       bool
	bounds       []float64
	buckets      []uint64
	scale        int32
	pos, neg     deltaBuckets
}

// deltaBuckets is a side of an exponential histogram.
type deltaBuckets struct {
	offset int32
	counts []uint64
}

func bucketsOf(b pmetric.ExponentialHistogramDataPointBuckets) deltaBuckets {
	return deltaBuckets{b.Offset(), b.BucketCounts().AsRaw()}
}

// newDeltaStream returns the stream that begins with p.
func newDeltaStream(p point) deltaStream {
	s := deltaStream{start: p.common().StartTimestamp()}
	switch {
	case p.number != nil:
		s.isInt = p.number.ValueType() == pmetric.NumberDataPointValueTypeInt
		s.i, s.f = numberOf(p.number)
	case p.histogram != nil:
		h := p.histogram
		s.count, s.sum, s.hasSum = h.Count(), h.Sum(), h.HasSum()
		s.bounds, s.buckets = h.ExplicitBounds().AsRaw(), h.BucketCounts().AsRaw()
	case p.exponential != nil:
		h := p.exponential
		s.count, s.sum, s.hasSum, s.zeros = h.Count(), h.Sum(), h.HasSum(), h.ZeroCount()
		s.scale, s.pos, s.neg = h.Scale(), bucketsOf(h.Positive()), bucketsOf(h.Negative())
	}
	return s
}

func numberOf(p *pmetric.NumberDataPoint) (int64, float64) {
	if p.ValueType() == pmetric.NumberDataPointValueTypeInt {
		return p.IntValue(), float64(p.IntValue())
	}
	return 0, p.DoubleValue()
}

// plus returns the stream with p added.
func (s *deltaStream) plus(p point) (deltaStream, *problem) {
	add := newDeltaStream(p)
	if p.histogram != nil && (!slices.Equal(s.bounds, add.bounds) || len(s.buckets) != len(add.buckets)) {
		return add, nil // There is no way to add other buckets.
	}
	sum := *s
	sum.isInt = s.isInt && add.isInt
	sum.i, sum.f = s.i+add.i, s.f+add.f
	sum.count, sum.zeros = s.count+add.count, s.zeros+add.zeros
	sum.sum, sum.hasSum = s.sum+add.sum, s.hasSum && add.hasSum
	if p.histogram != nil {
		sum.buckets = slices.Clone(s.buckets)
		for i, n := range add.buckets {
			sum.buckets[i] += n
		}
	}
	if p.exponential != nil {
		for sum.scale = min(s.scale, add.scale); ; sum.scale-- {
			if sum.scale < histogram.ExponentialSchemaMin {
				return sum, problemf(receive.ReasonBadHistogram, "the buckets of an exponential histogram are too far from those of its stream to be added")
			}
			var fitPos, fitNeg bool
			sum.pos, fitPos = s.pos.down(s.scale, sum.scale).plus(add.pos.down(add.scale, sum.scale))
			sum.neg, fitNeg = s.neg.down(s.scale, sum.scale).plus(add.neg.down(add.scale, sum.scale))
			if fitPos && fitNeg {
				break
			}
		}
	}
	return sum, nil
}

// put makes p the sum.
func (s *deltaStream) put(p point) {
	p.common().SetStartTimestamp(s.start)
	switch {
	case p.number != nil && s.isInt:
		p.number.SetIntValue(s.i)
	case p.number != nil:
		p.number.SetDoubleValue(s.f)
	case p.histogram != nil:
		h := p.histogram
		h.SetCount(s.count)
		h.RemoveSum()
		if s.hasSum {
			h.SetSum(s.sum)
		}
		h.ExplicitBounds().FromRaw(s.bounds)
		h.BucketCounts().FromRaw(s.buckets)
	case p.exponential != nil:
		h := p.exponential
		h.SetCount(s.count)
		h.SetZeroCount(s.zeros)
		h.RemoveSum()
		if s.hasSum {
			h.SetSum(s.sum)
		}
		h.SetScale(s.scale)
		s.pos.put(h.Positive())
		s.neg.put(h.Negative())
	}
}

func (b deltaBuckets) put(to pmetric.ExponentialHistogramDataPointBuckets) {
	to.SetOffset(b.offset)
	to.BucketCounts().FromRaw(b.counts)
}

// down returns b, which is of scale from, at the lower scale to: bucket i goes
// into i>>(from-to).
func (b deltaBuckets) down(from, to int32) deltaBuckets {
	n := int64(from) - int64(to)
	if n == 0 || len(b.counts) == 0 {
		return b
	}
	first, last := int64(b.offset)>>n, (int64(b.offset)+int64(len(b.counts))-1)>>n
	out := deltaBuckets{int32(first), make([]uint64, last-first+1)}
	for i, count := range b.counts {
		out.counts[(int64(b.offset)+int64(i))>>n-first] += count
	}
	return out
}

// plus returns the sum of buckets of one scale. It returns false if they span
// too many.
func (b deltaBuckets) plus(o deltaBuckets) (deltaBuckets, bool) {
	if len(b.counts) == 0 {
		return o, true
	}
	if len(o.counts) == 0 {
		return b, true
	}
	first := min(int64(b.offset), int64(o.offset))
	end := max(int64(b.offset)+int64(len(b.counts)), int64(o.offset)+int64(len(o.counts)))
	if end-first > maxDeltaBuckets {
		return deltaBuckets{}, false
	}
	out := deltaBuckets{int32(first), make([]uint64, end-first)}
	for _, from := range []deltaBuckets{b, o} {
		for i, count := range from.counts {
			out.counts[int64(from.offset)+int64(i)-first] += count
		}
	}
	return out, true
}

// noValue reports whether p says that its stream has no value now.
func noValue(p point) bool {
	switch {
	case p.number != nil:
		return p.number.Flags().NoRecordedValue()
	case p.histogram != nil:
		return p.histogram.Flags().NoRecordedValue()
	case p.exponential != nil:
		return p.exponential.Flags().NoRecordedValue()
	}
	return false
}
