package dedup

import (
	"math"

	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// glide is the short cut while nothing happens: the followed lane goes on with
// floats in its rhythm, and there is nothing to come back to. Nearly all samples
// that are merged at all are found here, and what one costs here is what
// deduplication costs. So a glide knows beforehand how far away the next sample
// may be and looks at nothing else.
type glide struct {
	on        bool
	low, high int64 // ms to the next sample, inclusive
}

// startGlide lets samples be found by glideOn from the one on that was just
// emitted, if that is usual.
func (m *merger) startGlide() {
	l := m.lane
	m.glide.on = !m.away && l.seq != l.ahead && l.iv.n >= uint(len(l.iv.ring)) &&
		l.cur.float() && !l.cur.stale && !math.IsNaN(l.cur.v) &&
		(m.enc == nil || m.enc.followed(l))
	if !m.glide.on {
		return
	}
	slack := l.iv.d / 8 // an interval that stays within it need not be found anew
	m.glide.low = max(l.iv.d-slack, 1)
	m.glide.high = min(l.iv.d+slack, later(0, m.interval(), 3, 2))
}

// glideOn does what step and emit do for the sample after the last emitted one,
// if that is as usual, and reports whether it was: in rhythm, a number, and of
// the same chunk. If not, it is the current sample of the followed lane and up
// to step. Only to be called in a glide.
func (m *merger) glideOn() bool {
	l := m.lane
	typ := l.it.Next()
	l.idx++
	if typ == chunkenc.ValFloat {
		t, v := l.it.At()
		delta := t - m.lastT
		if delta >= m.glide.low && delta <= m.glide.high && !math.IsNaN(v) {
			l.iv.keep(delta)
			switch {
			case v > m.last.v:
				m.rises++
			case v < m.last.v:
				m.falls++
				m.drop = dropBetween(m.last, sample{typ: typ, t: t, v: v})
				l.drop = m.drop
			}
			m.last.t, m.last.v, m.lastT = t, v, t
			return true
		}
	}
	m.glide.on, m.found = false, nothing
	l.prev, l.stale, m.jumped = m.last, false, false
	l.land(typ)
	return false
}
