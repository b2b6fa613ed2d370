package indexheader

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"
)

// draft is the file that a header is written to before it has its name. Errors of the
// file are a *LocalError, but io.EOF.
type draft struct{ file *os.File }

func createDraft(path string) (*draft, error) {
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".tmp-*")
	if err != nil {
		return nil, &LocalError{err}
	}
	return &draft{file}, nil
}

// discard removes it.
func (f *draft) discard() {
	f.file.Close()
	os.Remove(f.file.Name())
}

func (f *draft) ReadAt(b []byte, off int64) (int, error) {
	n, err := f.file.ReadAt(b, off)
	return n, local(err)
}

func (f *draft) WriteAt(b []byte, off int64) (int, error) {
	n, err := f.file.WriteAt(b, off)
	return n, local(err)
}

func (f *draft) truncate() error { return local(f.file.Truncate(0)) }

// commit checks what was written, then gives it its name. Nothing is synced: a
// header that a power failure cut off fails the checks of Open and is built
// again, which is cheaper than that the first query of each block waits for the
// disk. The file is the reader's from then on.
func (f *draft) commit(path string, made time.Time) (*Reader, error) {
	if !made.IsZero() {
		if err := os.Chtimes(f.file.Name(), made, made); err != nil {
			return nil, local(err)
		}
	}
	info, err := f.file.Stat()
	if err != nil {
		return nil, local(err)
	}
	r, err := openPages(f.file, info.Size())
	switch {
	case errors.As(err, new(*CorruptError)), errors.As(err, new(*UnsupportedError)):
		return nil, err
	case err != nil:
		return nil, local(err)
	}
	r.closer, r.made = f.file, info.ModTime()
	if err := os.Rename(f.file.Name(), path); err != nil {
		return nil, local(err)
	}
	return r, nil
}

// local makes a *LocalError of an error of the file.
func local(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	return &LocalError{err}
}
