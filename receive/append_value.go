package receive

import (
	"math"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/value"
)

// sampleValue is a sample of one of the three types: fh if set, else h if set,
// else v.
type sampleValue struct {
	v  float64
	h  *histogram.Histogram
	fh *histogram.FloatHistogram
}

func (s sampleValue) kind() sampleKind {
	if s.h != nil || s.fh != nil {
		return histogramSample
	}
	return floatSample
}

func (s sampleValue) stale() bool {
	switch {
	case s.fh != nil:
		return value.IsStaleNaN(s.fh.Sum)
	case s.h != nil:
		return value.IsStaleNaN(s.h.Sum)
	}
	return value.IsStaleNaN(s.v)
}

// equal compares bit by bit. Stale markers are equal whatever their type,
// since the storage turns a float one into that of the series' type.
func (s sampleValue) equal(o sampleValue) bool {
	switch {
	case s.stale() || o.stale():
		return s.stale() && o.stale()
	case s.fh != nil:
		return o.fh != nil && s.fh.Equals(o.fh)
	case s.h != nil:
		return o.h != nil && s.h.Equals(o.h)
	}
	return o.kind() == floatSample && math.Float64bits(s.v) == math.Float64bits(o.v)
}

// fitHistogram reduces a resolution that only newer Prometheus knows to the
// finest there is, and validates.
func (s sampleValue) fitHistogram() error {
	if s.fh != nil {
		if histogram.IsExponentialSchemaReserved(s.fh.Schema) && s.fh.Schema > histogram.ExponentialSchemaMax {
			if err := s.fh.ReduceResolution(histogram.ExponentialSchemaMax); err != nil {
				return err
			}
		}
		return s.fh.Validate()
	}
	if histogram.IsExponentialSchemaReserved(s.h.Schema) && s.h.Schema > histogram.ExponentialSchemaMax {
		if err := s.h.ReduceResolution(histogram.ExponentialSchemaMax); err != nil {
			return err
		}
	}
	return s.h.Validate()
}

// compact removes empty buckets, which a chunk may have added to a histogram so
// that it fits its neighbours.
func (s sampleValue) compact() sampleValue {
	switch {
	case s.fh != nil:
		s.fh = s.fh.Compact(0)
	case s.h != nil:
		s.h = s.h.Compact(0)
	}
	return s
}
