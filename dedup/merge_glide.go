package dedup

import (
	"math"

	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/varve-tsdb/varve/internal/chunkread"
)

// Nearly all samples are what their predecessors made expect, and what one of
// those costs is what deduplication costs. Here they are dealt with by looking at
// nothing but that.

// rhythm is how far from the last sample of a lane the next must be, in ms, to be
// expected: at least low, at most width more.
type rhythm struct {
	low   int64
	width uint64
}

// rhythm returns that of the lane, if it is known and if not each of its samples
// is late by the standard of another replica. Samples in rhythm leave the
// interval as it is.
func (l *lane) rhythm() (r rhythm, ok bool) {
	if l.iv.n < uint(len(l.iv.ring)) || l.seq == l.ahead {
		return rhythm{}, false
	}
	slack := l.iv.d / 8
	low := max(l.iv.d-slack, 1)
	high := min(l.iv.d+slack, later(0, l.m.interval(), 3, 2))
	return rhythm{low, uint64(high - low)}, low <= high
}

func (r rhythm) has(delta int64) bool { return uint64(delta-r.low) <= r.width }

// hurry does what skip does while the samples up to and including t, and one
// behind them, are as expected. It reports whether it skipped any.
func (l *lane) hurry(t int64) bool {
	r, ok := l.rhythm()
	if !ok || !l.xor || l.stale || !l.prev.float() || !l.prev.number() || !l.cur.number() || l.m.late(l.prev.t, l.cur.t) {
		return false
	}
	prev, cur, from := l.prev, l.cur, l.samples.floats.next
	rest := l.samples.floats.all[from:]
	for n := range rest {
		if cur.t > t {
			l.hurried(prev, n)
			l.cur = cur
			return true
		}
		prev = cur
		cur.t, cur.v = rest[n].T, rest[n].V
		if !r.has(cur.t-prev.t) || math.IsNaN(cur.v) {
			l.run++
			l.hurried(prev, n)
			l.step()
			return true
		}
		switch {
		case cur.v > prev.v:
			l.m.rises++
		case cur.v < prev.v:
			l.m.falls++
			l.drop = dropBetween(prev, cur)
		}
	}
	l.hurried(prev, len(rest))
	l.cur = cur
	return len(rest) > 0
}

// hurried leaves the lane behind prev, which was skipped, n expected samples on.
func (l *lane) hurried(prev sample, n int) {
	l.prev, l.stale, l.adjacent = prev, false, false
	l.run += n
	l.idx += n
	l.samples.floats.next += n
	l.iv.keep(n)
}

// glide is how the followed lane goes on while there is nothing to come back to:
// every sample that is expected is emitted.
type glide struct {
	on bool
	rhythm
	dim int // samples of which nothing but the time was read, up to the end
}

// startGlide allows glideOn from the sample on that was just emitted, if that is
// usual.
func (m *merger) startGlide() {
	l := m.lane
	m.glide.rhythm, m.glide.on = l.rhythm()
	m.glide.on = m.glide.on && !m.away && l.finest == anySchema && l.cur.ok() && l.cur.number() && (m.enc == nil || m.enc.followed(l))
}

// glideOn does what step and emit do for the samples after the last emitted one,
// while they are of the same chunk, as expected, and no later than until, and
// returns them. The sample that ended it is the current one of the followed lane
// and up to step. What it returns is valid until then.
func (m *merger) glideOn(until int64) []chunkread.Sample {
	l := m.lane
	if !l.xor {
		return nil
	}
	var (
		r     = m.glide.rhythm
		rest  = l.samples.floats.all[l.samples.floats.next:]
		n     = 0
		t, v  = m.lastT, m.last.v
		rises = 0
	)
	until = min(until, m.dUntil)
	for ; n < len(rest); n++ {
		next := rest[n]
		if !r.has(next.T-t) || math.IsNaN(next.V) || next.T > until {
			break
		}
		switch {
		case next.V > v:
			rises++
		case next.V < v:
			m.falls++
			m.drop = drop{since: t, t: next.T, from: v, to: next.V}
			l.drop = m.drop
		}
		t, v = next.T, next.V
	}
	m.rises += rises
	m.lastT, m.last.t, m.last.v = t, t, v
	l.iv.keep(n)
	l.idx += n
	l.samples.floats.next += n
	if m.enc != nil {
		m.enc.taken += n
	}
	m.endGlide(l.it.Next())
	return rest[:n]
}

// glideOnce is glideOn for one sample of another encoding. It stays the current
// sample of the lane's iterator. Reading a histogram costs as much as decoding it,
// so nothing but the time is read of those within a chunk: a counter does not
// fall there, nor does anything follow a stale marker, as chunkenc's appenders
// begin another chunk then. The last of a chunk is read.
func (m *merger) glideOnce() bool {
	l := m.lane
	typ := l.it.Next()
	if typ != m.last.typ {
		m.endGlide(typ)
		return false
	}
	t := l.it.AtT()
	if !m.glide.has(t-m.lastT) || t > m.dUntil {
		m.endGlide(typ)
		return false
	}
	if typ != chunkenc.ValFloat && l.idx+2 < l.size {
		m.lastT, m.last.t, m.last.dim, m.jumped = t, t, true, false
		m.glide.dim++
		l.idx++
		return true
	}
	s := l.samples.read(&m.reader, l.it, typ)
	if !s.number() {
		m.endGlide(typ)
		return false
	}
	m.observe(m.last, s)
	if fell(m.last, s) {
		m.drop = dropBetween(m.last, s)
		l.drop = m.drop
	}
	m.lastT, m.last, m.jumped = s.t, s, false
	l.cur = s
	l.iv.keep(1)
	l.idx++
	if m.enc != nil {
		m.enc.taken++
	}
	return true
}

// endGlide makes the sample that the iterator of the followed lane was moved to
// its current one.
func (m *merger) endGlide(typ chunkenc.ValueType) {
	l := m.lane
	l.iv.keep(m.glide.dim)
	if m.enc != nil {
		m.enc.taken += m.glide.dim
	}
	m.glide.on, m.glide.dim, m.found, m.jumped = false, 0, nothing, false
	l.idx++
	l.prev, l.stale = m.last, false
	l.land(typ)
	if m.last.dim && (l.cur.stale || !l.open) {
		m.recall() // while the chunk is at hand
	}
}
