package storeapi

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/varve-tsdb/varve/internal/fairqueue"
	"github.com/varve-tsdb/varve/internal/readcost"
)

// Budget limits what calls may take, each by itself and all together. It is the same
// type as in packages store and query, which make one.
type Budget = readcost.Budget

const (
	defaultConcurrent   = 20
	queuedPerRunning    = 10
	defaultQueueTimeout = time.Minute
	busyRetryAfter      = 5 * time.Second
)

// withDefaults returns the options with their defaults.
func (o ServerOptions) withDefaults() ServerOptions {
	if o.Component == "" {
		o.Component = "store"
	}
	if o.MaxConcurrent == 0 {
		o.MaxConcurrent = defaultConcurrent
	}
	if o.MaxQueued == 0 {
		o.MaxQueued = queuedPerRunning * max(o.MaxConcurrent, 0)
	}
	if o.QueueTimeout == 0 {
		o.QueueTimeout = defaultQueueTimeout
	}
	return o
}

// Validate returns all that is wrong with the options, each by its field's name, or
// nil. Zero values are fine.
func (o ServerOptions) Validate() error {
	var errs []error
	if o.MaxQueued < 0 {
		errs = append(errs, fmt.Errorf("MaxQueued is %d, and must not be negative", o.MaxQueued))
	}
	if o.QueueTimeout < 0 {
		errs = append(errs, fmt.Errorf("QueueTimeout is %s, and must not be negative", o.QueueTimeout))
	}
	return errors.Join(errs...)
}

// BusyError is what a call of Series gets that was not answered because too many
// others are. A Client of Varve, and so the HTTP API of a querier, takes it for what
// it is: 429 with Retry-After. Thanos takes it for a store that is not available.
type BusyError struct {
	// Limit is the field of ServerOptions: MaxQueued or QueueTimeout.
	Limit string
	// Running and Queued are how many calls may run and wait.
	Running, Queued int
	// Waited is how long it did.
	Waited time.Duration
	// RetryAfter is when it is worth a try.
	RetryAfter time.Duration
}

// Error names the limit and what to do.
func (e *BusyError) Error() string {
	if e.Limit == "MaxQueued" {
		return fmt.Sprintf("too busy: %d calls of Series run and %d wait (MaxQueued): try again in %s; if this comes often raise MaxConcurrent",
			e.Running, e.Queued, e.RetryAfter)
	}
	return fmt.Sprintf("too busy: the call of Series waited %s for one of %d to end (QueueTimeout): try again in %s; if this comes often raise MaxConcurrent",
		e.Waited.Round(time.Millisecond), e.Running, e.RetryAfter)
}

// Overloaded reports that the same call may pass later.
func (e *BusyError) Overloaded() (retryAfter time.Duration, yes bool) { return e.RetryAfter, true }

// enter waits until a call of Series may run.
func (s *Server) enter(ctx context.Context) (*turn, error) {
	if s.queue == nil {
		return nil, nil
	}
	place, err := s.queue.Enter(ctx, fairShare(ctx))
	if refused, ok := errors.AsType[*fairqueue.Refused](err); ok {
		limit := "QueueTimeout"
		if refused.Full {
			limit = "MaxQueued"
		}
		return nil, &BusyError{
			Limit: limit, Running: s.opts.MaxConcurrent, Queued: s.opts.MaxQueued, Waited: refused.Waited, RetryAfter: busyRetryAfter,
		}
	}
	if err != nil {
		return nil, fmt.Errorf("series %w", err)
	}
	return newTurn(place), nil
}

// fairShare is on whose behalf a call is, by which calls take turns: the tenant of
// Varve's clients, or of Thanos'.
func fairShare(ctx context.Context) string {
	for _, key := range []string{tenantKey, thanosTenantKey} {
		if values := metadata.ValueFromIncomingContext(ctx, key); len(values) == 1 {
			return values[0]
		}
	}
	return ""
}

// unread is how long a message may wait for its reader before the call gives its
// place to another.
const unread = time.Second

// turn is the place of a call among those that run. Who asks several servers, or one
// several times, reads the answers in an order of its own: were a call to keep its
// place while nobody reads, two clients could wait for each other. So it gives the
// place up then, and has it back, beside the others, once it is read again. nil has
// no place and needs none.
type turn struct {
	place *fairqueue.Place
	timer *time.Timer

	mu      sync.Mutex // guards what follows
	sending bool
	left    bool
}

func newTurn(place *fairqueue.Place) *turn {
	t := &turn{place: place}
	t.timer = time.AfterFunc(unread, t.expire)
	t.timer.Stop()
	return t
}

func (t *turn) expire() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sending && !t.left {
		t.left = true
		t.place.Leave()
	}
}

// send calls send, which may wait for a reader.
func (t *turn) send(send func() error) error {
	if t == nil {
		return send()
	}
	t.mu.Lock()
	t.sending = true
	t.mu.Unlock()
	t.timer.Reset(unread)
	defer func() {
		t.timer.Stop()
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.sending = false; t.left {
			t.left = false
			t.place.Back()
		}
	}()
	return send()
}

// end leaves the place for good.
func (t *turn) end() {
	if t != nil {
		t.place.Leave()
	}
}

// account returns a context whose reads are in an account of the budget, unless it has
// one of the host's already, and what closes it.
func (s *Server) account(ctx context.Context) (_ context.Context, closed func()) {
	if s.opts.Budget == nil || readcost.From(ctx) != nil {
		return ctx, func() {}
	}
	cost := s.opts.Budget.Open()
	return readcost.With(ctx, cost), cost.Close
}
