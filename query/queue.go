package query

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/util/stats"

	"github.com/varve-tsdb/varve/internal/fairqueue"
	"github.com/varve-tsdb/varve/internal/readopts"
)

// queue lets a number of queries run at a time and has the others wait their turn by
// tenant.
type queue struct {
	opts       fairqueue.Options
	retryAfter time.Duration
	turns      *fairqueue.Queue
}

func newQueue(opts fairqueue.Options, retryAfter time.Duration, metrics *fairqueue.Metrics) *queue {
	return &queue{opts: opts, retryAfter: retryAfter, turns: fairqueue.New(opts, metrics)}
}

func newQueueMetrics() *fairqueue.Metrics {
	return fairqueue.NewMetrics("varve_query_queue", "Queries", "MaxQueued", "QueueTimeout")
}

// enter waits until a query may run. The error is a *BusyError, or says that ctx
// ended.
func (q *queue) enter(ctx context.Context) (*fairqueue.Place, error) {
	tenant := readopts.From(ctx).Tenant
	place, err := q.turns.Enter(ctx, tenant)
	if refused, ok := errors.AsType[*fairqueue.Refused](err); ok {
		return nil, q.busy(tenant, refused)
	}
	if err != nil {
		return nil, fmt.Errorf("query %w", err)
	}
	return place, nil
}

// queuedQuery waits for its turn before it runs. The engine itself would let it wait
// as part of the time that it may run.
type queuedQuery struct {
	promql.Query
	queue *queue

	mu     sync.Mutex         // guards what follows
	cancel context.CancelFunc // ends Exec, nil before that
}

// Exec waits and runs the query.
func (q *queuedQuery) Exec(ctx context.Context) *promql.Result {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	q.mu.Lock()
	q.cancel = cancel
	q.mu.Unlock()
	place, err := q.wait(ctx)
	if err != nil {
		return &promql.Result{Err: err}
	}
	defer place.Leave()
	return q.Query.Exec(ctx)
}

func (q *queuedQuery) wait(ctx context.Context) (*fairqueue.Place, error) {
	timer, ctx := q.Stats().Timers.GetSpanTimer(ctx, stats.ExecQueueTime)
	defer timer.Finish()
	return q.queue.enter(ctx)
}

// Cancel ends Exec, whether it waits, runs or is let in at that moment.
func (q *queuedQuery) Cancel() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.cancel != nil {
		q.cancel()
	}
}

// concurrency tells the engine how many queries may run, for its metrics. It holds
// up none.
type concurrency int

// GetMaxConcurrent returns how many may run.
func (c concurrency) GetMaxConcurrent() int { return int(c) }

// Insert does nothing.
func (concurrency) Insert(context.Context, string) (int, error) { return 0, nil }

// Delete does nothing.
func (concurrency) Delete(int) {}

// Close does nothing.
func (concurrency) Close() error { return nil }

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
