package query

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/varve-tsdb/varve/internal/extlabels"
)

// withouter is the optional interface of a source that can leave out labels and
// sort by the rest itself.
type withouter interface {
	ChunkQuerierWithout(mint, maxt int64, without []string) (storage.ChunkQuerier, error)
}

// fanoutSource is one source within one querier of a Fanout.
type fanoutSource struct {
	source     storage.ChunkQueryable
	name       string
	logger     *slog.Logger
	held       []stream
	known      bool // whether held is what the source says
	mint, maxt int64
	without    []string
	strip      bool // whether to use without

	calls callList // into the querier

	// mu is held while the querier is being opened, which may take long, so
	// nobody but a running call may wait for it.
	mu      sync.Mutex
	querier storage.ChunkQuerier // nil until first asked
}

// open returns the querier of the source, opened on first use so that only
// sources that are asked cost anything.
func (s *fanoutSource) open() (storage.ChunkQuerier, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.querier != nil {
		return s.querier, nil
	}
	q, err := s.openNew()
	if err != nil {
		return nil, fmt.Errorf("open querier: %w", err)
	}
	s.querier = q
	return q, nil
}

func (s *fanoutSource) openNew() (storage.ChunkQuerier, error) {
	if !s.strip {
		return s.source.ChunkQuerier(s.mint, s.maxt)
	}
	if w, ok := s.source.(withouter); ok {
		return w.ChunkQuerierWithout(s.mint, s.maxt, s.without)
	}
	q, err := s.source.ChunkQuerier(s.mint, s.maxt)
	if err != nil {
		return nil, err
	}
	return extlabels.NewChunkQuerier(q, labels.EmptyLabels(), s.without), nil
}

// close ends the source. It waits for running calls, unless one is not worth it, see
// callList.end: then the querier is closed when that call returns.
func (s *fanoutSource) close(patience context.Context) error {
	if s.calls.end(patience) {
		return s.closeQuerier()
	}
	go func() {
		s.calls.wait()
		if err := s.closeQuerier(); err != nil {
			s.logger.Warn("a source that was given up has failed to close", "err", err)
		}
	}()
	return nil
}

func (s *fanoutSource) closeQuerier() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.querier == nil {
		return nil
	}
	if err := s.querier.Close(); err != nil {
		return fmt.Errorf("close source %s: %w", s.name, err)
	}
	return nil
}

// runQuerier calls f with the querier of the source on a goroutine of its own, for a
// request with that context.
func runQuerier[T any](request context.Context, s *fanoutSource, f func(storage.ChunkQuerier) (T, error)) *running[T] {
	r := run(func() (T, error) {
		q, err := s.open()
		if err != nil {
			var none T
			return none, err
		}
		return f(q)
	})
	s.calls.add(call{done: r.done, request: request})
	return r
}

// running is a call on a goroutine of its own.
type running[T any] struct {
	done  chan struct{}
	value T // value and err are there once done is closed
	err   error
}

// run calls f on a goroutine of its own. A panic of f becomes its error: it
// would otherwise end the process, as nobody above could recover it.
func run[T any](f func() (T, error)) *running[T] {
	r := &running[T]{done: make(chan struct{})}
	go func() {
		defer close(r.done)
		defer func() {
			if p := recover(); p != nil {
				r.err = &panicError{value: p, stack: string(debug.Stack())}
			}
		}()
		r.value, r.err = f()
	}()
	return r
}

// panicError is what a source panicked with.
type panicError struct {
	value any
	stack string // for the log only
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// wait until the call is done or ctx is. It returns false if it gave up.
func (r *running[T]) wait(ctx context.Context) bool {
	select {
	case <-r.done:
		return true
	case <-ctx.Done():
	}
	select { // both may be ready, and an answer is better
	case <-r.done:
		return true
	default:
		return false
	}
}

// deadline ends a context when one step takes too long.
type deadline struct {
	timer   *time.Timer // nil without a limit
	timeout time.Duration
}

func newDeadline(timeout time.Duration, cancel context.CancelCauseFunc) *deadline {
	d := &deadline{timeout: timeout}
	if timeout > 0 {
		d.timer = time.AfterFunc(timeout, func() { cancel(errSourceTimeout) })
	}
	return d
}

func (d *deadline) start() {
	if d.timer != nil {
		d.timer.Reset(d.timeout)
	}
}

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
	}
}

// sourceFailure words why a source failed, given the context it ran in, whose end
// may be why: that of a source that is asked beside others may have come later.
func sourceFailure(ctx context.Context, err error, timeout time.Duration) error {
	if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if errors.Is(context.Cause(ctx), errSourceTimeout) {
		return fmt.Errorf("no answer within %s: %w", timeout, context.DeadlineExceeded)
	}
	if err == nil {
		return context.Cause(ctx)
	}
	return err
}
