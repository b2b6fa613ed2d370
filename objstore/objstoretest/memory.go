package objstoretest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/internal/around"
)

// Memory is a Bucket in memory. Objects appear whole or not at all. Lists have
// objects and directories mixed in byte order.
type Memory struct {
	mu      sync.RWMutex // objects
	objects map[string]memoryObject
}

type memoryObject struct {
	content  []byte // never changed
	modified time.Time
}

var _ objstore.Bucket = (*Memory)(nil)

// NewMemory returns an empty bucket.
func NewMemory() *Memory { return &Memory{objects: map[string]memoryObject{}} }

// Objects returns all objects by name. The contents must not be changed.
func (m *Memory) Objects() map[string][]byte {
	m.mu.RLock()
	defer m.mu.RUnlock()
	all := make(map[string][]byte, len(m.objects))
	for name, o := range m.objects {
		all[name] = o.content
	}
	return all
}

// Names returns the names of all objects in byte order.
func (m *Memory) Names() []string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return slices.Sorted(maps.Keys(m.objects))
}

// Put stores a copy of content without the ceremony of Upload.
func (m *Memory) Put(name string, content []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.objects[name] = memoryObject{content: bytes.Clone(content), modified: time.Now()}
}

// SetModified changes the modification time of an object, if it exists.
func (m *Memory) SetModified(name string, t time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if o, ok := m.objects[name]; ok {
		o.modified = t
		m.objects[name] = o
	}
}

// Copy returns a bucket with the same objects, independent from now on.
func (m *Memory) Copy() *Memory {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return &Memory{objects: maps.Clone(m.objects)}
}

func (m *Memory) find(ctx context.Context, op, name string) (memoryObject, error) {
	if err := check(ctx, op, name); err != nil {
		return memoryObject{}, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	o, ok := m.objects[name]
	if !ok {
		return memoryObject{}, &objstore.Error{Op: op, Name: name, Err: objstore.ErrNotFound}
	}
	return o, nil
}

func check(ctx context.Context, op, name string) error {
	if err := ctx.Err(); err != nil {
		return &objstore.Error{Op: op, Name: name, Err: err}
	}
	if name == "" && op != objstore.OpIter {
		return &objstore.Error{Op: op, Name: name, Err: fmt.Errorf("%w: the object name is empty", objstore.ErrInvalid)}
	}
	return nil
}

// Get implements objstore.Bucket.
func (m *Memory) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	o, err := m.find(ctx, objstore.OpGet, name)
	if err != nil {
		return nil, err
	}
	return memoryBody(ctx, o.content), nil
}

// GetRange implements objstore.Bucket.
func (m *Memory) GetRange(ctx context.Context, name string, off, length int64) (io.ReadCloser, error) {
	o, err := m.find(ctx, objstore.OpGetRange, name)
	if err != nil {
		return nil, err
	}
	if off < 0 || length == 0 || length < -1 {
		err := fmt.Errorf("%w: no range of %d bytes from %d", objstore.ErrInvalid, length, off)
		return nil, &objstore.Error{Op: objstore.OpGetRange, Name: name, Err: err}
	}
	content := o.content[min(off, int64(len(o.content))):]
	if length >= 0 {
		content = content[:min(length, int64(len(content)))]
	}
	return memoryBody(ctx, content), nil
}

func memoryBody(ctx context.Context, content []byte) io.ReadCloser {
	return objstore.ObjectSizerReadCloser{
		ReadCloser: io.NopCloser(&ctxReader{ctx: ctx, r: bytes.NewReader(content)}),
		Size:       func() (int64, error) { return int64(len(content)), nil },
	}
}

// ctxReader ends with its context, as a body that comes over a network does.
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

// Exists implements objstore.Bucket.
func (m *Memory) Exists(ctx context.Context, name string) (bool, error) {
	_, err := m.find(ctx, objstore.OpExists, name)
	if m.IsObjNotFoundErr(err) {
		return false, nil
	}
	return err == nil, err
}

// Attributes implements objstore.Bucket.
func (m *Memory) Attributes(ctx context.Context, name string) (objstore.ObjectAttributes, error) {
	o, err := m.find(ctx, objstore.OpAttributes, name)
	if err != nil {
		return objstore.ObjectAttributes{}, err
	}
	return objstore.ObjectAttributes{Size: int64(len(o.content)), LastModified: o.modified}, nil
}

// Upload implements objstore.Bucket. It fails when r gives less than the size
// it announces.
func (m *Memory) Upload(ctx context.Context, name string, r io.Reader, _ ...objstore.ObjectUploadOption) error {
	if err := check(ctx, objstore.OpUpload, name); err != nil {
		return err
	}
	size, sized := around.Size(r)
	content, err := io.ReadAll(&ctxReader{ctx: ctx, r: r})
	if err == nil && sized && int64(len(content)) < size {
		err = fmt.Errorf("%w: the reader gave %d bytes of %d", io.ErrUnexpectedEOF, len(content), size)
	}
	if err != nil {
		return &objstore.Error{Op: objstore.OpUpload, Name: name, Err: err}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.objects[name] = memoryObject{content: content, modified: time.Now()}
	return nil
}

// Delete implements objstore.Bucket. It fails when there is no such object.
func (m *Memory) Delete(ctx context.Context, name string) error {
	if _, err := m.find(ctx, objstore.OpDelete, name); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.objects, name)
	return nil
}

// Iter implements objstore.Bucket.
func (m *Memory) Iter(ctx context.Context, dir string, f func(string) error, options ...objstore.IterOption) error {
	return m.IterWithAttributes(ctx, dir, func(attrs objstore.IterObjectAttributes) error { return f(attrs.Name) }, options...)
}

// IterWithAttributes implements objstore.Bucket. The callback may use the
// bucket.
func (m *Memory) IterWithAttributes(ctx context.Context, dir string, f func(objstore.IterObjectAttributes) error, options ...objstore.IterOption) error {
	if err := check(ctx, objstore.OpIter, dir); err != nil {
		return err
	}
	params := objstore.ApplyIterOptions(options...)
	for _, attrs := range m.list(dir, params) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := f(attrs); err != nil {
			return err
		}
	}
	return nil
}

func (m *Memory) list(dir string, params objstore.IterParams) []objstore.IterObjectAttributes {
	if dir != "" {
		dir = strings.TrimSuffix(dir, objstore.DirDelim) + objstore.DirDelim
	}
	m.mu.RLock()
	defer m.mu.RUnlock()

	found := map[string]time.Time{}
	for name, o := range m.objects {
		rest, ok := strings.CutPrefix(name, dir)
		if !ok || rest == "" {
			continue
		}
		if below, _, deeper := strings.Cut(rest, objstore.DirDelim); deeper && !params.Recursive {
			found[dir+below+objstore.DirDelim] = time.Time{}
			continue
		}
		found[name] = o.modified
	}
	entries := make([]objstore.IterObjectAttributes, 0, len(found))
	for _, name := range slices.Sorted(maps.Keys(found)) {
		entry := objstore.IterObjectAttributes{Name: name}
		if params.LastModified {
			entry.SetLastModified(found[name])
		}
		entries = append(entries, entry)
	}
	return entries
}

// SupportedIterOptions implements objstore.Bucket.
func (m *Memory) SupportedIterOptions() []objstore.IterOptionType {
	return []objstore.IterOptionType{objstore.Recursive, objstore.UpdatedAt}
}

// IsObjNotFoundErr implements objstore.Bucket.
func (m *Memory) IsObjNotFoundErr(err error) bool { return errors.Is(err, objstore.ErrNotFound) }

// IsAccessDeniedErr implements objstore.Bucket. Memory never denies access.
func (m *Memory) IsAccessDeniedErr(error) bool { return false }

// Provider implements objstore.Bucket.
func (m *Memory) Provider() objstore.ObjProvider { return "MEMORY" }

// Name implements objstore.Bucket.
func (m *Memory) Name() string { return "memory" }

// Close implements objstore.Bucket. The objects remain.
func (m *Memory) Close() error { return nil }
