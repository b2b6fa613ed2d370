package filesystem

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/varve-tsdb/varve/objstore"
)

// Iter implements objstore.Bucket. Entries come in byte order, directories
// among objects; directories without any object in them or below are left out.
func (b *Bucket) Iter(ctx context.Context, dir string, f func(string) error, options ...objstore.IterOption) error {
	params := objstore.ApplyIterOptions(options...)
	params.LastModified = false // saves asking for each file
	return b.iter(ctx, dir, params, func(attrs objstore.IterObjectAttributes) error { return f(attrs.Name) })
}

// IterWithAttributes implements objstore.Bucket.
func (b *Bucket) IterWithAttributes(ctx context.Context, dir string, f func(objstore.IterObjectAttributes) error, options ...objstore.IterOption) error {
	if err := objstore.ValidateIterOptions(b.SupportedIterOptions(), options...); err != nil {
		return failed(objstore.OpIter, dir, err)
	}
	return b.iter(ctx, dir, objstore.ApplyIterOptions(options...), f)
}

func (b *Bucket) iter(ctx context.Context, dir string, params objstore.IterParams, f func(objstore.IterObjectAttributes) error) error {
	prefix := strings.TrimSuffix(dir, "/")
	if err := ctx.Err(); err != nil {
		return failed(objstore.OpIter, dir, err)
	}
	if prefix != "" {
		if err := checkName(prefix); err != nil {
			return failed(objstore.OpIter, dir, err)
		}
		prefix += "/"
	}
	root, err := b.root()
	if isMissing(err) {
		return nil
	}
	if err != nil {
		return failed(objstore.OpIter, dir, err)
	}
	defer root.Close() // nothing was written
	l := lister{ctx: ctx, root: root, params: params, f: f}
	if err := l.list(prefix); err != nil && err != l.theirs {
		return failed(objstore.OpIter, dir, err)
	}
	return l.theirs
}

func isMissing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

type lister struct {
	ctx    context.Context
	root   *os.Root
	params objstore.IterParams
	f      func(objstore.IterObjectAttributes) error
	theirs error // of f
}

// list gives the entries below prefix, which is empty or ends in a slash.
func (l *lister) list(prefix string) error {
	names, err := l.read(prefix)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := l.ctx.Err(); err != nil {
			return err
		}
		if err := l.entry(name); err != nil {
			return err
		}
	}
	return nil
}

// read returns the full names of files and directories below prefix, those of
// directories with a slash at the end, which is what puts them into byte order.
// A directory that vanishes while it is read is empty.
func (l *lister) read(prefix string) ([]string, error) {
	dir, err := l.root.Open(filepath.FromSlash("./" + prefix))
	if isMissing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close() // nothing was written
	entries, err := dir.ReadDir(-1)
	if err != nil && !isMissing(err) {
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		switch name := prefix + e.Name(); {
		case name == tempDir:
		case e.IsDir():
			names = append(names, name+"/")
		case e.Type().IsRegular():
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

func (l *lister) entry(name string) error {
	attrs := objstore.IterObjectAttributes{Name: name}
	if strings.HasSuffix(name, "/") {
		if l.params.Recursive {
			return l.list(name)
		}
		if holds, err := l.holdsObject(name); err != nil || !holds {
			return err
		}
	} else if l.params.LastModified {
		info, err := l.root.Lstat(filepath.FromSlash(name))
		if isMissing(err) {
			return nil // deleted meanwhile
		}
		if err != nil {
			return err
		}
		attrs.SetLastModified(info.ModTime())
	}
	l.theirs = l.f(attrs)
	return l.theirs
}

// holdsObject says whether there is a file anywhere below a directory: a crash
// between making directories and moving the object in leaves empty ones.
func (l *lister) holdsObject(prefix string) (bool, error) {
	names, err := l.read(prefix)
	if err != nil {
		return false, err
	}
	for _, name := range slices.Backward(names) {
		if !strings.HasSuffix(name, "/") {
			return true, nil
		}
		if holds, err := l.holdsObject(name); err != nil || holds {
			return holds, err
		}
	}
	return false, nil
}
