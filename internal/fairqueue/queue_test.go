package fairqueue

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func testQueue(opts Options) *Queue {
	if opts.Wait == 0 {
		opts.Wait = time.Hour
	}
	return New(opts, NewMetrics("varve_test", "Jobs", "MaxQueued", "QueueTimeout"))
}

// A tenant with a hundred jobs in the queue does not hold up one with two.
func TestQueueIsFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := testQueue(Options{Concurrent: 2, Queued: 1000})
		var mu sync.Mutex
		var order []string
		run := func(tenant string) {
			place, err := q.Enter(t.Context(), tenant)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			order = append(order, tenant)
			mu.Unlock()
			time.Sleep(time.Second)
			place.Leave()
		}
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() { run("heavy") })
		}
		synctest.Wait()
		for range 2 {
			all.Go(func() { run("light") })
			all.Go(func() { run("other") })
		}
		all.Wait()
		if len(order) != 104 {
			t.Fatalf("%d of 104 jobs ran", len(order))
		}
		for _, tenant := range []string{"light", "other"} {
			// Two ran when it came, and with three tenants every third place is its own.
			if last := len(order) - 1 - slices.Index(reversed(order), tenant); last > 9 {
				t.Errorf("the second job of %s was number %d: %v", tenant, last, order[:12])
			}
		}
		if len(q.tenants) != 0 || q.running != 0 || q.waiting != 0 {
			t.Errorf("the queue remembers %+v", q)
		}
	})
}

func reversed(list []string) []string {
	list = slices.Clone(list)
	slices.Reverse(list)
	return list
}

// No tenant runs more than its own limit, so that there is a place for others at
// once.
func TestQueueLimitsATenant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := testQueue(Options{Concurrent: 4, PerTenant: 3, Queued: 100})
		for range 10 {
			go func() {
				if place, err := q.Enter(t.Context(), "heavy"); err == nil {
					time.Sleep(time.Second)
					place.Leave()
				}
			}()
		}
		synctest.Wait()
		began := time.Now()
		place, err := q.Enter(t.Context(), "light")
		if err != nil || time.Since(began) != 0 {
			t.Errorf("another tenant waited %s: %v", time.Since(began), err)
		}
		place.Leave()
		time.Sleep(time.Minute)
	})
}

// A tenant that fills the queue takes the room of its own jobs only: the first of
// another gets in and runs, and the last of the heavy one is told so.
func TestAFullQueueIsFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const queued = 20
		q := testQueue(Options{Concurrent: 1, Queued: queued})
		var all sync.WaitGroup
		var refused []int
		enter := func(tenant string, number int) {
			place, err := q.Enter(t.Context(), tenant)
			if full, ok := errors.AsType[*Refused](err); ok && full.Full && tenant == "heavy" {
				refused = append(refused, number)
				return
			}
			if err != nil {
				t.Errorf("%s %d: %v", tenant, number, err)
				return
			}
			time.Sleep(time.Second)
			place.Leave()
		}
		for i := range 1 + queued {
			all.Go(func() { enter("heavy", i) })
			synctest.Wait()
		}
		for i := range 3 {
			all.Go(func() { enter("light", i) })
			synctest.Wait()
		}
		all.Go(func() { enter("heavy", 99) }) // which has most, still
		all.Wait()
		if want := []int{20, 19, 18, 99}; !slices.Equal(refused, want) {
			t.Errorf("jobs %v of the heavy tenant were refused, want %v", refused, want)
		}
		if len(q.tenants) != 0 || q.running != 0 || q.waiting != 0 {
			t.Errorf("the queue remembers %+v", q)
		}
	})
}

// With as many waiting as others have, who comes last is refused.
func TestAFullQueueOfEquals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := testQueue(Options{Concurrent: 1, Queued: 1})
		first, err := q.Enter(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			if second, err := q.Enter(t.Context(), "a"); err == nil {
				second.Leave()
			} else {
				t.Error(err)
			}
		}()
		synctest.Wait()
		if _, err := q.Enter(t.Context(), "b"); !errors.As(err, new(*Refused)) {
			t.Errorf("one more may wait than may: %v", err)
		}
		first.Leave()
	})
}

// However jobs come, go and give up, never more run than may, none is
// forgotten, and nothing is left in the end.
func TestQueueKeepsItsLimits(t *testing.T) {
	const concurrent = 3
	q := testQueue(Options{Concurrent: concurrent, PerTenant: 2, Queued: 20, Wait: 20 * time.Millisecond})
	var running atomic.Int64
	var all sync.WaitGroup
	for seed := range uint64(40) {
		all.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, 2))
			for range 30 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rnd.IntN(3000))*time.Microsecond)
				place, err := q.Enter(ctx, string(rune('a'+rnd.IntN(5))))
				if err == nil {
					if n := running.Add(1); n > concurrent {
						t.Errorf("%d run at a time", n)
					}
					time.Sleep(time.Duration(rnd.IntN(300)) * time.Microsecond)
					running.Add(-1)
					place.Leave()
				} else if !errors.As(err, new(*Refused)) && !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
				cancel()
			}
		})
	}
	all.Wait()
	if len(q.tenants) != 0 || q.running != 0 || q.waiting != 0 {
		t.Errorf("the queue remembers %+v", q)
	}
}

// Who leaves for a while comes back at once, though the place has gone to the next.
func TestBackWithoutWaiting(t *testing.T) {
	q := testQueue(Options{Concurrent: 1, Queued: 1})
	first, err := q.Enter(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := q.Enter(ended(t), "b"); !errors.Is(err, context.Canceled) {
		t.Errorf("there was room for two: %v", err)
	}
	first.Leave()
	second, err := q.Enter(ended(t), "b")
	if err != nil {
		t.Fatal(err)
	}
	first.Back()
	first.Leave()
	if _, err := q.Enter(ended(t), "b"); !errors.Is(err, context.Canceled) {
		t.Errorf("what came back has left a place that it did not have: %v", err)
	}
	second.Leave()
	if len(q.tenants) != 0 || q.running != 0 || q.waiting != 0 {
		t.Errorf("the queue remembers %+v", q)
	}
}

// ended is a context for who does not wait.
func ended(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
