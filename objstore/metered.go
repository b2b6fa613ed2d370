package objstore

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/varve-tsdb/varve/objstore/internal/around"
)

// MetricsOptions are the settings of WithMetrics.
type MetricsOptions struct {
	// Registerer gets the metrics. Nil counts in vain. Two buckets cannot share
	// one unless prometheus.WrapRegistererWith tells them apart. Close of the
	// bucket takes them off again.
	Registerer prometheus.Registerer
	// Expected, unless nil, says of further errors that they are no failures.
	// Those of missing objects and of canceled contexts never are.
	Expected func(error) bool
}

// WithMetrics returns b with its operations, failures, durations and bytes
// counted. It fails when the metrics are registered already.
func WithMetrics(b Bucket, opts MetricsOptions) (InstrumentedBucket, error) {
	m, err := newMeterMetrics(opts.Registerer)
	if err != nil {
		return nil, err
	}
	return newMetered(b, m, opts.Expected), nil
}

// metered is the bucket of WithMetrics.
type metered struct {
	around.Bucket
	metrics  *meterMetrics
	expected func(error) bool
}

func newMetered(b Bucket, m *meterMetrics, expected func(error) bool) *metered {
	mb := &metered{Bucket: around.Bucket{Bucket: b}, metrics: m, expected: expected}
	mb.Start = mb.start
	return mb
}

// Close closes the bucket.
func (m *metered) Close() error {
	m.metrics.registered.UnregisterAll()
	return m.Bucket.Close()
}

// WithExpectedErrs implements InstrumentedBucket: the result counts in the same
// metrics.
func (m *metered) WithExpectedErrs(expected IsOpFailureExpectedFunc) Bucket {
	inner := m.Bucket.Bucket
	if i, ok := inner.(InstrumentedBucket); ok {
		inner = i.WithExpectedErrs(expected)
	}
	return newMetered(inner, m.metrics, expected)
}

// ReaderWithExpectedErrs implements InstrumentedBucket.
func (m *metered) ReaderWithExpectedErrs(expected IsOpFailureExpectedFunc) BucketReader {
	return m.WithExpectedErrs(expected)
}

func (m *metered) start(ctx context.Context, call around.Call) (around.Pass, error) {
	m.metrics.operations.WithLabelValues(call.Op).Inc()
	return &metering{m: m, ctx: ctx, op: call.Op, began: time.Now()}, nil
}

// failed counts err if it is a failure of the bucket.
func (m *metered) failed(ctx context.Context, op string, err error) {
	switch {
	case err == nil,
		errors.Is(err, context.Canceled),
		errors.Is(ctx.Err(), context.Canceled),
		m.IsObjNotFoundErr(err),
		m.expected != nil && m.expected(err):
		return
	}
	m.metrics.failures.WithLabelValues(op).Inc()
}

// metering is one operation.
type metering struct {
	m     *metered
	ctx   context.Context
	op    string
	began time.Time

	away   time.Duration // spent in callbacks
	theirs error         // of a callback, not of the bucket
	taken  func() int64  // of an upload
	body   bool          // there is one, which reports the duration
}

func (p *metering) Source(r io.Reader) io.Reader {
	r, p.taken = around.Count(r)
	return r
}

func (p *metering) Body(rc io.ReadCloser) io.ReadCloser {
	p.body = true
	return &meteredBody{ReadCloser: rc, op: p, waited: time.Since(p.began)}
}

func (p *metering) Entry(next func() error) error {
	left := time.Now()
	err := next()
	p.away += time.Since(left)
	if err != nil {
		p.theirs = err
	}
	return err
}

func (p *metering) End(err error) error {
	if p.theirs == nil {
		p.m.failed(p.ctx, p.op, err)
	}
	if p.taken != nil {
		p.m.metrics.written.WithLabelValues(p.op).Add(float64(p.taken()))
	}
	if !p.body {
		p.observe(time.Since(p.began) - p.away)
	}
	return err
}

func (p *metering) observe(d time.Duration) {
	p.m.metrics.duration.WithLabelValues(p.op).Observe(d.Seconds())
}

type meteredBody struct {
	io.ReadCloser
	op             *metering
	waited         time.Duration
	failed, closed bool
}

func (b *meteredBody) Read(p []byte) (int, error) {
	began := time.Now()
	n, err := b.ReadCloser.Read(p)
	b.waited += time.Since(began)
	b.op.m.metrics.read.WithLabelValues(b.op.op).Add(float64(n))
	if err != nil && err != io.EOF && !b.failed {
		b.failed = true
		b.op.m.failed(b.op.ctx, b.op.op, err)
	}
	return n, err
}

func (b *meteredBody) ObjectSize() (int64, error) { return ObjectSize(b.ReadCloser) }

func (b *meteredBody) Close() error {
	err := b.ReadCloser.Close()
	if !b.closed {
		b.closed = true
		b.op.observe(b.waited)
	}
	return err
}
