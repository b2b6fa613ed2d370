package receive

import (
	"context"
	"slices"
	"sync"
	"time"
)

// turnQueue bounds how many do something at once and has the others wait, first
// come first served. The bound is an argument since it may change; less than
// zero is none. The zero value is ready for use.
type turnQueue struct {
	mu      sync.Mutex // guards what follows
	running int
	queue   []*queuedTurn
}

type queuedTurn struct {
	since time.Time
	ready chan struct{} // closed when it is its turn
}

// enter waits for a turn, which leave ends. It returns how long that took, and
// false if ctx ended or patience ran out before.
func (q *turnQueue) enter(ctx context.Context, limit int, patience time.Duration) (waited time.Duration, ok bool) {
	q.mu.Lock()
	if limit < 0 || q.running < limit && len(q.queue) == 0 {
		q.running++
		q.mu.Unlock()
		return 0, true
	}
	t := &queuedTurn{since: time.Now(), ready: make(chan struct{})}
	q.queue = append(q.queue, t)
	q.mu.Unlock()

	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-t.ready:
		return time.Since(t.since), true
	case <-ctx.Done():
	case <-timer.C:
	}
	return time.Since(t.since), !q.withdraw(t)
}

// withdraw takes t out of the queue. It returns false if it had its turn given
// in the meantime.
func (q *turnQueue) withdraw(t *queuedTurn) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(q.queue, t)
	if i < 0 {
		return false
	}
	q.queue = slices.Delete(q.queue, i, i+1)
	return true
}

// leave ends a turn and gives it, and whatever a larger limit leaves room for,
// to those who wait.
func (q *turnQueue) leave(limit int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.running--
	for len(q.queue) > 0 && (limit < 0 || q.running < max(limit, 1)) {
		q.running++
		close(q.queue[0].ready)
		q.queue = slices.Delete(q.queue, 0, 1)
	}
}

// oldest returns how long the first in the queue has waited.
func (q *turnQueue) oldest(now time.Time) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.queue) == 0 {
		return 0
	}
	return now.Sub(q.queue[0].since)
}

// waiting returns how many wait.
func (q *turnQueue) waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.queue)
}
