package dedup

import (
	"math"
	"strings"
)

// How switches are made, in multiples of the interval where a time is meant.
// A gap is more than 3/2 intervals: a scrape that jitters by a quarter of its
// interval either way is not one yet, a missed scrape is one.
const (
	// firstProof is how many samples in a row a replica that was left must have
	// without a gap to be followed again. It doubles each further time the
	// replica is left, so that a flapping one is not returned to all the time,
	// and one that needs more than maxProof only when another has a gap.
	firstProof = 4
	maxProof   = 64

	// patience is how long, in intervals, a replica whose counter lags behind
	// what was emitted may be held back. Replicas of one target lag by less than
	// an interval plus the difference of their clocks. It is also the most that
	// a gauge which looks like a counter can lose at a switch.
	patience = 3

	// enoughChanges is how many rises and falls tell a counter from a gauge.
	enoughChanges = 16

	// namedCounter is how many rises a name that ends as counters' names do is
	// worth as evidence.
	namedCounter = enoughChanges
)

// counterName reports whether counters are named like that.
func counterName(name string) bool {
	for _, suffix := range []string{"_total", "_bucket", "_count", "_sum"} {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}

// follow makes l the followed lane.
func (m *merger) follow(l *lane) {
	if old := m.lane; old != nil {
		old.adjacent = false
		old.run = 0
		if l.order < 0 || l.order > old.order {
			old.proof = min(max(firstProof, 2*old.proof), 2*maxProof)
		}
	}
	if l.order < 0 {
		l.order = m.followed
		m.followed++
	}
	m.lane = l
	m.away = l.order > 0
	m.d = 0
}

// comeBack returns to a lane that was followed before the present one, once it
// has proved itself, and reports whether it did. Of several, the one that was
// followed first is the one.
func (m *merger) comeBack() bool {
	if !m.away || m.interval() == 0 {
		return false
	}
	m.need(m.after(3, 2))
	var (
		away bool
		best *lane
	)
	for _, l := range m.lanes {
		if m.missed(l) {
			l.sync(m.lastT)
		}
	}
	for _, l := range m.lanes {
		if !m.missed(l) {
			continue
		}
		if l.run >= l.proof && l.seek(m.after(1, 2), m.after(3, 2)) && (best == nil || l.order < best.order) {
			best = l
		}
		away = away || l.open
	}
	if m.away = away; best != nil {
		m.emit(best)
	}
	return best != nil
}

// missed reports whether l will be returned to when it has proved itself.
func (m *merger) missed(l *lane) bool {
	return l.order >= 0 && l.order < m.lane.order && l.proof <= maxProof
}

// leave is called when the followed lane has a gap, a stale marker or nothing
// more. It finds another lane to fill in, or lets the gap be.
func (m *merger) leave() {
	l := m.lane
	if t, ok := m.nextStart(); ok && m.interval() == 0 {
		m.need(t) // nothing to judge by yet
		return
	}
	if l.open {
		m.need(m.fillUntil())
	} else {
		m.need(m.after(2, 1))
	}
	if m.err != nil || !l.open && len(l.queue) > 0 {
		return // the lane goes on after all
	}
	if !l.open && l.iv.n > 1 && m.atEdge() {
		m.done = true
		return
	}
	m.acquaint()
	best := m.candidate(m.fillFrom(), m.fillUntil())
	switch {
	case best != nil && l.open:
		m.emit(best)
	case best != nil:
		m.takeOver(best)
	case !l.open:
		m.lookFurther()
	case l.cur.stale && (m.ended || m.alive(l.cur.t)):
		l.skip()
	default:
		m.emit(l)
	}
}

// fillFrom is the earliest time at which another replica may fill in: half an
// interval after the last sample, so that the difference between the clocks and
// latencies of two replicas stays small against the time between two samples.
func (m *merger) fillFrom() int64 {
	switch {
	case !m.began:
		return never
	case m.interval() == 0:
		return later(m.lastT, 1, 1, 1)
	}
	return m.after(1, 2)
}

// fillUntil is the latest time at which another replica may fill in: half an
// interval before the next sample of the followed lane, or 3/2 after it if it
// is a stale marker, because that may not end the series, unless the lane itself
// is known to go on sooner, in its next chunk. If the lane has nothing more, as
// far as known, there is no limit.
func (m *merger) fillUntil() int64 {
	l, d := m.lane, m.interval()
	switch {
	case !l.open:
		return math.MaxInt64
	case l.cur.stale:
		until := later(l.cur.t, d, 3, 2)
		if l.idx+1 == l.size && len(l.queue) > 0 {
			until = min(until, earlier(l.queue[0].MinTime, d, 1, 2))
		}
		return until
	}
	return earlier(l.cur.t, d, 1, 2)
}

// acquaint moves the other lanes to what may come next and, as long as nothing
// but the averages of chunks says what a gap is, learns their true intervals.
func (m *merger) acquaint() {
	for _, l := range m.lanes {
		if l == m.lane {
			continue
		}
		if m.began {
			l.sync(m.lastT)
		}
		if l.ready() && l.iv.n <= 1 && m.lane.iv.n <= 1 {
			l.readAhead()
		}
	}
}

// atEdge reports whether the next sample of the followed lane, which has nothing
// more, may merely not have arrived yet: no replica is far enough ahead to tell.
// At the most recent edge of the data it always is like that, and mixing the
// last sample of one replica with a newer one of another on every read would
// bend irate. Chunk times tell, so that most reads end without decoding anything
// of the other replicas.
func (m *merger) atEdge() bool {
	return m.began && m.interval() > 0 && !m.reached(m.after(3, 2))
}

// takeOver moves to another lane when the followed one has nothing more, unless
// the series ends there.
func (m *merger) takeOver(best *lane) {
	due := m.after(3, 2)
	if m.need(max(due, later(best.cur.t, m.interval(), 1, 1))) {
		return // look again with what came
	}
	if best.cur.t < due && m.atEdge() {
		m.done = true
		return
	}
	m.emit(best)
}

// lookFurther brings in the next chunks of any replica, or ends the series.
func (m *merger) lookFurther() {
	t, ok := m.nextStart()
	if !ok {
		m.done = true
		return
	}
	m.need(t)
}

// candidate returns the lane whose next acceptable sample within lo and hi is
// nearest to where the next sample was due, so that a copy or a continuation of
// the followed replica wins over a phase-shifted one; of two as near, the
// earlier. One that scrapes at a longer interval, and so would have to be left at
// once, only counts if the others are late.
func (m *merger) candidate(lo, hi int64) *lane {
	var (
		best *lane
		off  int64
		poor bool
		due  = m.after(1, 1)
	)
	for _, l := range m.lanes {
		if l == m.lane || !l.seek(lo, hi) {
			continue
		}
		o := l.cur.t - due
		if o < 0 && m.began {
			o = -o
		}
		p := o > m.interval() || m.late(0, l.iv.d)
		if best == nil || poor && !p || poor == p && (o < off || o == off && l.cur.t < best.cur.t) {
			best, off, poor = l, o, p
		}
	}
	return best
}

// seek moves the lane to its first sample within lo and hi that may follow the
// last emitted one, and reports whether there is one. A reset that nobody has
// reported yet is let in before lo: skipped, it might go unnoticed.
func (l *lane) seek(lo, hi int64) bool {
	if l.m.began {
		l.sync(l.m.lastT)
	}
	for l.ready() && l.cur.t <= hi {
		if !l.cur.stale && !l.repeats() {
			switch v := l.m.judge(l); {
			case v == newReset, v == fits && l.cur.t >= lo:
				return true
			}
		}
		l.skip()
	}
	return false
}

// repeats reports whether the current sample is an aggregate of a window more
// than half of which the emitted samples cover. They may be raw ones, of a
// replica that is not downsampled yet, and much closer than that; both would
// count twice in a sum.
func (l *lane) repeats() bool {
	return l.m.began && l.cur.t < later(l.m.lastT, l.samples.window, 1, 2)
}

// alive reports whether a replica other than the followed one ends, as far as
// known, around t without a stale marker: then a stale marker at t is no reason
// to end the series.
func (m *merger) alive(t int64) bool {
	if m.interval() == 0 {
		return false
	}
	for _, l := range m.lanes {
		if l == m.lane || l.open || len(l.queue) > 0 {
			continue
		}
		l.recall()
		if l.prev.ok() && !l.stale && !m.late(l.prev.t, t) {
			return true
		}
	}
	return false
}
