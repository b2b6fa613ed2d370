package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/varve-tsdb/varve/internal/indexheader"
	"github.com/varve-tsdb/varve/internal/readcost"
	"github.com/varve-tsdb/varve/objstore"
)

// header is a block's index header, opened or built by the first query that
// needs it, and shared by all. Whoever calls get holds a reference to the
// block until it no longer uses the reader.
type header struct {
	block *openBlock

	mu      sync.Mutex // guards what follows
	reader  *indexheader.Reader
	opening *headerOpening
}

// headerOpening is an attempt that one or more queries wait for. It goes on
// while any of them does, whichever came first.
type headerOpening struct {
	done    chan struct{} // closed when reader and err are set
	reader  *indexheader.Reader
	err     error
	waiters int // guarded by header.mu
	cancel  context.CancelFunc
}

// get returns the header, and makes it first if need be. A failure is not
// remembered: the next call tries again.
func (h *header) get(ctx context.Context) (*indexheader.Reader, error) {
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
	o := &headerOpening{done: make(chan struct{}), cancel: cancel}
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
		if h.end(o, reader, err) {
			headers.opened(h, reader.Memory(), reader.Size())
		}
	})
	return o
}

// end notes how an attempt went, and says whether the reader is a new one.
func (h *header) end(o *headerOpening, reader *indexheader.Reader, err error) (opened bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case err != nil:
	case h.reader == nil:
		h.reader, opened = reader, true
	default: // an attempt that was given up before has got there first
		reader.Close()
		reader = h.reader
	}
	o.reader, o.err = reader, err
	if h.opening == o {
		h.opening = nil
	}
	close(o.done)
	return opened
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
	h.reader = nil
	h.block.src.headers.closed(h)
	h.block.discardHeader(err)
	return err
}

// forget drops the header, so that the next read builds it anew. Others may go on
// using it.
func (h *header) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.reader != nil {
		h.reader = nil
		h.block.src.headers.closed(h)
	}
	os.Remove(h.block.headerPath()) // where that fails, its size will tell
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
		h.reader = nil
		h.block.src.headers.closed(h)
	}
}

// openHeader opens the local header, or builds it if there is none or it is of
// no use.
func (b *openBlock) openHeader(ctx context.Context) (*indexheader.Reader, error) {
	path := b.headerPath()
	reader, err := indexheader.Open(path)
	switch {
	case err == nil && b.indexSize != 0 && reader.IndexSize() != b.indexSize:
		reader.Close()
		b.discardHeader(fmt.Errorf("it is of an index of %d bytes, not %d", reader.IndexSize(), b.indexSize))
	case err == nil && reader.Made().Before(b.written):
		reader.Close()
		b.discardHeader(fmt.Errorf("it is of %s, before the block was written at %s", reader.Made(), b.written))
	case err == nil:
		return reader, nil
	case errors.Is(err, fs.ErrNotExist):
	case errors.As(err, new(*indexheader.CorruptError)), errors.As(err, new(*indexheader.UnsupportedError)):
		b.discardHeader(err)
	default:
		return nil, b.fault(ctx, path, err)
	}

	b.src.metrics.headerBuilds.Inc()
	if err := os.MkdirAll(b.dir, 0o777); err != nil {
		return nil, b.fault(ctx, path, &indexheader.WriteError{Err: err})
	}
	if err := b.src.quarantine.known(b, b.indexObject(), nil); err != nil {
		return nil, err
	}
	err = b.buildHeader(ctx, path)
	if b.doubtful(ctx, err) {
		b.src.metrics.rereads.Inc()
		err = b.buildHeader(objstore.WithoutCache(ctx), path)
	}
	if err != nil {
		return nil, err
	}
	if reader, err = indexheader.Open(path); err != nil {
		return nil, b.fault(ctx, path, fmt.Errorf("%w: %w", ErrHeader, err))
	}
	return reader, nil
}

// buildHeader makes the local header of the index.
func (b *openBlock) buildHeader(ctx context.Context, path string) error {
	opts := indexheader.BuildOptions{Whole: b.src.wholeIndex(), Sections: b.sections, Made: headerTime(b.written)}
	index := blockIndex{b: b}
	switch size := 2 * b.indexSize; { // its pages, and all of it in one piece
	case b.indexSize <= 0 || b.indexSize > opts.Whole:
	case b.src.whole.TryAcquire(size):
		defer b.src.whole.Release(size)
		index.whole = true
	default:
		opts.Whole = 0
	}
	err := b.fault(ctx, b.indexObject(), indexheader.Build(ctx, index, path, opts))
	return b.ifTruncated(ctx, err)
}

// ifTruncated returns what has failed the reading of the index, or that its object
// is shorter than meta.json says, which makes of it bytes without sense, or a
// range that the bucket refuses.
func (b *openBlock) ifTruncated(ctx context.Context, err error) error {
	fault, ok := b.faultIn(err)
	if !ok || b.indexSize <= 0 || ctx.Err() != nil || fault.Object != b.indexObject() {
		return err
	}
	for _, known := range []error{ErrMissing, ErrTruncated, ErrUnsupported, objstore.ErrStalled} {
		if errors.Is(err, known) {
			return err
		}
	}
	size, unsure := blockIndex{b: b}.actualSize(ctx)
	if unsure != nil || size >= b.indexSize {
		return err
	}
	return b.fault(ctx, b.indexObject(), fmt.Errorf("%w: it has %d bytes, not %d as meta.json says", ErrTruncated, size, b.indexSize))
}

// headerTime is the modification time of the header of an index: that of the index,
// by the clock of the bucket, and not of the building, so that one of a block
// that was replaced is known for that whenever it was built. Where it is of no
// use, for a file system of whole seconds, it is not earlier.
func headerTime(written time.Time) time.Time {
	if written.IsZero() {
		return time.Time{}
	}
	return written.Add(time.Second - 1).Truncate(time.Second)
}

// blockIndex shows a block's index object to indexheader.
type blockIndex struct {
	b     *openBlock
	whole bool // it may be read as a whole by way of the cache
}

// Size trusts meta.json, and saves a request by that. Should the object be of
// another size, its table of contents will not be found where it must be.
func (i blockIndex) Size(ctx context.Context) (int64, error) {
	if i.b.indexSize > 0 {
		return i.b.indexSize, nil
	}
	return i.actualSize(ctx)
}

func (i blockIndex) actualSize(ctx context.Context) (int64, error) {
	return abandonable(ctx, func() (int64, error) {
		ctx, bill := bill(ctx, readcost.Header)
		defer bill.end(0)
		attrs, err := i.b.src.bkt.Attributes(ctx, i.b.indexObject())
		return attrs.Size, err
	})
}

// wholeIndexes bounds the memory of indexes that are read whole at once. A query
// over so many new blocks that it is too little reads of the others what a header
// needs: it would push out of the cache what is of more use.
const wholeIndexes = 64 << 20

// wholeIndex is the size up to which an index is read at once: with a cache the
// queries that follow find postings and series there, and the first one waits
// for one read instead of four.
func (s *source) wholeIndex() int64 {
	if s.ranges == nil {
		return 0
	}
	return partLimit
}

func (i blockIndex) ReadRange(ctx context.Context, off, length int64) (io.ReadCloser, error) {
	if i.whole && off == 0 && length == i.b.indexSize {
		var index []byte
		err := i.b.src.readSpans(ctx, dataHeader, i.b.index(), []span{{0, length}}, func(_ part, b []byte) error {
			index = b
			return nil
		})
		return io.NopCloser(bytes.NewReader(index)), err
	}
	return i.b.src.stream(ctx, dataHeader, i.b.indexObject(), span{off, off + length}), nil
}
