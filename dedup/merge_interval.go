package dedup

import "math"

// interval returns the shortest interval of the lanes that have data just now:
// what the better replica scrapes at decides what a gap is, but not while it is
// away, when the others would fill in for it by turns. It is 0 as long as none is
// known.
func (m *merger) interval() int64 {
	if m.d > 0 && m.lastT < m.dUntil {
		return m.d
	}
	m.d, m.dUntil = 0, math.MaxInt64
	var (
		away  int64 // the shortest of lanes that are away
		known bool  // whether that of a lane that is not is more than a guess
	)
	for _, l := range m.lanes {
		start, ok := l.start()
		if l.iv.d == 0 || !ok && l != m.lane {
			continue
		}
		if back := earlier(start, l.iv.d, 3, 2); m.began && l != m.lane && back > m.lastT {
			m.dUntil = min(m.dUntil, back)
			away = shorter(away, l.iv.d)
			continue
		}
		m.d = shorter(m.d, l.iv.d)
		known = known || l.iv.n >= uint(len(l.iv.ring))/2
	}
	if !known {
		m.d = shorter(m.d, away)
	}
	return m.d
}

// shorter returns the shorter of two intervals, of which 0 is none.
func shorter(a, b int64) int64 {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}

// after returns the time num/den intervals after the last emitted sample.
func (m *merger) after(num, den int64) int64 {
	if !m.began {
		return never
	}
	return later(m.lastT, m.interval(), num, den)
}

// late reports whether a sample at to comes so long after one at from that one
// between them is missing.
func (m *merger) late(from, to int64) bool {
	d := m.interval()
	return d > 0 && to > later(from, d, 3, 2)
}
