package store

import (
	"context"
	"io"
	"time"
)

// grace is how long a read may take to end after its context did, so that a
// bucket that heeds contexts is done with when the query is.
const grace = 250 * time.Millisecond

// abandonable runs f, which should heed ctx, on a goroutine of its own, and gives
// it up if it does not: what f returns then is lost, and what it holds, such as a
// slot of the source, it holds until it returns.
func abandonable[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type outcome struct {
		value T
		err   error
	}
	done := make(chan outcome, 1)
	go func() {
		value, err := f()
		done <- outcome{value, err}
	}()
	select {
	case o := <-done:
		return o.value, o.err
	case <-ctx.Done():
	}
	select {
	case o := <-done:
		return o.value, o.err
	case <-time.After(grace):
		var none T
		return none, context.Cause(ctx)
	}
}

// stream is open for readers that cannot wait for the whole: reading ends when
// ctx does, whatever the bucket does. What goes wrong shows when it is read.
func (s *source) stream(ctx context.Context, data, object string, sp span) io.ReadCloser {
	out, in := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		r, err := s.open(ctx, data, object, sp)
		if err == nil {
			_, err = io.Copy(in, r)
			r.Close()
		}
		in.CloseWithError(err) // nil is the end of the range
	}()
	stop := context.AfterFunc(ctx, func() { out.CloseWithError(context.Cause(ctx)) })
	return &streamReader{PipeReader: out, stop: stop, done: done}
}

// streamReader is a range on its way.
type streamReader struct {
	*io.PipeReader
	stop func() bool
	done chan struct{} // closed when the bucket is done with
}

// Close ends the stream, and waits a moment for the bucket to let go of it.
func (r *streamReader) Close() error {
	r.stop()
	err := r.PipeReader.Close()
	select {
	case <-r.done:
	case <-time.After(grace):
	}
	return err
}
