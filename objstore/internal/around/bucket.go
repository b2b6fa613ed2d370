package around

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/thanos-io/objstore"
)

// Call is one operation on a bucket.
type Call struct {
	// Op is one of the Op constants of objstore.
	Op string
	// Name is the object, or the directory for iter.
	Name string
	// Off and Len are the range of get_range; Len is -1 otherwise.
	Off, Len int64
}

// Pass accompanies one call. Embed Plain to leave out what is not needed.
type Pass interface {
	// Source stands in for the reader of an upload.
	Source(r io.Reader) io.Reader
	// Body stands in for the body of a successful get or get_range. It may be
	// read and closed after End.
	Body(rc io.ReadCloser) io.ReadCloser
	// Entry runs next, which hands one entry of iter to the caller.
	Entry(next func() error) error
	// End is called once with the outcome and returns what the caller sees.
	End(err error) error
}

// Plain is a Pass that changes nothing.
type Plain struct{}

// Source returns r.
func (Plain) Source(r io.Reader) io.Reader { return r }

// Body returns rc.
func (Plain) Body(rc io.ReadCloser) io.ReadCloser { return rc }

// Entry runs next.
func (Plain) Entry(next func() error) error { return next() }

// End returns err.
func (Plain) End(err error) error { return err }

// Bucket runs Start before each operation of the bucket below it and the Pass
// that Start returns around the operation itself. An error of Start is the
// answer, and the operation does not happen.
type Bucket struct {
	objstore.Bucket
	Start func(ctx context.Context, call Call) (Pass, error)
}

var _ objstore.InstrumentedBucket = (*Bucket)(nil)

// Get implements objstore.Bucket.
func (b *Bucket) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	return b.open(ctx, Call{Op: objstore.OpGet, Name: name, Len: -1}, func() (io.ReadCloser, error) {
		return b.Bucket.Get(ctx, name)
	})
}

// GetRange implements objstore.Bucket.
func (b *Bucket) GetRange(ctx context.Context, name string, off, length int64) (io.ReadCloser, error) {
	return b.open(ctx, Call{Op: objstore.OpGetRange, Name: name, Off: off, Len: length}, func() (io.ReadCloser, error) {
		return b.Bucket.GetRange(ctx, name, off, length)
	})
}

func (b *Bucket) open(ctx context.Context, call Call, get func() (io.ReadCloser, error)) (io.ReadCloser, error) {
	pass, err := b.Start(ctx, call)
	if err != nil {
		return nil, err
	}
	rc, err := get()
	if err != nil {
		// Beside the error there may be a nil pointer in rc. It stays there.
		if err = pass.End(err); err == nil {
			err = errNoBody
		}
		return nil, err
	}
	rc = pass.Body(rc)
	if err := pass.End(nil); err != nil {
		_ = rc.Close() // the error that matters is on its way
		return nil, err
	}
	return rc, nil
}

// errNoBody takes the place of an error that a Pass made disappear.
var errNoBody = errors.New("the bucket gave neither body nor error")

// Exists implements objstore.Bucket.
func (b *Bucket) Exists(ctx context.Context, name string) (ok bool, err error) {
	err = b.run(ctx, objstore.OpExists, name, func(Pass) error {
		ok, err = b.Bucket.Exists(ctx, name)
		return err
	})
	return ok && err == nil, err
}

// Attributes implements objstore.Bucket.
func (b *Bucket) Attributes(ctx context.Context, name string) (attrs objstore.ObjectAttributes, err error) {
	err = b.run(ctx, objstore.OpAttributes, name, func(Pass) error {
		attrs, err = b.Bucket.Attributes(ctx, name)
		return err
	})
	if err != nil {
		return objstore.ObjectAttributes{}, err
	}
	return attrs, nil
}

// Upload implements objstore.Bucket.
func (b *Bucket) Upload(ctx context.Context, name string, r io.Reader, opts ...objstore.ObjectUploadOption) error {
	return b.run(ctx, objstore.OpUpload, name, func(pass Pass) error {
		return b.Bucket.Upload(ctx, name, pass.Source(r), opts...)
	})
}

// Delete implements objstore.Bucket.
func (b *Bucket) Delete(ctx context.Context, name string) error {
	return b.run(ctx, objstore.OpDelete, name, func(Pass) error {
		return b.Bucket.Delete(ctx, name)
	})
}

// Iter implements objstore.Bucket.
func (b *Bucket) Iter(ctx context.Context, dir string, f func(string) error, options ...objstore.IterOption) error {
	return b.run(ctx, objstore.OpIter, dir, func(pass Pass) error {
		return b.Bucket.Iter(ctx, dir, func(name string) error {
			return pass.Entry(func() error { return f(name) })
		}, options...)
	})
}

// IterWithAttributes implements objstore.Bucket.
func (b *Bucket) IterWithAttributes(ctx context.Context, dir string, f func(objstore.IterObjectAttributes) error, options ...objstore.IterOption) error {
	return b.run(ctx, objstore.OpIter, dir, func(pass Pass) error {
		return b.Bucket.IterWithAttributes(ctx, dir, func(attrs objstore.IterObjectAttributes) error {
			return pass.Entry(func() error { return f(attrs) })
		}, options...)
	})
}

func (b *Bucket) run(ctx context.Context, op, name string, do func(Pass) error) error {
	pass, err := b.Start(ctx, Call{Op: op, Name: name, Len: -1})
	if err != nil {
		return err
	}
	return pass.End(do(pass))
}

// IsObjNotFoundErr asks the bucket below about err and all that err wraps.
func (b *Bucket) IsObjNotFoundErr(err error) bool { return Any(err, b.Bucket.IsObjNotFoundErr) }

// IsAccessDeniedErr asks the bucket below about err and all that err wraps.
func (b *Bucket) IsAccessDeniedErr(err error) bool { return Any(err, b.Bucket.IsAccessDeniedErr) }

// WithExpectedErrs passes the wish on to the bucket below, if that can act on
// it.
func (b *Bucket) WithExpectedErrs(expected objstore.IsOpFailureExpectedFunc) objstore.Bucket {
	inner, ok := b.Bucket.(objstore.InstrumentedBucket)
	if !ok {
		return b
	}
	return &Bucket{Bucket: inner.WithExpectedErrs(expected), Start: b.Start}
}

// ReaderWithExpectedErrs is WithExpectedErrs for readers.
func (b *Bucket) ReaderWithExpectedErrs(expected objstore.IsOpFailureExpectedFunc) objstore.BucketReader {
	return b.WithExpectedErrs(expected)
}

// Pause waits for d or until ctx is done, and returns the error of ctx then.
func Pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
