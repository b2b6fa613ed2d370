package cache

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/internal/around"
)

var (
	_ objstore.InstrumentedBucket = (*Bucket)(nil)
	_ objstore.RangesReader       = (*Bucket)(nil)
)

// Bucket remembers what is read of objects that do not change. All methods may
// run at once.
type Bucket struct {
	around.Bucket
	shared *shared
}

// shared is what all views of one Bucket have in common.
type shared struct {
	memory  *memory // nil for none
	disk    *disk   // nil for none
	flights *flights
	metrics *metrics
	opts    Options
}

// New returns b with a cache. It reads the directory of opts, if there is one. A
// directory that cannot be used is logged and counted, and the cache does
// without.
func New(b objstore.Bucket, opts Options) (*Bucket, error) {
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("objstore/cache: %w", err)
	}
	opts = opts.withDefaults()
	c := &shared{opts: opts}
	c.flights = newFlights(c)
	var err error
	if c.memory, err = newMemory(opts.MemoryBytes); err != nil {
		return nil, fmt.Errorf("objstore/cache: %w", err)
	}
	if c.metrics, err = newMetrics(opts.Registerer, c); err != nil {
		return nil, err
	}
	if opts.Dir != "" {
		c.disk = newDisk(opts, c.metrics)
	}
	return newBucket(b, c), nil
}

func newBucket(b objstore.Bucket, c *shared) *Bucket {
	return &Bucket{shared: c, Bucket: around.Bucket{Bucket: b, Start: func(context.Context, around.Call) (around.Pass, error) {
		return around.Plain{}, nil
	}}}
}

// ReadRanges implements objstore.RangesReader.
func (b *Bucket) ReadRanges(ctx context.Context, req objstore.RangesRequest, use func(first, last int, b []byte) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return newRead(b.shared, req, use).run(ctx)
}

// PageSize implements objstore.RangesReader.
func (*Bucket) PageSize() int64 { return pageSize }

// GetRange implements objstore.Bucket. It remembers nothing unless the context
// has a version, see objstore.WithVersion, nor what is asked for in one piece of
// more than 64 MiB: that is for who streams it.
func (b *Bucket) GetRange(ctx context.Context, name string, off, length int64) (io.ReadCloser, error) {
	version := objstore.VersionFrom(ctx)
	if version == "" || name == "" || off < 0 || length <= 0 || length > largestRange || off > math.MaxInt64-largestRange {
		return b.Bucket.GetRange(ctx, name, off, length)
	}
	var content []byte
	err := b.ReadRanges(ctx, objstore.RangesRequest{
		Name: name, Version: version, Kind: kindOther, Ranges: []objstore.Range{{From: off, To: off + length}},
		Most: rangeMost, Open: func(ctx context.Context, off, length int64) (io.ReadCloser, error) {
			return b.Bucket.Bucket.GetRange(ctx, name, off, length)
		},
	}, func(_, _ int, b []byte) error {
		content = b
		return nil
	})
	if err != nil {
		return nil, err
	}
	return objstore.ObjectSizerReadCloser{
		ReadCloser: io.NopCloser(bytes.NewReader(content)),
		Size:       func() (int64, error) { return int64(len(content)), nil },
	}, nil
}

// rangeMost is up to where GetRange reads in one request.
const rangeMost = 8 << 20

// largestRange is up to where GetRange, which puts together in memory what is
// asked for, reads through the cache.
const largestRange = 64 << 20

// WithExpectedErrs implements objstore.InstrumentedBucket: the result shares the
// cache.
func (b *Bucket) WithExpectedErrs(expected objstore.IsOpFailureExpectedFunc) objstore.Bucket {
	inner, ok := b.Bucket.Bucket.(objstore.InstrumentedBucket)
	if !ok {
		return b
	}
	return newBucket(inner.WithExpectedErrs(expected), b.shared)
}

// ReaderWithExpectedErrs implements objstore.InstrumentedBucket.
func (b *Bucket) ReaderWithExpectedErrs(expected objstore.IsOpFailureExpectedFunc) objstore.BucketReader {
	return b.WithExpectedErrs(expected)
}

// Close ends the reads that are under way, waits for what is being written to
// disk, but not for a bucket that ignores the end of its contexts, takes the
// metrics off the registry and closes the bucket below.
func (b *Bucket) Close() error {
	b.shared.flights.close()
	b.shared.metrics.registered.UnregisterAll()
	return b.Bucket.Close()
}

// contradicted notes that a reader could make no sense of what was remembered.
func (c *shared) contradicted(req objstore.RangesRequest, cause error) {
	c.metrics.contradicted.Inc()
	c.opts.Logger.Warn("what the cache holds of an object makes no sense to its reader: it is forgotten and read again",
		"object", req.Name, "data", req.Kind, "err", cause)
}
