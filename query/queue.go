package query

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/varve-tsdb/varve/internal/fairqueue"
	"github.com/varve-tsdb/varve/internal/readopts"
)

// queue lets a number of queries run at a time and has the others wait their turn by
// tenant: a promql.QueryTracker.
type queue struct {
	opts       fairqueue.Options
	retryAfter time.Duration
	turns      *fairqueue.Queue

	mu     sync.Mutex // guards what follows
	places map[int]*fairqueue.Place
	next   int
}

func newQueue(opts fairqueue.Options, retryAfter time.Duration, metrics *fairqueue.Metrics) *queue {
	return &queue{opts: opts, retryAfter: retryAfter, turns: fairqueue.New(opts, metrics), places: map[int]*fairqueue.Place{}}
}

func newQueueMetrics() *fairqueue.Metrics {
	return fairqueue.NewMetrics("varve_query_queue", "Queries", "MaxQueued", "QueueTimeout")
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
func (q *queue) GetMaxConcurrent() int { return q.opts.Concurrent }

// Insert waits until the query may run. The error is a *BusyError, or says that
// ctx ended.
func (q *queue) Insert(ctx context.Context, _ string) (int, error) {
	if ctx.Value(parsingKey{}) != nil {
		return noPlace, nil
	}
	tenant := readopts.From(ctx).Tenant
	place, err := q.turns.Enter(ctx, tenant)
	if refused, ok := errors.AsType[*fairqueue.Refused](err); ok {
		return 0, q.busy(tenant, refused)
	}
	if err != nil {
		return 0, fmt.Errorf("query %w", err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	index := q.next
	q.next++
	q.places[index] = place
	return index, nil
}

// Delete ends a query.
func (q *queue) Delete(index int) {
	if index == noPlace {
		return
	}
	q.mu.Lock()
	place := q.places[index]
	delete(q.places, index)
	q.mu.Unlock()
	place.Leave()
}

// Close does nothing.
func (*queue) Close() error { return nil }

func (q *queue) busy(tenant string, refused *fairqueue.Refused) error {
	limit := "QueueTimeout"
	if refused.Full {
		limit = "MaxQueued"
	}
	return &BusyError{
		Tenant: tenant, Limit: limit, Running: q.opts.Concurrent, Queued: q.opts.Queued,
		Waited: refused.Waited, RetryAfter: q.retryAfter,
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
