package receive

import "time"

// forwardBackoff decides whether a peer is called. It is pure: the time and what
// is random are arguments. A peer that has failed is left alone for a while, and
// then called once, until that call has answered: it may hang, and one request
// is enough to find out.
type forwardBackoff struct {
	failures int
	until    time.Time
	// round counts the failures that mattered. Calls that were under way when
	// one of them failed tell nothing new when they fail, too.
	round   int
	probing bool
}

// closed reports whether a call would not be allowed now.
func (b *forwardBackoff) closed(now time.Time) bool {
	return b.failures > 0 && (b.probing || now.Before(b.until))
}

// enter asks for a call. If it is allowed, leave must be called with round.
func (b *forwardBackoff) enter(now time.Time) (round int, ok bool) {
	if b.closed(now) {
		return 0, false
	}
	b.probing = b.failures > 0
	return b.round, true
}

// leave notes how a call ended. It reports whether the peer has failed that
// had not, or works that had failed. jitter is in [0, 1).
func (b *forwardBackoff) leave(round int, failed bool, now time.Time, jitter float64, shortest, longest time.Duration) (turned bool) {
	switch {
	case !failed:
		turned = b.failures > 0
		b.failures, b.until, b.probing = 0, time.Time{}, false
		return turned
	case round != b.round:
		return false
	}
	wait := longest
	if b.failures < 32 && shortest<<b.failures>>b.failures == shortest {
		wait = min(shortest<<b.failures, longest)
	}
	b.until = now.Add(wait/2 + time.Duration(jitter*float64(wait/2)))
	b.failures++
	b.round++
	b.probing = false
	return b.failures == 1
}
