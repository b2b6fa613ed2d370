package dedup

import (
	"math"

	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// rush does what step and emit do, for the floats of a followed lane whose
// chunk is being taken over whole, up to the first sample that is anything but
// usual: late, stale, out of rhythm, or of another type. That one stays the
// current sample. It reports whether it emitted any.
//
// Most samples that are merged at all go through here, and what a sample costs
// here is what deduplication costs.
func (m *merger) rush(l *lane) bool {
	if !l.open || m.away || l.seq == l.ahead || !m.last.float() || !l.adjacent || !l.cur.float() || l.iv.n <= uint(len(l.iv.ring)) ||
		!m.enc.follows(l) || math.IsNaN(l.cur.v) || math.IsNaN(m.last.v) {
		return false
	}
	var (
		cur, last = l.cur, m.last
		lastT     = m.lastT
		limit     = later(0, m.interval(), 3, 2)
		low, high = l.iv.d - l.iv.d/8, l.iv.d + l.iv.d/8
		from      = l.idx
		typ       = chunkenc.ValFloat
		rhythm    = true
	)
	for rhythm && cur.t > lastT && cur.t-lastT <= limit {
		if cur.v < last.v {
			m.drop = dropBetween(last, cur)
		}
		last, lastT = cur, cur.t
		l.idx++
		if typ = l.it.Next(); typ != chunkenc.ValFloat {
			break
		}
		cur.t, cur.v = l.it.At()
		delta := cur.t - lastT
		if rhythm = delta >= low && delta <= high && !math.IsNaN(cur.v); !rhythm {
			break
		}
		l.iv.keep(delta)
		switch {
		case cur.v < last.v:
			l.drop = dropBetween(last, cur)
			m.falls++
		case cur.v > last.v:
			m.rises++
		}
	}
	if l.idx == from {
		return false
	}
	m.enc.taken += l.idx - from
	m.last, m.lastT, m.ended = last, lastT, false
	l.prev, l.stale, l.cur = last, false, cur
	if !rhythm || typ != chunkenc.ValFloat {
		l.land(typ)
	}
	return true
}
