package query

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/varve-tsdb/varve/internal/readopts"
)

// queue lets a number of queries run at a time and has the others wait: a
// promql.QueryTracker. When one ends, the next is of the tenant that has the
// fewest running, and among those of the one whose turn was longest ago, so that
// many queries of one tenant do not hold up the few of another.
type queue struct {
	opts    queueOptions
	metrics *queueMetrics

	mu      sync.Mutex // guards what follows
	running int
	waiting int
	turn    int64                   // counts queries that were let in and tenants that came
	tenants map[string]*tenantQueue // of those with queries
	places  map[int]string          // tenants of running queries, by index
	next    int
}

type queueOptions struct {
	concurrent, perTenant, queued int
	wait, retryAfter              time.Duration
}

// tenantQueue is the queries of one tenant.
type tenantQueue struct {
	running int
	turn    int64 // when its last query was let in, or it came
	waiting []*waiter
}

// waiter is a query that waits.
type waiter struct {
	let   chan struct{} // closed when it may run
	index int           // there once let is closed
}

func newQueue(opts queueOptions, metrics *queueMetrics) *queue {
	return &queue{opts: opts, metrics: metrics, tenants: map[string]*tenantQueue{}, places: map[int]string{}}
}

type parsingKey struct{}

// parsing marks a context in which a query is made and not run. The engine asks
// for a place for that, too; but who waits for one twice waits twice as long.
func parsing(ctx context.Context) context.Context {
	return context.WithValue(ctx, parsingKey{}, true)
}

// noPlace is the index of a query that needs none.
const noPlace = -1

// GetMaxConcurrent returns how many may run.
func (q *queue) GetMaxConcurrent() int { return q.opts.concurrent }

// Insert waits until the query may run. The error is a *BusyError, or says that
// ctx ended.
func (q *queue) Insert(ctx context.Context, _ string) (int, error) {
	if ctx.Value(parsingKey{}) != nil {
		return noPlace, nil
	}
	tenant := readopts.From(ctx).Tenant
	began := time.Now()
	w, err := q.enter(tenant)
	if err != nil {
		return 0, err
	}
	defer func() { q.metrics.wait.Observe(time.Since(began).Seconds()) }()
	select { // a place that is free is better than the news that time is up
	case <-w.let:
		return w.index, nil
	default:
	}
	patience := time.NewTimer(q.opts.wait)
	defer patience.Stop()
	select {
	case <-w.let:
		return w.index, nil
	case <-ctx.Done():
		err = fmt.Errorf("query waited for one of %d running to end: %w", q.opts.concurrent, ctx.Err())
	case <-patience.C:
		err = q.busy(tenant, "QueueTimeout", time.Since(began))
	}
	if !q.leave(tenant, w) {
		return w.index, nil // it was let in at that moment
	}
	return 0, err
}

// enter lets a query in or puts it in the queue.
func (q *queue) enter(tenant string) (*waiter, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	t := q.tenants[tenant]
	if t == nil {
		q.turn++
		t = &tenantQueue{turn: q.turn}
		q.tenants[tenant] = t
	}
	w := &waiter{let: make(chan struct{})}
	t.waiting = append(t.waiting, w)
	q.waiting++
	q.admit()
	select {
	case <-w.let:
		return w, nil
	default:
	}
	if q.waiting > q.opts.queued {
		q.remove(tenant, w)
		return nil, q.busy(tenant, "MaxQueued", 0)
	}
	return w, nil
}

// leave takes a query out of the queue, or returns false because it was let in.
func (q *queue) leave(tenant string, w *waiter) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case <-w.let:
		return false
	default:
	}
	q.remove(tenant, w)
	return true
}

// remove takes a query that waits out of the queue. q.mu is held.
func (q *queue) remove(tenant string, w *waiter) {
	t := q.tenants[tenant]
	for i, other := range t.waiting {
		if other == w {
			t.waiting = append(t.waiting[:i], t.waiting[i+1:]...)
			q.waiting--
			break
		}
	}
	q.forget(tenant)
	q.observe()
}

// Delete ends a query.
func (q *queue) Delete(index int) {
	if index == noPlace {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	tenant := q.places[index]
	delete(q.places, index)
	q.running--
	q.tenants[tenant].running--
	q.forget(tenant)
	q.admit()
}

// Close does nothing.
func (*queue) Close() error { return nil }

// admit lets in as many as there is room for. q.mu is held.
func (q *queue) admit() {
	for q.running < q.opts.concurrent {
		name, t := q.chooseNext()
		if t == nil {
			break
		}
		w := t.waiting[0]
		t.waiting = t.waiting[1:]
		q.waiting--
		q.running++
		t.running++
		q.turn++
		t.turn = q.turn
		w.index = q.next
		q.places[q.next] = name
		q.next++
		close(w.let)
	}
	q.observe()
}

// chooseNext returns the tenant whose turn it is, nil if none waits that may
// have a query run. q.mu is held.
func (q *queue) chooseNext() (name string, next *tenantQueue) {
	for n, t := range q.tenants {
		if len(t.waiting) == 0 || q.opts.perTenant > 0 && t.running >= q.opts.perTenant {
			continue
		}
		if next == nil || t.running < next.running || t.running == next.running && t.turn < next.turn {
			name, next = n, t
		}
	}
	return name, next
}

// forget drops a tenant without queries. q.mu is held.
func (q *queue) forget(tenant string) {
	if t := q.tenants[tenant]; t.running == 0 && len(t.waiting) == 0 {
		delete(q.tenants, tenant)
	}
}

// observe shows how things stand. q.mu is held.
func (q *queue) observe() {
	q.metrics.running.Set(float64(q.running))
	q.metrics.waiting.Set(float64(q.waiting))
}

func (q *queue) busy(tenant, limit string, waited time.Duration) error {
	q.metrics.refused.WithLabelValues(limit).Inc()
	return &BusyError{
		Tenant: tenant, Limit: limit, Running: q.opts.concurrent, Queued: q.opts.queued,
		Waited: waited, RetryAfter: q.opts.retryAfter,
	}
}

// BusyError is what a query gets that was not run because too many others are.
// The HTTP API answers 429 with Retry-After.
type BusyError struct {
	// Tenant whose query it is.
	Tenant string
	// Limit is the field of EngineOptions: MaxQueued or QueueTimeout.
	Limit string
	// Running and Queued are how many queries may run and wait.
	Running, Queued int
	// Waited is how long it did.
	Waited time.Duration
	// RetryAfter is when it is worth a try.
	RetryAfter time.Duration
}

// Error names the limit and what to do.
func (e *BusyError) Error() string {
	who := ""
	if e.Tenant != "" {
		who = fmt.Sprintf(" of tenant %q", e.Tenant)
	}
	if e.Limit == "MaxQueued" {
		return fmt.Sprintf("too busy: %d queries run and %d wait (MaxQueued), so that the query%s cannot: try again in %s; if this comes often raise MaxConcurrent",
			e.Running, e.Queued, who, e.RetryAfter)
	}
	return fmt.Sprintf("too busy: the query%s waited %s for one of %d to end (QueueTimeout): try again in %s; if this comes often raise MaxConcurrent",
		who, e.Waited.Round(time.Millisecond), e.Running, e.RetryAfter)
}

// Overloaded reports that the same query may pass later.
func (e *BusyError) Overloaded() (retryAfter time.Duration, yes bool) { return e.RetryAfter, true }
