package indexheader

import (
	"context"
	"io"
	"os"

	"golang.org/x/sync/errgroup"
)

// Sections says where the parts of an index are that a header is made of: all
// before Series, and all from PostingsTable on. Who knows them builds the header
// by two reads side by side, instead of one that finds them out first. The zero
// Sections are unknown.
type Sections struct {
	Series, PostingsTable int64
}

// ReadSections reads them from an index of the given size. Errors are those of r,
// a *CorruptError or an *UnsupportedError.
func ReadSections(r io.ReaderAt, size int64) (Sections, error) {
	t, err := readTOC(r, size)
	if err != nil {
		return Sections{}, err
	}
	return Sections{Series: t.series, PostingsTable: t.postingsTable}, nil
}

// readTOC reads the table of contents of an index, and looks at its first bytes.
func readTOC(r io.ReaderAt, size int64) (toc, error) {
	if size < indexStart+indexTOCSize {
		return toc{}, corrupt("the index has only %d bytes", size)
	}
	head, end := make([]byte, indexStart), make([]byte, indexTOCSize)
	if _, err := r.ReadAt(head, 0); err != nil {
		return toc{}, corruptRead("index", err)
	}
	if err := checkIndexStart(head); err != nil {
		return toc{}, err
	}
	if _, err := r.ReadAt(end, size-indexTOCSize); err != nil {
		return toc{}, corruptRead("index", err)
	}
	return parseTOC(end, size)
}

// fit says whether an index of the given size can have these sections.
func (s Sections) fit(size int64) bool {
	return s.Series > indexStart && s.PostingsTable >= s.Series && s.PostingsTable <= size-indexTOCSize
}

// copySections fills f by the parts that s names, and returns the table of
// contents. It returns an error if that names others.
func copySections(ctx context.Context, index Index, size int64, s Sections, f *os.File) (toc, error) {
	headAt := int64(preludeSize - indexStart)
	tableAt := headAt + s.Series
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return copyRange(groupCtx, index, 0, s.Series, headerPart(f, headAt))
	})
	group.Go(func() error {
		return copyRange(groupCtx, index, s.PostingsTable, size-s.PostingsTable, headerPart(f, tableAt))
	})
	if err := group.Wait(); err != nil {
		return toc{}, err
	}
	end := make([]byte, indexTOCSize)
	if _, err := f.ReadAt(end, tableAt+size-s.PostingsTable-indexTOCSize); err != nil {
		return toc{}, &WriteError{err}
	}
	t, err := parseTOC(end, size)
	if err == nil && (t.series != s.Series || t.postingsTable != s.PostingsTable || t.symbols != indexStart) {
		err = corrupt("the index has its sections elsewhere than was said")
	}
	return t, err
}
