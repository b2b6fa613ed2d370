package objstore

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/varve-tsdb/varve/objstore/internal/around"
)

// freshAttempts is how many bytes a body must come forward before a further
// failure counts as the first: so a large object survives a poor line, and a
// body that breaks on every byte does not go on forever.
const freshAttempts = 1 << 20

// retryBody is a body that resumes itself. A context in a struct is the price
// of io.Reader having none; the body does not outlive the call it belongs to.
type retryBody struct {
	ctx    context.Context
	bucket *retrying
	op     string
	name   string
	// off and length are the range that was asked for, length -1 to the end.
	off, length int64
	// size is how many bytes the body has, if sized.
	size  int64
	sized bool

	rc       io.ReadCloser // nil between a failure and the next attempt
	read     int64         // bytes given to the caller
	attempts int           // since the last fresh start
	freshAt  int64         // value of read at that start
	err      error         // of every further Read
	closed   bool
}

// ObjectSize implements ObjectSizer.
func (b *retryBody) ObjectSize() (int64, error) {
	if !b.sized {
		return 0, around.ErrNoSize
	}
	return b.size, nil
}

// Read implements io.Reader.
func (b *retryBody) Read(p []byte) (int, error) {
	for b.err == nil && !b.closed {
		n, err := b.readOnce(p)
		b.read += int64(n)
		if err == nil {
			return n, nil
		}
		if err == io.EOF {
			b.err = io.EOF
			return n, io.EOF
		}
		b.failed(err)
		if n > 0 {
			return n, nil
		}
	}
	if b.closed {
		return 0, &Error{Op: b.op, Name: b.name, Err: errors.New("the body is closed")}
	}
	return 0, b.err
}

// readOnce reads from the body of now, or opens the next.
func (b *retryBody) readOnce(p []byte) (int, error) {
	if b.rc == nil {
		if err := b.reopen(); err != nil {
			return 0, err
		}
	}
	n, err := b.rc.Read(p)
	if err == nil || !b.sized {
		return n, err
	}
	got := b.read + int64(n)
	switch {
	case got >= b.size:
		err = io.EOF // all is there, whatever happened to the connection after
	case err == io.EOF:
		err = fmt.Errorf("%w: %d bytes of %d", ErrTruncated, got, b.size)
	}
	return n, err
}

func (b *retryBody) reopen() error {
	rest := b.length
	switch {
	case b.sized:
		rest = b.size - b.read
	case b.length >= 0:
		rest = b.length - b.read
	}
	if rest == 0 {
		return io.EOF
	}
	rc, err := b.bucket.Bucket.Bucket.GetRange(b.ctx, b.name, b.off+b.read, rest)
	if err != nil {
		return err
	}
	if n, err := ObjectSize(rc); err == nil && b.sized && n != rest {
		_ = rc.Close() // nothing was read from it
		return final(fmt.Errorf("the object was changed while it was read: %d bytes are left where %d should be", n, rest))
	}
	b.rc = rc
	return nil
}

// failed gives up or prepares for the next attempt.
func (b *retryBody) failed(err error) {
	if b.rc != nil {
		_ = b.rc.Close() // broken already
		b.rc = nil
	}
	if b.read-b.freshAt >= freshAttempts {
		b.freshAt, b.attempts = b.read, 1
	}
	var end errFinal
	if errors.As(err, &end) {
		b.err = wrapError(b.op, b.name, b.attempts, end.error)
		return
	}
	if b.attempts >= b.bucket.opts.MaxAttempts || b.bucket.isFinal(b.ctx, err) {
		b.err = wrapError(b.op, b.name, b.attempts, err)
		return
	}
	if b.bucket.pause(b.ctx, b.op, b.name, b.attempts, err) != nil {
		b.err = wrapError(b.op, b.name, b.attempts, interrupted(b.ctx, err))
		return
	}
	b.attempts++
}

// Close implements io.Closer. It may be called twice.
func (b *retryBody) Close() error {
	b.closed = true
	if b.rc == nil {
		return nil
	}
	rc := b.rc
	b.rc = nil
	return rc.Close()
}
