package durable

import (
	"errors"
	"os"
	"path/filepath"
)

// TmpSuffix ends the name of a file until it is whole.
const TmpSuffix = ".tmp"

// ReplaceFile writes a file durably and in one step: after a crash it has either
// its old or its new content. After an error nothing is left beside it.
func ReplaceFile(path string, b []byte) (err error) {
	tmp := path + TmpSuffix
	defer func() {
		if err != nil {
			err = errors.Join(err, RemoveIfThere(tmp))
		}
	}()
	f, err := os.Create(tmp)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// SyncDir makes the entries of a directory durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// RemoveIfThere removes a file. It is no error if there is none.
func RemoveIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
