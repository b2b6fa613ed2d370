package objstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/varve-tsdb/varve/objstore/internal/around"
)

// RetryOptions are the settings of WithRetry.
type RetryOptions struct {
	// MaxAttempts is how often an operation is tried in all. The default is 4; 1
	// never retries. A body that was opened has as many again, and once more
	// for each MiB it has come forward.
	MaxAttempts int
	// MinBackoff is the upper bound of the pause after the first failure, and
	// doubles with each further one up to MaxBackoff. Each pause is drawn
	// evenly from zero to its bound, so that many clients do not come back at
	// once. The defaults are 100 ms and 5 s.
	MinBackoff, MaxBackoff time.Duration
	// Logger gets each retry at level debug. Nil is silent.
	Logger *slog.Logger
	// Registerer gets the metrics, until Close of the bucket. Nil counts in
	// vain.
	Registerer prometheus.Registerer
}

func (o RetryOptions) withDefaults() RetryOptions {
	if o.MaxAttempts == 0 {
		o.MaxAttempts = 4
	}
	if o.MinBackoff == 0 {
		o.MinBackoff = 100 * time.Millisecond
	}
	if o.MaxBackoff == 0 {
		o.MaxBackoff = max(5*time.Second, o.MinBackoff)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Validate reports all settings that make no sense.
func (o RetryOptions) Validate() error {
	var errs []error
	if o.MaxAttempts < 0 {
		errs = append(errs, fmt.Errorf("MaxAttempts is %d, must not be negative", o.MaxAttempts))
	}
	if o.MinBackoff < 0 {
		errs = append(errs, fmt.Errorf("MinBackoff is %v, must not be negative", o.MinBackoff))
	}
	if o.MaxBackoff < 0 {
		errs = append(errs, fmt.Errorf("MaxBackoff is %v, must not be negative", o.MaxBackoff))
	}
	if o.MaxBackoff > 0 && o.MinBackoff > o.MaxBackoff {
		errs = append(errs, fmt.Errorf("MinBackoff is %v, must not be above MaxBackoff, %v", o.MinBackoff, o.MaxBackoff))
	}
	return errors.Join(errs...)
}

// WithRetry returns b with failed operations tried again, where that is safe:
//
//   - Get, GetRange, Exists, Attributes and Delete always. A Delete that finds
//     nothing on a further attempt has succeeded.
//   - Iter and IterWithAttributes until the callback has run once.
//   - Upload if its reader is an io.Seeker; each attempt starts where the reader
//     was. A failure of the reader itself is final.
//   - A body that breaks, or that ends before the size its provider announced,
//     goes on with a ranged read from where it broke. If the object was
//     overwritten meanwhile, that is an error only when the new one is too
//     short for the rest; one of the same size or longer goes unnoticed, as the
//     interface has no versions.
//
// Final are missing objects, denied access, invalid requests, errors of a
// caller's callback, and everything once the context of the operation is done.
// Errors are of type *Error.
//
// The clients of most providers retry requests by themselves, see max_retries
// in their configuration; the attempts multiply.
func WithRetry(b Bucket, opts RetryOptions) (InstrumentedBucket, error) {
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("objstore: RetryOptions: %w", err)
	}
	opts = opts.withDefaults()
	m, err := newRetryMetrics(opts.Registerer)
	if err != nil {
		return nil, err
	}
	return &retrying{Bucket: around.Bucket{Bucket: b}, opts: opts, metrics: m}, nil
}

// retrying is the bucket of WithRetry. It embeds around.Bucket for how that
// classifies errors only.
type retrying struct {
	around.Bucket
	opts    RetryOptions
	metrics *retryMetrics
}

// Close closes the bucket.
func (r *retrying) Close() error {
	r.metrics.registered.UnregisterAll()
	return r.Bucket.Close()
}

// WithExpectedErrs implements InstrumentedBucket.
func (r *retrying) WithExpectedErrs(expected IsOpFailureExpectedFunc) Bucket {
	inner, ok := r.Bucket.Bucket.(InstrumentedBucket)
	if !ok {
		return r
	}
	return &retrying{Bucket: around.Bucket{Bucket: inner.WithExpectedErrs(expected)}, opts: r.opts, metrics: r.metrics}
}

// ReaderWithExpectedErrs implements InstrumentedBucket.
func (r *retrying) ReaderWithExpectedErrs(expected IsOpFailureExpectedFunc) BucketReader {
	return r.WithExpectedErrs(expected)
}

// errFinal marks an error that must not be tried again.
type errFinal struct{ error }

func (e errFinal) Unwrap() error { return e.error }

// final marks err, unless it is nil.
func final(err error) error {
	if err == nil {
		return nil
	}
	return errFinal{err}
}

// run tries do until it succeeds, fails for good or has been tried enough.
func (r *retrying) run(ctx context.Context, op, name string, do func(attempt int) error) error {
	for attempt := 1; ; attempt++ {
		err := do(attempt)
		if err == nil {
			return nil
		}
		var end errFinal
		if errors.As(err, &end) {
			return end.error
		}
		if attempt >= r.opts.MaxAttempts || r.isFinal(ctx, err) {
			return wrapError(op, name, attempt, err)
		}
		if r.pause(ctx, op, name, attempt, err) != nil {
			return wrapError(op, name, attempt, interrupted(ctx, err))
		}
	}
}

// isFinal says that trying again would not help. A deadline that is not the
// caller's belongs to the client below, and what took too long may not the
// next time.
func (r *retrying) isFinal(ctx context.Context, err error) bool {
	return ctx.Err() != nil ||
		errors.Is(err, context.Canceled) ||
		errors.Is(err, ErrInvalid) ||
		errors.Is(err, ErrOptionNotSupported) ||
		r.IsObjNotFoundErr(err) ||
		r.IsAccessDeniedErr(err)
}

// interrupted is the error of an operation whose context ended in a pause.
func interrupted(ctx context.Context, last error) error {
	return fmt.Errorf("%w; before that: %w", ctx.Err(), last)
}

// pause waits before the attempt that follows the failed one. failed counts
// from 1.
func (r *retrying) pause(ctx context.Context, op, name string, failed int, err error) error {
	bound := r.opts.MaxBackoff
	if shift := failed - 1; shift < 30 && r.opts.MinBackoff<<shift < bound && r.opts.MinBackoff<<shift > 0 {
		bound = r.opts.MinBackoff << shift
	}
	wait := time.Duration(rand.Int64N(max(int64(bound), 1)))
	r.metrics.retries.WithLabelValues(op).Inc()
	r.opts.Logger.DebugContext(ctx, "retrying bucket operation",
		"operation", op, "object", name, "attempt", failed+1, "wait", wait, "err", err)
	return around.Pause(ctx, wait)
}

// Exists implements Bucket.
func (r *retrying) Exists(ctx context.Context, name string) (ok bool, err error) {
	err = r.run(ctx, OpExists, name, func(int) error {
		ok, err = r.Bucket.Bucket.Exists(ctx, name)
		return err
	})
	return ok && err == nil, err
}

// Attributes implements Bucket.
func (r *retrying) Attributes(ctx context.Context, name string) (attrs ObjectAttributes, err error) {
	err = r.run(ctx, OpAttributes, name, func(int) error {
		attrs, err = r.Bucket.Bucket.Attributes(ctx, name)
		return err
	})
	return attrs, err
}

// Delete implements Bucket.
func (r *retrying) Delete(ctx context.Context, name string) error {
	return r.run(ctx, OpDelete, name, func(attempt int) error {
		err := r.Bucket.Bucket.Delete(ctx, name)
		if attempt > 1 && r.IsObjNotFoundErr(err) {
			return nil // an earlier attempt did it, and its answer got lost
		}
		return err
	})
}

// Iter implements Bucket.
func (r *retrying) Iter(ctx context.Context, dir string, f func(string) error, options ...IterOption) error {
	return r.iter(ctx, dir, func(entry func(func() error) error) error {
		return r.Bucket.Bucket.Iter(ctx, dir, func(name string) error {
			return entry(func() error { return f(name) })
		}, options...)
	})
}

// IterWithAttributes implements Bucket.
func (r *retrying) IterWithAttributes(ctx context.Context, dir string, f func(IterObjectAttributes) error, options ...IterOption) error {
	return r.iter(ctx, dir, func(entry func(func() error) error) error {
		return r.Bucket.Bucket.IterWithAttributes(ctx, dir, func(attrs IterObjectAttributes) error {
			return entry(func() error { return f(attrs) })
		}, options...)
	})
}

func (r *retrying) iter(ctx context.Context, dir string, list func(entry func(func() error) error) error) error {
	return r.run(ctx, OpIter, dir, func(int) error {
		var begun bool
		var theirs error
		err := list(func(next func() error) error {
			begun = true
			theirs = next()
			return theirs
		})
		switch {
		case err != nil && theirs != nil:
			return final(theirs)
		case begun:
			return final(wrapError(OpIter, dir, 1, err))
		default:
			return err
		}
	})
}

// Get implements Bucket.
func (r *retrying) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	return r.open(ctx, &retryBody{op: OpGet, name: name, length: -1}, func() (io.ReadCloser, error) {
		return r.Bucket.Bucket.Get(ctx, name)
	})
}

// GetRange implements Bucket.
func (r *retrying) GetRange(ctx context.Context, name string, off, length int64) (io.ReadCloser, error) {
	return r.open(ctx, &retryBody{op: OpGetRange, name: name, off: off, length: length}, func() (io.ReadCloser, error) {
		return r.Bucket.Bucket.GetRange(ctx, name, off, length)
	})
}

func (r *retrying) open(ctx context.Context, body *retryBody, get func() (io.ReadCloser, error)) (io.ReadCloser, error) {
	err := r.run(ctx, body.op, body.name, func(int) (err error) {
		body.rc, err = get()
		return err
	})
	if err != nil {
		return nil, err
	}
	body.ctx, body.bucket, body.attempts = ctx, r, 1
	body.size, err = ObjectSize(body.rc)
	body.sized = err == nil
	return body, nil
}
