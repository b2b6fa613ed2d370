package objstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/varve-tsdb/varve/objstore/internal/around"
)

// ErrStalled is an operation that was ended because the bucket was silent for too
// long. WithRetry tries again.
var ErrStalled = errors.New("the bucket did not answer in time")

// DeadlineOptions are the settings of WithDeadlines.
type DeadlineOptions struct {
	// FirstByte is how long the bucket may take to answer: with the first byte of a body,
	// with all of an answer without one, and with the first entry of a list and
	// each further one. The default is 15 seconds; negative is no limit.
	FirstByte time.Duration
	// Stall is how long each further MinProgress bytes of a body may take, or the rest
	// of it. The defaults are 15 seconds and 32 KiB; a negative Stall is no limit.
	// What the reader of the body does between two reads does not count.
	Stall       time.Duration
	MinProgress int64
	// Registerer gets the metrics, until Close of the bucket. Nil counts in
	// vain.
	Registerer prometheus.Registerer
}

func (o DeadlineOptions) withDefaults() DeadlineOptions {
	if o.FirstByte == 0 {
		o.FirstByte = 15 * time.Second
	}
	if o.Stall == 0 {
		o.Stall = 15 * time.Second
	}
	if o.MinProgress == 0 {
		o.MinProgress = 32 << 10
	}
	return o
}

// Validate reports all settings that make no sense.
func (o DeadlineOptions) Validate() error {
	if o.MinProgress < 0 {
		return fmt.Errorf("MinProgress is %d, must not be negative", o.MinProgress)
	}
	return nil
}

// WithDeadlines returns b with operations ended that do not come forward, by an
// error that is ErrStalled. It belongs below WithRetry, which then goes on where the body stood.
// Uploads are not watched: how far one has come is not to be seen from here.
//
// It relies on the bucket to end an operation, and the reading of a body, when
// their context is done, as providers do.
func WithDeadlines(b Bucket, opts DeadlineOptions) (InstrumentedBucket, error) {
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("objstore: DeadlineOptions: %w", err)
	}
	m, err := newDeadlineMetrics(opts.Registerer)
	if err != nil {
		return nil, err
	}
	return &deadlined{Bucket: around.Bucket{Bucket: b}, opts: opts.withDefaults(), metrics: m}, nil
}

// deadlined is the bucket of WithDeadlines. It embeds around.Bucket for how that
// classifies errors only.
type deadlined struct {
	around.Bucket
	opts    DeadlineOptions
	metrics *deadlineMetrics
}

// Close closes the bucket.
func (d *deadlined) Close() error {
	d.metrics.registered.UnregisterAll()
	return d.Bucket.Close()
}

// WithExpectedErrs implements InstrumentedBucket.
func (d *deadlined) WithExpectedErrs(expected IsOpFailureExpectedFunc) Bucket {
	inner, ok := d.Bucket.Bucket.(InstrumentedBucket)
	if !ok {
		return d
	}
	return &deadlined{Bucket: around.Bucket{Bucket: inner.WithExpectedErrs(expected)}, opts: d.opts, metrics: d.metrics}
}

// ReaderWithExpectedErrs implements InstrumentedBucket.
func (d *deadlined) ReaderWithExpectedErrs(expected IsOpFailureExpectedFunc) BucketReader {
	return d.WithExpectedErrs(expected)
}

// watch ends the context of an operation when the bucket is silent.
type watch struct {
	cancel context.CancelFunc
	timer  *time.Timer // nil if there is no limit
	fired  atomic.Bool
}

// watch begins with the given limit.
func (d *deadlined) watch(ctx context.Context, limit time.Duration) (context.Context, *watch) {
	ctx, cancel := context.WithCancel(ctx)
	w := &watch{cancel: cancel}
	w.arm(limit)
	return ctx, w
}

// arm waits for the bucket for no longer than limit from now on.
func (w *watch) arm(limit time.Duration) {
	switch {
	case limit <= 0:
	case w.timer == nil:
		w.timer = time.AfterFunc(limit, func() {
			w.fired.Store(true)
			w.cancel()
		})
	default:
		w.timer.Reset(limit)
	}
}

// rest stops waiting.
func (w *watch) rest() {
	if w.timer != nil {
		w.timer.Stop()
	}
}

// end ends the operation.
func (w *watch) end() {
	w.rest()
	w.cancel()
}

// outcome returns err, or what really has ended the operation.
func (d *deadlined) outcome(ctx context.Context, w *watch, op, name string, limit time.Duration, err error) error {
	if err == nil || ctx.Err() != nil || !w.fired.Load() {
		return err
	}
	d.metrics.stalls.WithLabelValues(op).Inc()
	// The cancellation below is not of the caller's making.
	return &Error{Op: op, Name: name, Err: fmt.Errorf("%w of %s", ErrStalled, limit)}
}

// do runs an operation that has no body.
func (d *deadlined) do(ctx context.Context, op, name string, run func(context.Context) error) error {
	watched, w := d.watch(ctx, d.opts.FirstByte)
	defer w.end()
	return d.outcome(ctx, w, op, name, d.opts.FirstByte, run(watched))
}

// Exists implements Bucket.
func (d *deadlined) Exists(ctx context.Context, name string) (ok bool, err error) {
	err = d.do(ctx, OpExists, name, func(ctx context.Context) error {
		ok, err = d.Bucket.Bucket.Exists(ctx, name)
		return err
	})
	return ok && err == nil, err
}

// Attributes implements Bucket.
func (d *deadlined) Attributes(ctx context.Context, name string) (attrs ObjectAttributes, err error) {
	err = d.do(ctx, OpAttributes, name, func(ctx context.Context) error {
		attrs, err = d.Bucket.Bucket.Attributes(ctx, name)
		return err
	})
	return attrs, err
}

// Delete implements Bucket.
func (d *deadlined) Delete(ctx context.Context, name string) error {
	return d.do(ctx, OpDelete, name, func(ctx context.Context) error {
		return d.Bucket.Bucket.Delete(ctx, name)
	})
}

// Upload implements Bucket.
func (d *deadlined) Upload(ctx context.Context, name string, r io.Reader, opts ...ObjectUploadOption) error {
	return d.Bucket.Bucket.Upload(ctx, name, r, opts...)
}

// Iter implements Bucket.
func (d *deadlined) Iter(ctx context.Context, dir string, f func(string) error, options ...IterOption) error {
	return d.iter(ctx, dir, func(ctx context.Context, entry func(func() error) error) error {
		return d.Bucket.Bucket.Iter(ctx, dir, func(name string) error {
			return entry(func() error { return f(name) })
		}, options...)
	})
}

// IterWithAttributes implements Bucket.
func (d *deadlined) IterWithAttributes(ctx context.Context, dir string, f func(IterObjectAttributes) error, options ...IterOption) error {
	return d.iter(ctx, dir, func(ctx context.Context, entry func(func() error) error) error {
		return d.Bucket.Bucket.IterWithAttributes(ctx, dir, func(attrs IterObjectAttributes) error {
			return entry(func() error { return f(attrs) })
		}, options...)
	})
}

func (d *deadlined) iter(ctx context.Context, dir string, list func(ctx context.Context, entry func(func() error) error) error) error {
	watched, w := d.watch(ctx, d.opts.FirstByte)
	defer w.end()
	err := list(watched, func(next func() error) error {
		w.rest()
		defer w.arm(d.opts.FirstByte)
		return next()
	})
	return d.outcome(ctx, w, OpIter, dir, d.opts.FirstByte, err)
}

// Get implements Bucket.
func (d *deadlined) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	return d.open(ctx, OpGet, name, func(ctx context.Context) (io.ReadCloser, error) {
		return d.Bucket.Bucket.Get(ctx, name)
	})
}

// GetRange implements Bucket.
func (d *deadlined) GetRange(ctx context.Context, name string, off, length int64) (io.ReadCloser, error) {
	return d.open(ctx, OpGetRange, name, func(ctx context.Context) (io.ReadCloser, error) {
		return d.Bucket.Bucket.GetRange(ctx, name, off, length)
	})
}

func (d *deadlined) open(ctx context.Context, op, name string, get func(context.Context) (io.ReadCloser, error)) (io.ReadCloser, error) {
	began := time.Now()
	watched, w := d.watch(ctx, d.opts.FirstByte)
	rc, err := get(watched)
	w.rest()
	if err != nil {
		w.end()
		return nil, d.outcome(ctx, w, op, name, d.opts.FirstByte, err)
	}
	return &deadlineBody{
		ReadCloser: rc, ctx: ctx, bucket: d, watch: w, op: op, name: name,
		limit: d.opts.FirstByte, least: 1, waited: time.Since(began),
	}, nil
}

// deadlineBody is a body that may stall only for so long.
type deadlineBody struct {
	io.ReadCloser
	ctx      context.Context // of the caller
	bucket   *deadlined
	watch    *watch
	op, name string

	// At least so many bytes must come while no longer than limit is waited.
	least  int64
	limit  time.Duration
	waited time.Duration
}

// ObjectSize implements ObjectSizer.
func (b *deadlineBody) ObjectSize() (int64, error) { return ObjectSize(b.ReadCloser) }

// Read implements io.Reader.
func (b *deadlineBody) Read(p []byte) (int, error) {
	if b.limit > 0 {
		b.watch.arm(max(b.limit-b.waited, 1))
	}
	began := time.Now()
	n, err := b.ReadCloser.Read(p)
	b.watch.rest()
	b.waited += time.Since(began)
	if b.least -= int64(n); b.least <= 0 {
		b.least, b.limit, b.waited = b.bucket.opts.MinProgress, b.bucket.opts.Stall, 0
	}
	if err != nil && err != io.EOF {
		err = b.bucket.outcome(b.ctx, b.watch, b.op, b.name, b.limit, err)
	}
	return n, err
}

// Close implements io.Closer.
func (b *deadlineBody) Close() error {
	err := b.ReadCloser.Close()
	b.watch.end()
	return err
}
