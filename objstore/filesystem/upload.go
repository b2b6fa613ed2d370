package filesystem

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/varve-tsdb/varve/objstore"
)

// tempDir holds uploads that are not finished. It is one directory so that it
// can be swept without a walk, and in the bucket so that a rename can end it.
const tempDir = ".varve-tmp"

// staleAfter is how long ago a temporary file was last written when it is taken
// for a leftover. An upload in progress writes all the time; should its reader
// stall for longer, the upload fails and can be repeated.
const staleAfter = 24 * time.Hour

// mkdirTries bounds how often an upload makes its directory again because
// deletes took it away.
const mkdirTries = 100

// Upload implements objstore.Bucket. It is atomic, and durable when it returns.
// It fails when r gives less than the size it announces.
func (b *Bucket) Upload(ctx context.Context, name string, r io.Reader, _ ...objstore.ObjectUploadOption) error {
	return failed(objstore.OpUpload, name, b.upload(ctx, name, r))
}

func (b *Bucket) upload(ctx context.Context, name string, r io.Reader) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := checkName(name); err != nil {
		return err
	}
	if !b.seen.Load() {
		if err := makeBucket(b.dir); err != nil {
			return err
		}
	}
	b.sweep.Do(func() { _ = b.Sweep(ctx) }) // tidying must not fail the upload

	root, err := b.root()
	if err != nil {
		return err
	}
	defer root.Close() // all that matters is synced by then
	temp, err := writeTemp(ctx, root, r)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return errors.Join(err, root.Remove(temp))
	}
	if err := publish(root, temp, name); err != nil {
		return errors.Join(err, root.Remove(temp))
	}
	if err := syncDir(root, path.Dir(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil // even if the object was deleted again already, with its directory
}

// makeBucket makes the directory of a bucket, durably.
func makeBucket(dir string) error {
	var missing []string
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Stat(at); err == nil || filepath.Dir(at) == at {
			break
		}
		missing = append(missing, at)
	}
	if len(missing) == 0 {
		return nil
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	for _, made := range missing {
		f, err := os.Open(filepath.Dir(made))
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// writeTemp puts what r gives into a new file, on disk. On failure nothing
// remains.
func writeTemp(ctx context.Context, root *os.Root, r io.Reader) (string, error) {
	size, sizeErr := objstore.ObjectSize(r)
	if err := root.Mkdir(tempDir, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	temp := filepath.Join(tempDir, rand.Text())
	f, err := root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return "", err
	}
	n, err := io.Copy(f, &ctxReader{ctx: ctx, r: r})
	if err == nil && sizeErr == nil && n < size {
		err = fmt.Errorf("%w: the reader gave %d bytes of %d", io.ErrUnexpectedEOF, n, size)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(err, root.Remove(temp))
	}
	return temp, nil
}

// ctxReader stops a copy when its context ends.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (r *ctxReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// publish gives a temporary file its name. A delete that empties a directory
// may take it away at any moment, so making it and moving into it is repeated.
func publish(root *os.Root, temp, name string) error {
	var err error
	for range mkdirTries {
		if err = makeDirs(root, path.Dir(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err = root.Rename(temp, filepath.FromSlash(name)); err == nil || !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if _, gone := root.Lstat(temp); gone != nil {
			return fmt.Errorf("the temporary file of this upload was removed: %w", os.ErrClosed)
		}
	}
	return err
}

// makeDirs makes a directory and all above it, and makes those it made
// durable.
func makeDirs(root *os.Root, dir string) error {
	if dir == "." {
		return nil
	}
	if info, err := root.Stat(filepath.FromSlash(dir)); err == nil && info.IsDir() {
		return nil
	}
	at := ""
	for element := range strings.SplitSeq(dir, "/") {
		above := at
		at = path.Join(at, element)
		err := root.Mkdir(filepath.FromSlash(at), 0o777)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := syncDir(root, path.Join(".", above)); err != nil {
			return err
		}
	}
	return nil
}

// syncDir makes the entries of a directory durable.
func syncDir(root *os.Root, dir string) error {
	f, err := root.Open(filepath.FromSlash(dir))
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Sweep removes temporary files that no upload has written to for a day, as
// processes that were killed leave them.
func (b *Bucket) Sweep(ctx context.Context) error {
	return b.sweepBefore(ctx, time.Now().Add(-staleAfter))
}

func (b *Bucket) sweepBefore(ctx context.Context, before time.Time) error {
	root, err := b.root()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("filesystem: sweep %s: %w", b.dir, err)
	}
	defer root.Close() // leftovers that come back after a power cut are swept then
	entries, err := fs.ReadDir(root.FS(), tempDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	errs := []error{err}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil || !info.ModTime().Before(before) {
			continue // gone already, or in use
		}
		if err := root.RemoveAll(filepath.Join(tempDir, e.Name())); err != nil {
			errs = append(errs, fmt.Errorf("filesystem: sweep %s: %w", b.dir, err))
		}
	}
	return errors.Join(errs...)
}
