package dedup

type verdict int

const (
	fits     verdict = iota
	newReset         // a counter reset that nothing emitted shows yet
	lags             // behind what was emitted; would look like a reset
)

// judge says whether the next sample of l, which is not followed, may come
// after the last emitted one. For gauges any may. A counter that is lower must
// have been reset according to its own replica, by a reset that the emitted
// samples do not contain already; and one that is higher must not come from
// before a reset that they contain.
func (m *merger) judge(l *lane) verdict {
	if !m.began {
		return fits
	}
	m.recall()
	l.recall()
	s := l.cur
	switch {
	case !m.last.comparable(s):
		return fits
	case s.v < m.last.v:
		return m.judgeLower(l)
	}
	// One that has not seen the reset yet was and is higher than a counter can
	// have climbed to since: more than half way up to where it fell from.
	if d := m.interval(); m.drop.t != never && s.t <= later(m.drop.t, d, patience, 1) &&
		l.prev.ok() && l.born <= m.drop.since && l.drop.t < m.drop.t &&
		!l.drop.sameAs(m.drop, later(0, d, 2, 1)) &&
		min(l.prev.v, s.v) > m.drop.middle() && m.counter(l) {
		return lags
	}
	return fits
}

// judgeLower is judge for a sample below the last emitted one.
func (m *merger) judgeLower(l *lane) verdict {
	s, d := l.cur, m.interval()
	switch {
	case !m.counter(l):
		return fits
	case l.drop.t > earlier(m.lastT, d, 1, 1) && m.last.v > l.drop.middle() &&
		!l.drop.sameAs(m.drop, later(0, d, 2, 1)):
		// The lane fell from about where the emitted samples still are. Had it
		// done so longer ago, they would have fallen too, whatever the clocks.
		return newReset
	case d > 0 && l.born > earlier(m.lastT, d, 1, 1) && s.t > later(m.lastT, d, 1, 1) && s.v < m.last.v/2:
		return fits // too young to have seen a reset, and nobody lags that far
	case d == 0 || s.t <= later(m.last.t, d, patience, 1):
		return lags
	}
	return fits
}

// observe counts whether the value fell or rose from one float of a replica to
// the next.
func (m *merger) observe(prev, next sample) {
	switch {
	case !prev.float(), !prev.comparable(next):
	case next.v < prev.v:
		m.falls++
	case next.v > prev.v:
		m.rises++
	}
}

// counter reports whether the floats read so far look like a counter: gauges
// fall about as often as they rise, counters rarely do. If little was read, the
// chunks that are open are read ahead: all, so that it does not depend on which
// lane is judged first.
func (m *merger) counter(l *lane) bool {
	if !l.cur.float() {
		return true
	}
	if m.rises+m.falls < enoughChanges {
		for _, o := range m.lanes {
			o.readAhead()
		}
	}
	return 3*m.falls <= m.rises+1
}

// recall learns the last emitted value if it was in a chunk taken undecoded, or
// if nothing but its time was read.
func (m *merger) recall() {
	if m.last.ok() && !m.last.dim {
		return
	}
	m.lane.recall()
	m.last = m.lane.prev
	if m.lane.drop.t > m.drop.t {
		m.drop = m.lane.drop
	}
}
