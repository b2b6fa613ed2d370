package receive

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestTurnsAreServedInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var (
			q     turnQueue
			mu    sync.Mutex
			order []int
			wg    sync.WaitGroup
		)
		if waited, ok := q.enter(t.Context(), 1, time.Second); waited != 0 || !ok {
			t.Fatal("the first has to wait")
		}
		for i := range 5 {
			time.Sleep(time.Millisecond)
			wg.Go(func() {
				waited, ok := q.enter(t.Context(), 1, time.Minute)
				if !ok || waited <= 0 {
					t.Errorf("%d waited for %v: %v", i, waited, ok)
				}
				mu.Lock()
				order = append(order, i)
				mu.Unlock()
				time.Sleep(time.Second)
				q.leave(1)
			})
		}
		synctest.Wait()
		if n, since := q.waiting(), q.oldest(time.Now()); n != 5 || since != 4*time.Millisecond {
			t.Errorf("%d wait, the first for %v", n, since)
		}
		q.leave(1)
		wg.Wait()
		if !slices.IsSorted(order) || len(order) != 5 {
			t.Errorf("served in the order %v", order)
		}
		if q.running != 0 || q.waiting() != 0 || q.oldest(time.Now()) != 0 {
			t.Errorf("%d run and %d wait in the end", q.running, q.waiting())
		}
	})
}

func TestTurnsAreNotWaitedForForever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q turnQueue
		q.enter(t.Context(), 1, time.Second)
		if waited, ok := q.enter(t.Context(), 1, time.Second); ok || waited != time.Second {
			t.Errorf("waited for %v with patience for a second: %v", waited, ok)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if waited, ok := q.enter(ctx, 1, time.Minute); ok || waited != time.Second {
			t.Errorf("waited for %v with a second to live: %v", waited, ok)
		}
		if q.waiting() != 0 {
			t.Errorf("%d who gave up still wait", q.waiting())
		}
		if _, ok := q.enter(t.Context(), -1, 0); !ok {
			t.Error("without a bound there is a wait")
		}
	})
}

// A bound that is raised lets more in, one that is lowered fewer, and none is
// forgotten.
func TestTurnsWithABoundThatChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var (
			q             turnQueue
			limit         atomic.Int64
			running, most atomic.Int64
			wg            sync.WaitGroup
		)
		phase := func(bound int) {
			limit.Store(int64(bound))
			time.Sleep(10 * time.Second) // Those let in before leave.
			most.Store(0)
			time.Sleep(30 * time.Second)
			if got := most.Load(); got != int64(bound) {
				t.Errorf("%d at once with a bound of %d", got, bound)
			}
		}
		stop := make(chan struct{})
		limit.Store(1)
		for range 20 {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					if _, ok := q.enter(t.Context(), int(limit.Load()), time.Hour); !ok {
						t.Error("gave up")
						return
					}
					now := running.Add(1)
					for most.Load() < now {
						most.Store(now)
					}
					time.Sleep(time.Second)
					running.Add(-1)
					q.leave(int(limit.Load()))
				}
			})
		}
		for _, bound := range []int{1, 5, 2, 9, 1} {
			phase(bound)
		}
		close(stop)
		wg.Wait()
		if q.running != 0 || q.waiting() != 0 {
			t.Errorf("%d run and %d wait in the end", q.running, q.waiting())
		}
	})
}
