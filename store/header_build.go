package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/varve-tsdb/varve/internal/indexheader"
	"github.com/varve-tsdb/varve/internal/readcost"
	"github.com/varve-tsdb/varve/objstore"
)

// openHeader opens the local header, or builds it if there is none or it is of
// no use.
func (b *openBlock) openHeader(ctx context.Context) (*indexheader.Reader, error) {
	path := b.headerPath()
	reader, err := indexheader.Open(path)
	switch {
	case err == nil && b.indexSize != 0 && reader.IndexSize() != b.indexSize:
		reader.Close()
		b.discardHeader(fmt.Errorf("it is of an index of %d bytes, not %d", reader.IndexSize(), b.indexSize))
	case err == nil && reader.Made().Before(b.lastWritten()):
		reader.Close()
		b.discardHeader(fmt.Errorf("it is of %s, before the block was written at %s", reader.Made(), b.lastWritten()))
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
		return nil, b.fault(ctx, path, &indexheader.LocalError{Err: err})
	}
	if err := b.src.quarantine.known(b, b.indexObject(), nil); err != nil {
		return nil, err
	}
	reader, err = b.buildHeader(ctx, path)
	if b.doubtful(ctx, err) {
		b.src.metrics.rereads.Inc()
		reader, err = b.buildHeader(objstore.WithoutCache(ctx), path)
	}
	return reader, err
}

// buildHeader makes the local header of the index.
func (b *openBlock) buildHeader(ctx context.Context, path string) (*indexheader.Reader, error) {
	opts := indexheader.BuildOptions{Whole: b.src.wholeIndex(), Sections: b.sections, Made: headerTime(b.lastWritten())}
	index := blockIndex{b: b}
	switch size := 2 * b.indexSize; { // its pages, and all of it in one piece
	case b.indexSize <= 0 || b.indexSize > opts.Whole:
	case b.src.whole.TryAcquire(size):
		defer b.src.whole.Release(size)
		index.whole = true
	default:
		opts.Whole = 0
	}
	reader, err := indexheader.Build(ctx, index, path, opts)
	return reader, b.ifTruncated(ctx, b.fault(ctx, b.indexObject(), err))
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
	size, unsure := b.objectSize(ctx, readcost.Header, b.indexObject())
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
	return i.b.objectSize(ctx, readcost.Header, i.b.indexObject())
}

// objectSize asks the bucket for the size of an object, for the account of what is
// read of it.
func (b *openBlock) objectSize(ctx context.Context, kind readcost.Kind, object string) (int64, error) {
	return abandonable(ctx, func() (int64, error) {
		ctx, bill := bill(ctx, kind)
		defer bill.end(0)
		attrs, err := b.src.bkt.Attributes(ctx, object)
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
