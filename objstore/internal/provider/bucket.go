package provider

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/internal/around"
)

// spool is up to how many bytes of an upload of unknown size are read ahead to
// learn the size. Several clients refuse such an upload, and the one for S3
// sets aside half a gigabyte for it.
const spool = 16 << 20

// Wrap returns b with what the contract of package objstore asks for beyond
// what clients do:
//
//   - errors are of type *objstore.Error, and classified through any wrapping,
//   - a range of no bytes is refused (to some it means the last byte),
//   - a context that is done ends every operation, its body and its source,
//     also of clients that take no context,
//   - an upload whose reader gives less than it announced fails, and one of
//     unknown size has its size found out if it is small,
//   - an empty object has a body,
//   - a list that ends early leaves no goroutine behind.
func Wrap(b objstore.Bucket) objstore.Bucket { return WrapClient(b, nil) }

// WrapClient is Wrap for a client of which invalid tells the errors that say the
// request itself is wrong: they become objstore.ErrInvalid, which nobody retries.
func WrapClient(b objstore.Bucket, invalid func(error) bool) objstore.Bucket {
	return &bucket{around.Bucket{Bucket: patched{b}, Start: func(ctx context.Context, call around.Call) (around.Pass, error) {
		if err := check(ctx, call); err != nil {
			return nil, err
		}
		return &pass{ctx: ctx, call: call, invalid: invalid}, nil
	}}}
}

type bucket struct{ around.Bucket }

// Upload implements objstore.Bucket.
func (b *bucket) Upload(ctx context.Context, name string, r io.Reader, opts ...objstore.ObjectUploadOption) error {
	if err := check(ctx, around.Call{Op: objstore.OpUpload, Name: name}); err != nil {
		return err
	}
	sized, err := measured(r)
	if err != nil {
		return &objstore.Error{Op: objstore.OpUpload, Name: name, Err: err}
	}
	return b.Bucket.Upload(ctx, name, sized, opts...)
}

// measured returns r with a size, if it has one or is small.
func measured(r io.Reader) (io.Reader, error) {
	if n, ok := around.Size(r); ok {
		if _, seeks := r.(io.Seeker); seeks {
			return r, nil // its size is the truth
		}
		return &promised{r: r, size: n, left: n}, nil
	}
	var head bytes.Buffer
	if _, err := io.CopyN(&head, r, spool); err == io.EOF {
		return bytes.NewReader(head.Bytes()), nil
	} else if err != nil {
		return nil, err
	}
	return io.MultiReader(&head, r), nil
}

// promised is a reader that must give as much as it announced, or fail.
type promised struct {
	r          io.Reader
	size, left int64
}

func (p *promised) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	p.left -= int64(n)
	if err == io.EOF && p.left > 0 {
		err = fmt.Errorf("%w: the reader gave %d bytes of %d", io.ErrUnexpectedEOF, p.size-p.left, p.size)
	}
	return n, err
}

// ObjectSize implements objstore.ObjectSizer.
func (p *promised) ObjectSize() (int64, error) { return p.size, nil }

func check(ctx context.Context, call around.Call) error {
	err := ctx.Err()
	switch {
	case err != nil:
	case call.Name == "" && call.Op != objstore.OpIter:
		err = fmt.Errorf("%w: the object name is empty", objstore.ErrInvalid)
	case call.Op == objstore.OpGetRange && (call.Off < 0 || call.Len == 0 || call.Len < -1):
		err = fmt.Errorf("%w: no range of %d bytes from %d", objstore.ErrInvalid, call.Len, call.Off)
	}
	if err != nil {
		return &objstore.Error{Op: call.Op, Name: call.Name, Err: err}
	}
	return nil
}

type pass struct {
	ctx     context.Context
	call    around.Call
	invalid func(error) bool // may be nil
	theirs  error            // of a callback
}

func (p *pass) unlessDone(_ int, err error) error {
	if done := p.ctx.Err(); done != nil {
		return done
	}
	return err
}

func (p *pass) Source(r io.Reader) io.Reader { return around.Tap(r, p.unlessDone) }

func (p *pass) Body(rc io.ReadCloser) io.ReadCloser {
	return around.TapBody(rc, func(n int, err error) error {
		if err == io.EOF {
			return err
		}
		return p.name(p.unlessDone(n, err))
	}, nil)
}

func (p *pass) Entry(next func() error) error {
	p.theirs = next()
	return p.theirs
}

// End names the error. What a callback returned stays as it is: several clients
// wrap it in words of their own.
func (p *pass) End(err error) error {
	if err != nil && p.theirs != nil {
		return p.theirs
	}
	return p.name(err)
}

func (p *pass) name(err error) error {
	if err == nil {
		return nil
	}
	if done := p.ctx.Err(); done != nil && !around.Any(err, func(err error) bool { return err == done }) {
		err = fmt.Errorf("%w: %w", done, err)
	}
	if p.invalid != nil && around.Any(err, p.invalid) {
		err = fmt.Errorf("%w: %w", objstore.ErrInvalid, err)
	}
	return &objstore.Error{Op: p.call.Op, Name: p.call.Name, Err: err}
}
