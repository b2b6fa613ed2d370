package cache_test

import (
	"context"
	"io"
	"strconv"
	"sync"
	"testing"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/cache"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

func TestConformance(t *testing.T) {
	for name, opts := range map[string]func(t *testing.T) cache.Options{
		"memory": func(*testing.T) cache.Options { return cache.Options{} },
		"disk":   func(t *testing.T) cache.Options { return cache.Options{MemoryBytes: -1, Dir: t.TempDir()} },
		"both":   func(t *testing.T) cache.Options { return cache.Options{Dir: t.TempDir()} },
	} {
		for _, versions := range []bool{false, true} {
			t.Run(name+" with versions "+strconv.FormatBool(versions), func(t *testing.T) {
				objstoretest.TestBucket(t, func(t *testing.T) objstore.Bucket {
					b, err := cache.New(objstoretest.NewMemory(), opts(t))
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() {
						if err := b.Close(); err != nil {
							t.Error(err)
						}
					})
					if versions {
						return &versioned{Bucket: b, changes: map[string]int{}}
					}
					return b
				})
			})
		}
	}
}

// versioned vouches that an object stays as it is from one change to the next.
type versioned struct {
	objstore.Bucket
	mu      sync.Mutex // guards changes
	changes map[string]int
}

func (v *versioned) changed(name string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.changes[name]++
}

func (v *versioned) Upload(ctx context.Context, name string, r io.Reader, opts ...objstore.ObjectUploadOption) error {
	defer v.changed(name)
	return v.Bucket.Upload(ctx, name, r, opts...)
}

func (v *versioned) Delete(ctx context.Context, name string) error {
	defer v.changed(name)
	return v.Bucket.Delete(ctx, name)
}

func (v *versioned) GetRange(ctx context.Context, name string, off, length int64) (io.ReadCloser, error) {
	v.mu.Lock()
	version := strconv.Itoa(v.changes[name]) + " changes"
	v.mu.Unlock()
	return v.Bucket.GetRange(objstore.WithVersion(ctx, version), name, off, length)
}
