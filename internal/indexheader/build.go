package indexheader

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"
)

const (
	// wholeIndex is the size up to which an index is read in one request:
	// reading the series and postings it does not need costs less than the
	// second request.
	wholeIndex = 1 << 20
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

// Build writes the header of index as the file path, whose directory must
// exist. On an error nothing is left at path that was not there before. Errors
// of index come back wrapped; a *CorruptError or *UnsupportedError says that
// the index itself is at fault.
func Build(ctx context.Context, index Index, path string) (err error) {
	size, err := index.Size(ctx)
	if err != nil {
		return err
	}
	if size < indexStart+indexTOCSize {
		return corrupt("the index has only %d bytes", size)
	}
	tail, err := readTail(ctx, index, size)
	if err != nil {
		return err
	}
	t, err := parseTOC(tail[len(tail)-indexTOCSize:], size)
	if err != nil {
		return err
	}

	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".tmp-*")
	if err != nil {
		return fmt.Errorf("create index header: %w", err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if err := copyParts(ctx, index, size, t, tail, f); err != nil {
		return err
	}
	return commit(f, path)
}

// commit checks what was written, then makes it durable under its name.
func commit(f *os.File, path string) error {
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("write index header: %w", err)
	}
	if _, err := newReader(f, info.Size()); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("write index header: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("write index header: %w", err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("write index header: %w", err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("sync directory of index header: %w", err)
	}
	defer dir.Close()
	// Some file systems refuse to sync a directory. The header is then as
	// durable as they make it; a lost one is built again.
	if err := dir.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, fs.ErrInvalid) {
		return fmt.Errorf("sync directory of index header: %w", err)
	}
	return nil
}

func readTail(ctx context.Context, index Index, size int64) ([]byte, error) {
	length := size
	if size > wholeIndex {
		length = tailGuess
	}
	return readRange(ctx, index, size-length, length)
}

// copyParts fills f. Parts of the index that tail does not hold are read side
// by side.
func copyParts(ctx context.Context, index Index, size int64, t toc, tail []byte, f *os.File) error {
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
	if err := group.Wait(); err != nil {
		return fmt.Errorf("write index header: %w", err)
	}

	head := make([]byte, indexStart)
	if _, err := f.ReadAt(head, headAt); err != nil {
		return fmt.Errorf("write index header: %w", err)
	}
	if binary.BigEndian.Uint32(head) != indexMagic {
		return corrupt("the index does not start with its magic number")
	}
	if head[4] != 2 {
		return &UnsupportedError{Version: int(head[4])}
	}
	if _, err := f.WriteAt(t.prelude(head[4]), 0); err != nil {
		return fmt.Errorf("write index header: %w", err)
	}
	if _, err := f.WriteAt(t.trailer(), t.tablePosition()+size-t.postingsTable); err != nil {
		return fmt.Errorf("write index header: %w", err)
	}
	return nil
}

// readRange reads a range whose length is known to be moderate.
func readRange(ctx context.Context, index Index, off, length int64) ([]byte, error) {
	b := make([]byte, 0, length)
	w := bytes.NewBuffer(b)
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
	if err != nil {
		return fmt.Errorf("read %d bytes at %d: %w", length, off, err)
	}
	if n != length {
		return corrupt("the index ends at %d, before %d: it was truncated", off+n, off+length)
	}
	return nil
}
