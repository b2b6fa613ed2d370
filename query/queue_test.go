package query

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-tsdb/varve/query/querytest"
)

func testQueue(opts queueOptions) *queue {
	if opts.wait == 0 {
		opts.wait = time.Hour
	}
	return newQueue(opts, newQueueMetrics())
}

func ofTenant(ctx context.Context, tenant string) context.Context {
	return WithReadOptions(ctx, ReadOptions{Tenant: tenant})
}

// A tenant with a hundred queries in the queue does not hold up one with two.
func TestQueueIsFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := testQueue(queueOptions{concurrent: 2, queued: 1000})
		var mu sync.Mutex
		var order []string
		run := func(tenant string) {
			index, err := q.Insert(ofTenant(t.Context(), tenant), "")
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			order = append(order, tenant)
			mu.Unlock()
			time.Sleep(time.Second)
			q.Delete(index)
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
			t.Fatalf("%d of 104 queries ran", len(order))
		}
		for _, tenant := range []string{"light", "other"} {
			// Two ran when it came, and with three tenants every third place is its own.
			if last := len(order) - 1 - slices.Index(reversed(order), tenant); last > 9 {
				t.Errorf("the second query of %s was number %d: %v", tenant, last, order[:12])
			}
		}
		if len(q.tenants) != 0 || len(q.places) != 0 || q.running != 0 || q.waiting != 0 {
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
		q := testQueue(queueOptions{concurrent: 4, perTenant: 3, queued: 100})
		for range 10 {
			go func() {
				if index, err := q.Insert(ofTenant(t.Context(), "heavy"), ""); err == nil {
					time.Sleep(time.Second)
					q.Delete(index)
				}
			}()
		}
		synctest.Wait()
		began := time.Now()
		index, err := q.Insert(ofTenant(t.Context(), "light"), "")
		if err != nil || time.Since(began) != 0 {
			t.Errorf("another tenant waited %s: %v", time.Since(began), err)
		}
		q.Delete(index)
		time.Sleep(time.Minute)
	})
}

// However queries come, go and give up, never more run than may, none is
// forgotten, and nothing is left in the end.
func TestQueueKeepsItsLimits(t *testing.T) {
	const concurrent = 3
	q := testQueue(queueOptions{concurrent: concurrent, perTenant: 2, queued: 20, wait: 20 * time.Millisecond})
	var running atomic.Int64
	var all sync.WaitGroup
	for seed := range uint64(40) {
		all.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, 2))
			for range 30 {
				ctx, cancel := context.WithTimeout(ofTenant(t.Context(), string(rune('a'+rnd.IntN(5)))), time.Duration(rnd.IntN(3000))*time.Microsecond)
				index, err := q.Insert(ctx, "")
				if err == nil {
					if n := running.Add(1); n > concurrent {
						t.Errorf("%d run at a time", n)
					}
					time.Sleep(time.Duration(rnd.IntN(300)) * time.Microsecond)
					running.Add(-1)
					q.Delete(index)
				} else if !isBusy(err) && !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
				cancel()
			}
		})
	}
	all.Wait()
	if len(q.tenants) != 0 || len(q.places) != 0 || q.running != 0 || q.waiting != 0 {
		t.Errorf("the queue remembers %+v", q)
	}
}

// Who finds the queue full, or waits in it for too long, is told to come back.
func TestBusyEngineAnswers429(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, err := NewEngine(EngineOptions{MaxConcurrent: 1, MaxQueued: 1, QueueTimeout: 10 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		release := make(chan struct{})
		slow := &faulty{Model: querytest.NewModel(querytest.Data{}), stall: release}
		if err := slow.Append(labels.EmptyLabels(), labels.FromStrings("__name__", "up"), querytest.Sample{T: 1}); err != nil {
			t.Fatal(err)
		}
		h, err := NewHandler(engine, slow, HandlerOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var done sync.WaitGroup
		get := func(code int, limit string) {
			w := ask(h, http.MethodGet, "/api/v1/query?query=up&time=1")
			if w.Code != code || !strings.Contains(w.Body.String(), limit) {
				t.Errorf("%d %s, want %d for %s", w.Code, w.Body, code, limit)
			}
			if busy := code == http.StatusTooManyRequests; busy != (w.Header().Get("Retry-After") == "5") {
				t.Errorf("status %d with Retry-After %q", w.Code, w.Header().Get("Retry-After"))
			}
		}
		done.Go(func() { get(http.StatusOK, "success") })
		synctest.Wait()
		done.Go(func() { get(http.StatusTooManyRequests, "QueueTimeout") })
		synctest.Wait()
		get(http.StatusTooManyRequests, "MaxQueued")
		time.Sleep(time.Minute)
		close(release)
		done.Wait()
	})
}
