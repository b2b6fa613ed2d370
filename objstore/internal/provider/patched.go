package provider

import (
	"bytes"
	"context"
	"io"

	"github.com/varve-tsdb/varve/objstore"
)

// patched is for the S3 client. Its Get of an empty object fails with io.EOF,
// and its list runs in a goroutine that only the end of a context ends, when
// not all entries are taken.
type patched struct{ objstore.Bucket }

// Get implements objstore.Bucket.
func (b patched) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	rc, err := b.Bucket.Get(ctx, name)
	if err == io.EOF {
		return b.empty(ctx, name, 0)
	}
	return rc, err
}

// GetRange implements objstore.Bucket.
func (b patched) GetRange(ctx context.Context, name string, off, length int64) (io.ReadCloser, error) {
	rc, err := b.Bucket.GetRange(ctx, name, off, length)
	if err == io.EOF {
		return b.empty(ctx, name, off)
	}
	return rc, err
}

// empty returns a body without bytes, if the object has none from off on. That
// is asked for, lest a broken connection pass for an empty object.
func (b patched) empty(ctx context.Context, name string, off int64) (io.ReadCloser, error) {
	attrs, err := b.Attributes(ctx, name)
	if err != nil {
		return nil, err
	}
	if attrs.Size > off {
		return nil, io.ErrUnexpectedEOF
	}
	return objstore.ObjectSizerReadCloser{
		ReadCloser: io.NopCloser(bytes.NewReader(nil)),
		Size:       func() (int64, error) { return 0, nil },
	}, nil
}

// Iter implements objstore.Bucket.
func (b patched) Iter(ctx context.Context, dir string, f func(string) error, options ...objstore.IterOption) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return b.Bucket.Iter(ctx, dir, f, options...)
}

// IterWithAttributes implements objstore.Bucket.
func (b patched) IterWithAttributes(ctx context.Context, dir string, f func(objstore.IterObjectAttributes) error, options ...objstore.IterOption) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return b.Bucket.IterWithAttributes(ctx, dir, f, options...)
}
