package dedup

import (
	"math"

	"github.com/prometheus/prometheus/model/histogram"
)

// A finer resolution than before tells readers of a counter reset: only a target
// that began anew makes its buckets finer (see DetectReset of Prometheus' package
// histogram). Of two replicas, one may well be finer than the other. So what
// follows a switch to it is as coarse as what came before, until its own counter
// is reset.

// anySchema is the limit of a lane whose histograms are emitted as they are.
const anySchema = math.MaxInt8

// limit finds out how fine the histograms of l may be from its current sample on,
// which is about to be emitted. What was emitted last is known where l was not
// followed before, for judge wanted to know it, too.
func (m *merger) limit(l *lane) {
	s := l.cur
	if s.float() || s.stale {
		return
	}
	switch {
	case !m.last.comparable(s), s.v < m.last.v, l.adjacent && l.prev.schema < s.schema:
		l.finest = anySchema
	case l.adjacent:
	case m.last.exponential() && s.exponential() && m.last.schema < s.schema:
		l.finest = m.last.schema
	default:
		l.finest = anySchema
	}
}

// coarse reports whether the current sample must become coarser to be emitted.
func (l *lane) coarse() bool { return l.cur.exponential() && l.cur.schema > l.finest }

func (s sample) exponential() bool {
	return s.ok() && !s.float() && histogram.IsExponentialSchema(int32(s.schema))
}

// coarser returns h, or a copy that is no finer than finest.
func coarser(h *histogram.Histogram, finest int8) *histogram.Histogram {
	if !histogram.IsExponentialSchema(h.Schema) || h.Schema <= int32(finest) {
		return h
	}
	h = h.Copy()
	// The only errors are those of schemas that were looked at just now.
	_ = h.ReduceResolution(int32(finest))
	return h
}

// coarserFloat is coarser for histograms of floats.
func coarserFloat(fh *histogram.FloatHistogram, finest int8) *histogram.FloatHistogram {
	if !histogram.IsExponentialSchema(fh.Schema) || fh.Schema <= int32(finest) {
		return fh
	}
	fh = fh.Copy()
	_ = fh.ReduceResolution(int32(finest))
	return fh
}
