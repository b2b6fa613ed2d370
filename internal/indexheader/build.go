package indexheader

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// WholeIndex is the size up to which an index is read in one request at
	// least: reading the series and postings it does not need costs less than
	// the second request.
	WholeIndex = 1 << 20
	// tailGuess is how much of a larger index is read first, from its end. It
	// holds the TOC and, in a block of moderate size, all of the postings
	// offset table.
	tailGuess = 256 << 10
)

// Index is a block's index to read from by ranges. It is used by several
// goroutines at once.
type Index interface {
	// Size of the index in bytes.
	Size(ctx context.Context) (int64, error)
	// ReadRange returns a reader of the length bytes from off on. The range
	// lies inside the index. A reader that ends early is an error of the
	// object, which Build reports.
	ReadRange(ctx context.Context, off, length int64) (io.ReadCloser, error)
}

// BuildOptions of Build.
type BuildOptions struct {
	// Whole is up to which size in bytes an index is read in one piece, for
	// callers that remember what was read and will need the rest soon. Less than
	// WholeIndex, such as 0, means WholeIndex.
	Whole int64
	// Sections of the index, if they are known.
	Sections Sections
	// Made becomes the modification time of the file. Zero is now.
	Made time.Time
}

// Build writes the header of index as the file path, whose directory must
// exist, and returns it open: what it has is of this index, whatever others do to the
// path. On an error nothing is left at path that was not there before. Errors
// of index come back wrapped; a *CorruptError or *UnsupportedError says that
// the index itself is at fault, a *LocalError that the file is.
//
// What opts say about the index is checked: if it is wrong, Build finds out by
// itself.
func Build(ctx context.Context, index Index, path string, opts BuildOptions) (_ *Reader, err error) {
	size, err := index.Size(ctx)
	if err != nil {
		return nil, err
	}
	if size < indexStart+indexTOCSize {
		return nil, &CorruptError{What: fmt.Sprintf("the index has only %d bytes", size), Err: ErrTruncated}
	}
	f, err := createDraft(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.discard()
		}
	}()
	if err := fill(ctx, index, size, opts, f); err != nil {
		return nil, err
	}
	return f.commit(path, opts.Made)
}

// fill reads the parts of the index into f, and puts around them what makes a
// header of them.
func fill(ctx context.Context, index Index, size int64, opts BuildOptions, f *draft) error {
	whole := max(opts.Whole, WholeIndex)
	if size > whole && opts.Sections.fit(size) {
		t, err := copySections(ctx, index, size, opts.Sections, f)
		if err == nil {
			return frame(t, size, f)
		}
		if !errors.As(err, new(*CorruptError)) {
			return err
		}
		// Whoever told the sections was wrong, or the index is: to be found out.
		if err := f.truncate(); err != nil {
			return err
		}
	}
	tail, err := readTail(ctx, index, size, whole)
	if err != nil {
		return err
	}
	t, err := parseTOC(tail[len(tail)-indexTOCSize:], size)
	if err != nil {
		return err
	}
	if err := copyParts(ctx, index, size, t, tail, f); err != nil {
		return err
	}
	return frame(t, size, f)
}

func readTail(ctx context.Context, index Index, size, whole int64) ([]byte, error) {
	length := size
	if size > whole {
		length = tailGuess
	}
	return readRange(ctx, index, size-length, length)
}

// copyParts fills f. Parts of the index that tail does not hold are read side
// by side.
func copyParts(ctx context.Context, index Index, size int64, t toc, tail []byte, f *draft) error {
	tailStart := size - int64(len(tail))
	// The index's first bytes come along with the symbols that follow them, are
	// looked at, and then covered by the prelude.
	headAt := preludeSize - t.symbols
	group, groupCtx := errgroup.WithContext(ctx)
	for _, part := range []struct{ from, to, at int64 }{
		{0, t.series, headAt},
		{t.postingsTable, size, t.tablePosition()},
	} {
		mid := min(max(tailStart, part.from), part.to)
		if part.from < mid {
			group.Go(func() error {
				return copyRange(groupCtx, index, part.from, mid-part.from, io.NewOffsetWriter(f, part.at))
			})
		}
		if mid < part.to {
			group.Go(func() error {
				_, err := f.WriteAt(tail[mid-tailStart:part.to-tailStart], part.at+mid-part.from)
				return err
			})
		}
	}
	return group.Wait()
}

// frame looks at the index's first bytes, which are in f before its symbols, and
// covers them by the prelude; and writes the trailer.
func frame(t toc, size int64, f *draft) error {
	head := make([]byte, indexStart)
	if _, err := f.ReadAt(head, preludeSize-t.symbols); err != nil {
		return err
	}
	if err := checkIndexStart(head); err != nil {
		return err
	}
	if _, err := f.WriteAt(t.prelude(head[4]), 0); err != nil {
		return err
	}
	if _, err := f.WriteAt(t.trailer(), t.tablePosition()+size-t.postingsTable); err != nil {
		return err
	}
	return nil
}

// checkIndexStart looks at the first bytes of an index.
func checkIndexStart(head []byte) error {
	if binary.BigEndian.Uint32(head) != indexMagic {
		return corrupt("the index does not start with its magic number")
	}
	if head[4] != 2 {
		return &UnsupportedError{Version: int(head[4])}
	}
	return nil
}

// readRange reads a range whose length is known to be moderate.
func readRange(ctx context.Context, index Index, off, length int64) ([]byte, error) {
	// With room for the read that finds the end: else the buffer doubles then.
	w := bytes.NewBuffer(make([]byte, 0, length+bytes.MinRead))
	if err := copyRange(ctx, index, off, length, w); err != nil {
		return nil, err
	}
	return w.Bytes(), nil
}

// copyRange copies exactly length bytes of index, from off on, to w.
func copyRange(ctx context.Context, index Index, off, length int64, w io.Writer) error {
	r, err := index.ReadRange(ctx, off, length)
	if err != nil {
		return err
	}
	defer r.Close()
	n, err := io.Copy(w, io.LimitReader(r, length))
	if errors.As(err, new(*LocalError)) {
		return err
	}
	if err != nil {
		return fmt.Errorf("read %d bytes at %d: %w", length, off, err)
	}
	if n != length {
		return &CorruptError{What: fmt.Sprintf("the index ends at %d, before %d", off+n, off+length), Err: ErrTruncated}
	}
	return nil
}
