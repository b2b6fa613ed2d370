package indexheader

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"
)

// draft is the file that a header is written to before it has its name. All its errors
// but io.EOF are a *LocalError.
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
// disk.
func (f *draft) commit(path string, made time.Time) error {
	info, err := f.file.Stat()
	if err != nil {
		return local(err)
	}
	if _, err := newReader(f, info.Size()); err != nil {
		return err
	}
	if err := f.file.Close(); err != nil {
		return local(err)
	}
	if !made.IsZero() {
		if err := os.Chtimes(f.file.Name(), made, made); err != nil {
			return local(err)
		}
	}
	return local(os.Rename(f.file.Name(), path))
}

// local makes a *LocalError of an error of the file.
func local(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	return &LocalError{err}
}
