package filesystem

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/varve-tsdb/varve/objstore"
)

// Bucket is a directory of objects. All methods may run at once, in several
// processes too.
type Bucket struct {
	dir   string
	sweep sync.Once
	seen  atomic.Bool // the directory has been there
}

// ErrGone is what operations fail with while the directory of a bucket, which
// was there before, is not: a file system that was unmounted must not pass for
// a bucket that was emptied, nor be written beside.
var ErrGone = errors.New("the directory of the bucket is gone: mount or restore it, or start anew to begin with an empty one")

var _ objstore.Bucket = (*Bucket)(nil)

// NewBucket returns the bucket in dir. The directory need not exist: until the
// first upload makes it, the bucket is empty. Once it has been there, all fails
// with ErrGone while it is not.
func NewBucket(dir string) (*Bucket, error) {
	if dir == "" {
		return nil, errors.New("filesystem: no directory is given")
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("filesystem: directory %q: %w", dir, err)
	}
	if info, err := os.Stat(abs); err == nil && !info.IsDir() {
		return nil, fmt.Errorf("filesystem: %s is not a directory", abs)
	}
	return &Bucket{dir: abs}, nil
}

// checkName says whether a name can be an object.
func checkName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: the object name is empty", objstore.ErrInvalid)
	case strings.ContainsRune(name, 0):
		return fmt.Errorf("%w: the object name holds a zero byte", objstore.ErrInvalid)
	case name == tempDir || strings.HasPrefix(name, tempDir+"/"):
		return fmt.Errorf("%w: %s is for temporary files", objstore.ErrInvalid, tempDir)
	}
	for element := range strings.SplitSeq(name, "/") {
		if element == "" || element == "." || element == ".." {
			return fmt.Errorf("%w: a file system has no place for the name element %q", objstore.ErrInvalid, element)
		}
	}
	if !filepath.IsLocal(filepath.FromSlash(name)) {
		return fmt.Errorf("%w: the object name would leave the bucket", objstore.ErrInvalid)
	}
	return nil
}

// failed names the operation and the object.
func failed(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &objstore.Error{Op: op, Name: name, Err: err}
}

// absent turns the ways in which a file system says that there is no such file
// into the one of a bucket. A path through a file that is no directory leads to
// no object, and neither does one that no file could have.
func absent(err error) error {
	if isMissing(err) || errors.Is(err, syscall.ENAMETOOLONG) {
		return fmt.Errorf("%w: %w", objstore.ErrNotFound, err)
	}
	return err
}

// root opens the directory of the bucket. It is opened for each operation, so
// that a bucket needs no Close and survives its directory being mounted anew.
func (b *Bucket) root() (*os.Root, error) {
	root, err := os.OpenRoot(b.dir)
	switch {
	case err == nil:
		b.seen.Store(true)
	case isMissing(err) && b.seen.Load():
		err = fmt.Errorf("%w (%s)", ErrGone, b.dir)
	}
	return root, err
}

// open opens an object and says what it is.
func (b *Bucket) open(ctx context.Context, name string) (*os.File, fs.FileInfo, error) {
	f, info, err := b.openFile(ctx, name)
	return f, info, absent(err)
}

// openFile opens a regular file. Directories are no objects.
func (b *Bucket) openFile(ctx context.Context, name string) (*os.File, fs.FileInfo, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	if err := checkName(name); err != nil {
		return nil, nil, err
	}
	root, err := b.root()
	if err != nil {
		return nil, nil, err
	}
	defer root.Close() // nothing was written
	// Asking before opening keeps a named pipe from blocking us.
	if info, err := root.Stat(filepath.FromSlash(name)); err != nil {
		return nil, nil, err
	} else if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%w: not a regular file", fs.ErrNotExist)
	}
	f, err := root.Open(filepath.FromSlash(name))
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close() // nothing was written
		return nil, nil, err
	}
	return f, info, nil
}

func (b *Bucket) stat(ctx context.Context, name string) (fs.FileInfo, error) {
	f, info, err := b.open(ctx, name)
	if err != nil {
		return nil, err
	}
	return info, f.Close()
}

// Get implements objstore.Bucket. The body is the object as it was when Get
// was called, even if it is overwritten or deleted meanwhile.
func (b *Bucket) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	f, info, err := b.open(ctx, name)
	if err != nil {
		return nil, failed(objstore.OpGet, name, err)
	}
	return newBody(ctx, objstore.OpGet, name, f, 0, info.Size()), nil
}

// GetRange implements objstore.Bucket. A range that starts at or beyond the
// end has no bytes.
func (b *Bucket) GetRange(ctx context.Context, name string, off, length int64) (io.ReadCloser, error) {
	if off < 0 || length == 0 || length < -1 {
		return nil, failed(objstore.OpGetRange, name, fmt.Errorf("%w: no range of %d bytes from %d", objstore.ErrInvalid, length, off))
	}
	f, info, err := b.open(ctx, name)
	if err != nil {
		return nil, failed(objstore.OpGetRange, name, err)
	}
	rest := max(info.Size()-off, 0)
	if length >= 0 {
		rest = min(rest, length)
	}
	return newBody(ctx, objstore.OpGetRange, name, f, off, rest), nil
}

// body is a range of an open file.
type body struct {
	*io.SectionReader
	ctx  context.Context
	op   string
	name string
	f    *os.File
	left int64

	closed bool
}

func newBody(ctx context.Context, op, name string, f *os.File, off, n int64) io.ReadCloser {
	b := &body{SectionReader: io.NewSectionReader(f, off, n), ctx: ctx, op: op, name: name, f: f, left: n}
	return objstore.ObjectSizerReadCloser{
		ReadCloser: struct {
			io.Reader
			io.Closer
		}{b, b},
		Size: func() (int64, error) { return n, nil },
	}
}

func (b *body) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, failed(b.op, b.name, err)
	}
	n, err := b.SectionReader.Read(p)
	b.left -= int64(n)
	switch {
	case err == io.EOF && b.left > 0:
		return n, failed(b.op, b.name, objstore.ErrTruncated) // someone cut the file
	case err != nil && err != io.EOF:
		return n, failed(b.op, b.name, err)
	}
	return n, err
}

func (b *body) Close() error {
	if b.closed {
		return nil
	}
	b.closed = true
	return failed(b.op, b.name, b.f.Close())
}

// Exists implements objstore.Bucket.
func (b *Bucket) Exists(ctx context.Context, name string) (bool, error) {
	_, err := b.stat(ctx, name)
	err = failed(objstore.OpExists, name, err)
	if b.IsObjNotFoundErr(err) {
		return false, nil
	}
	return err == nil, err
}

// Attributes implements objstore.Bucket.
func (b *Bucket) Attributes(ctx context.Context, name string) (objstore.ObjectAttributes, error) {
	info, err := b.stat(ctx, name)
	if err != nil {
		return objstore.ObjectAttributes{}, failed(objstore.OpAttributes, name, err)
	}
	return objstore.ObjectAttributes{Size: info.Size(), LastModified: info.ModTime()}, nil
}

// Delete implements objstore.Bucket. It fails when there is no such object.
func (b *Bucket) Delete(ctx context.Context, name string) error {
	if _, err := b.stat(ctx, name); err != nil {
		return failed(objstore.OpDelete, name, err)
	}
	root, err := b.root()
	if err != nil {
		return failed(objstore.OpDelete, name, err)
	}
	defer root.Close() // the directories are synced by then
	if err := root.Remove(filepath.FromSlash(name)); err != nil {
		return failed(objstore.OpDelete, name, absent(err))
	}
	// Up to the first directory that holds something else. An upload that needs
	// one of them at this moment makes it again.
	dir := path.Dir(name)
	for ; dir != "."; dir = path.Dir(dir) {
		if root.Remove(filepath.FromSlash(dir)) != nil {
			break
		}
	}
	if err := syncDir(root, dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return failed(objstore.OpDelete, name, err)
	}
	return nil
}

// IsObjNotFoundErr implements objstore.Bucket.
func (b *Bucket) IsObjNotFoundErr(err error) bool { return errors.Is(err, objstore.ErrNotFound) }

// IsAccessDeniedErr implements objstore.Bucket.
func (b *Bucket) IsAccessDeniedErr(err error) bool { return errors.Is(err, fs.ErrPermission) }

// SupportedIterOptions implements objstore.Bucket.
func (b *Bucket) SupportedIterOptions() []objstore.IterOptionType {
	return []objstore.IterOptionType{objstore.Recursive, objstore.UpdatedAt}
}

// Provider implements objstore.Bucket.
func (b *Bucket) Provider() objstore.ObjProvider { return "FILESYSTEM" }

// Name implements objstore.Bucket.
func (b *Bucket) Name() string { return "fs: " + b.dir }

// Close implements objstore.Bucket. It does nothing.
func (b *Bucket) Close() error { return nil }
