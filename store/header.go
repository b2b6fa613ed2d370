package store

import (
	"context"
	"errors"
	"os"
	"sync"

	"github.com/varve-tsdb/varve/internal/indexheader"
)

// header is a block's index header, opened or built by the first query that
// needs it, and shared by all. Whoever calls get holds a reference to the
// block until it no longer uses the reader.
type header struct {
	block *openBlock

	mu      sync.Mutex // guards what follows
	reader  *indexheader.Reader
	opening *headerOpening
	forgets int // how often forget was called
}

// headerOpening is an attempt that one or more queries wait for. It goes on
// while any of them does, whichever came first.
type headerOpening struct {
	done    chan struct{} // closed when reader and err are set
	reader  *indexheader.Reader
	err     error
	forgets int // of the header when it began
	waiters int // guarded by header.mu
	cancel  context.CancelFunc
}

// errForgotten is how an attempt ends whose index may have been replaced meanwhile.
var errForgotten = errors.New("the index header was forgotten while it was made")

// get returns the header, and makes it first if need be. A failure is not
// remembered: the next call tries again.
func (h *header) get(ctx context.Context) (*indexheader.Reader, error) {
	for {
		reader, err := h.attempt(ctx)
		if !errors.Is(err, errForgotten) {
			return reader, err
		}
	}
}

func (h *header) attempt(ctx context.Context) (*indexheader.Reader, error) {
	h.mu.Lock()
	if reader := h.reader; reader != nil {
		h.mu.Unlock()
		h.block.src.headers.used(h)
		return reader, nil
	}
	o := h.opening
	if o == nil {
		o = h.start(ctx)
	}
	o.waiters++
	h.mu.Unlock()

	select {
	case <-o.done:
		return o.reader, o.err
	case <-ctx.Done():
		h.leave(o)
		return nil, context.Cause(ctx)
	}
}

// start begins an attempt. h.mu is held.
func (h *header) start(ctx context.Context) *headerOpening {
	// The attempt outlives the query that began it if others wait for it too.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	o := &headerOpening{done: make(chan struct{}), forgets: h.forgets, cancel: cancel}
	h.opening = o
	h.block.retain()
	headers := h.block.src.headers
	h.block.src.running.Go(func() {
		// Once the reference is given back, so that this header may be one of
		// those that go.
		defer headers.trim()
		defer h.block.release()
		defer cancel()
		headers.begin(h.block.headerPath())
		defer headers.end(h.block.headerPath())
		reader, err := h.block.openHeader(ctx)
		h.end(o, reader, err)
	})
	return o
}

// end notes how an attempt went.
func (h *header) end(o *headerOpening, reader *indexheader.Reader, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case o.forgets != h.forgets:
		if err == nil {
			reader.Close()
		}
		if err == nil && h.reader == nil && h.opening == nil {
			h.removeFile() // otherwise it may be another's by now
		}
		reader, err = nil, errForgotten
	case err != nil:
	case h.reader == nil:
		h.reader = reader
		h.block.src.headers.opened(h, reader.Memory(), reader.Size())
	default: // an attempt that was given up before has got there first
		reader.Close()
		reader = h.reader
	}
	o.reader, o.err = reader, err
	if h.opening == o {
		h.opening = nil
	}
	close(o.done)
}

// leave says that a query no longer waits. With the last one the attempt ends,
// and a query that comes later begins a new one.
func (h *header) leave(o *headerOpening) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if o.waiters--; o.waiters == 0 {
		o.cancel()
		if h.opening == o {
			h.opening = nil
		}
	}
}

// check tells what is wrong with a header that a read of the block has failed
// with, nil if nothing is. A damaged one is dropped: others may be using it
// still, so that nobody closes it and the runtime does when the last lets go.
func (h *header) check(used *indexheader.Reader) error {
	err := used.Check()
	if err == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.reader != used {
		return err // somebody else has seen it
	}
	h.drop()
	h.block.discardHeader(err)
	return err
}

// forget drops the header, so that the next read builds it anew, and so does one that
// is waiting for it. Others may go on using it.
func (h *header) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.reader != nil {
		h.drop()
	}
	h.forgets++
	if h.opening != nil {
		h.opening.cancel()
		h.opening = nil
	}
	h.removeFile()
}

func (h *header) removeFile() {
	os.Remove(h.block.headerPath()) // where that fails, its size and time will tell
	h.block.src.headers.removed(h.block.headerPath())
}

// discardHeader removes the file, so that the header is built anew.
func (b *openBlock) discardHeader(cause error) {
	b.src.metrics.headerRebuilt.Inc()
	b.src.log.Warn("a local index header is damaged and will be built anew", "block", b.id, "file", b.headerPath(), "err", cause)
	os.Remove(b.headerPath()) // where that fails, the new one replaces it
	b.src.headers.removed(b.headerPath())
}

// close closes the file. Nobody uses it any more.
func (h *header) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.reader != nil {
		h.reader.Close()
		h.drop()
	}
}

// drop lets go of the reader. Like all that changes what is open it tells the budget
// while h.mu is held, so that this hears of it in the order in which it happens.
func (h *header) drop() {
	h.reader = nil
	h.block.src.headers.closed(h)
}
