package dedup

import (
	"math"

	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// Nearly all samples are what their predecessors made expect, and what one of
// those costs is what deduplication costs. Here they are dealt with by looking at
// nothing but that.

// rhythm is how far from the last sample of a lane the next may be, in ms and
// inclusive, to be expected.
type rhythm struct{ low, high int64 }

// rhythm returns the lane's, if it is known. Samples within it leave the
// interval as it is.
func (l *lane) rhythm() (r rhythm, ok bool) {
	if l.iv.n < uint(len(l.iv.ring)) || l.seq == l.ahead {
		return rhythm{}, false
	}
	slack := l.iv.d / 8
	return rhythm{max(l.iv.d-slack, 1), l.iv.d + slack}, true
}

func (r rhythm) has(delta int64) bool { return delta >= r.low && delta <= r.high }

// number reports whether s is a float that can be compared.
func (s sample) number() bool { return s.float() && !math.IsNaN(s.v) }

// hurry does what skip does while the samples up to and including t, and one
// behind them, are as expected. It reports whether it skipped any.
func (l *lane) hurry(t int64) bool {
	r, ok := l.rhythm()
	if !ok || l.stale || !l.prev.number() || !l.cur.number() || l.m.late(l.prev.t, l.cur.t) {
		return false
	}
	late := later(0, l.m.interval(), 3, 2)
	if late < r.low {
		return false // each sample is late by the standard of another replica
	}
	r.high = min(r.high, late)
	prev, cur := l.prev, l.cur
	for cur.t <= t {
		l.run++
		prev = cur
		l.idx++
		typ := l.it.Next()
		if typ == chunkenc.ValFloat {
			cur.t, cur.v = l.it.At()
		}
		if typ != chunkenc.ValFloat || !r.has(cur.t-prev.t) || math.IsNaN(cur.v) {
			l.hurried(prev)
			l.land(typ)
			return true
		}
		l.iv.keep(cur.t - prev.t)
		switch {
		case cur.v > prev.v:
			l.m.rises++
		case cur.v < prev.v:
			l.m.falls++
			l.drop = dropBetween(prev, cur)
		}
	}
	l.hurried(prev)
	l.cur = cur
	return true
}

// hurried leaves the lane behind prev, which was skipped.
func (l *lane) hurried(prev sample) { l.prev, l.stale, l.adjacent = prev, false, false }

// glide is how the followed lane goes on while there is nothing to come back to:
// every sample that is expected is emitted.
type glide struct {
	on bool
	rhythm
}

// startGlide lets samples be found by glideOn from the one on that was just
// emitted, if that is usual.
func (m *merger) startGlide() {
	l := m.lane
	r, ok := l.rhythm()
	m.glide.on = ok && !m.away && l.cur.number() && (m.enc == nil || m.enc.followed(l))
	if m.glide.on {
		m.glide.rhythm = rhythm{r.low, min(r.high, later(0, m.interval(), 3, 2))}
	}
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
		if m.glide.has(delta) && !math.IsNaN(v) {
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
