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
	n := 0
	for cur.t <= t {
		l.run++
		prev = cur
		l.idx++
		typ := l.it.Next()
		if typ == chunkenc.ValFloat {
			cur.t, cur.v = l.it.At()
		}
		if typ != chunkenc.ValFloat || !r.has(cur.t-prev.t) || math.IsNaN(cur.v) {
			l.hurried(prev, n)
			l.land(typ)
			return true
		}
		n++
		switch {
		case cur.v > prev.v:
			l.m.rises++
		case cur.v < prev.v:
			l.m.falls++
			l.drop = dropBetween(prev, cur)
		}
	}
	l.hurried(prev, n)
	l.cur = cur
	return true
}

// hurried leaves the lane behind prev, which was skipped, n expected samples on.
func (l *lane) hurried(prev sample, n int) {
	l.prev, l.stale, l.adjacent = prev, false, false
	l.iv.keep(n)
}

// glide is how the followed lane goes on while there is nothing to come back to:
// every sample that is expected is emitted.
type glide struct {
	on bool
	rhythm
}

// startGlide allows glideOn from the sample on that was just emitted, if that is
// usual.
func (m *merger) startGlide() {
	l := m.lane
	m.glide.rhythm, m.glide.on = l.rhythm()
	m.glide.on = m.glide.on && !m.away && l.cur.number() && (m.enc == nil || m.enc.followed(l))
	if m.glide.on {
		m.glide.high = min(m.glide.high, later(0, m.interval(), 3, 2))
	}
}

// float is a sample as it is handed to readers.
type float struct {
	st, t int64
	v     float64
}

// glideOn does what step and emit do for the samples after the last emitted one,
// while they are of the same chunk, as expected, and no later than until. It
// returns how many they are, at most len(out) if out is given, and puts them
// there. The sample that ended it is the current one of the followed lane and up
// to step; there is none yet if out is full.
//
// Everything is kept in registers: a query that reads a sample, decides on it
// and hands it on before the next takes a fifth longer.
func (m *merger) glideOn(out []float, until int64) (n int) {
	var (
		l     = m.lane
		it    = l.it
		r     = m.glide.rhythm
		hasST = l.chunk.Chunk.Encoding() != chunkenc.EncXOR
		t, v  = m.lastT, m.last.v
		rises int
		typ   chunkenc.ValueType
	)
	for typ = it.Next(); typ == chunkenc.ValFloat; typ = it.Next() {
		nextT, next := it.At()
		if !r.has(nextT-t) || math.IsNaN(next) || nextT > until {
			break
		}
		switch {
		case next > v:
			rises++
		case next < v:
			m.falls++
			m.drop = drop{since: t, t: nextT, from: v, to: next}
			l.drop = m.drop
		}
		t, v = nextT, next
		n++
		if out == nil {
			continue
		}
		out[n-1] = float{t: t, v: v}
		if hasST {
			out[n-1].st = it.AtST()
		}
		if n == len(out) {
			break
		}
	}
	m.rises += rises
	m.lastT, m.last.t, m.last.v = t, t, v
	l.iv.keep(n)
	l.idx += n
	if m.enc != nil {
		m.enc.taken += n
	}
	if n > 0 && n == len(out) {
		return n
	}
	m.glide.on, m.found, m.jumped = false, nothing, false
	l.idx++
	l.prev, l.stale = m.last, false
	l.land(typ)
	return n
}
