package objstore_test

import (
	"bytes"
	"context"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

func read(t *testing.T, rc io.ReadCloser, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(rc)
	if err != nil {
		t.Fatal(err)
	}
	if err := rc.Close(); err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func get(t *testing.T, ctx context.Context, b objstore.BucketReader, name string) string {
	t.Helper()
	rc, err := b.Get(ctx, name)
	return read(t, rc, err)
}

func TestRequests(t *testing.T) {
	memory := objstoretest.NewMemory()
	memory.Put("dir/object", []byte("0123456789"))
	b := objstore.WithRequests(memory)

	var a objstore.Account
	ctx := objstore.WithAccount(context.Background(), &a)
	get(t, ctx, b, "dir/object")
	rc, err := b.GetRange(ctx, "dir/object", 2, 3)
	read(t, rc, err)
	_, _ = b.Exists(ctx, "none")
	_, _ = b.Attributes(ctx, "none")
	_ = b.Iter(ctx, "", func(string) error { return nil })
	_ = b.IterWithAttributes(ctx, "", func(objstore.IterObjectAttributes) error { return nil })
	_ = b.Upload(ctx, "new", strings.NewReader("four"))
	_ = b.Delete(ctx, "new")

	// An operation of somebody else.
	get(t, context.Background(), b, "dir/object")

	for op, want := range map[string]int64{
		objstore.OpGet: 1, objstore.OpGetRange: 1, objstore.OpExists: 1, objstore.OpAttributes: 1,
		objstore.OpIter: 2, objstore.OpUpload: 1, objstore.OpDelete: 1, "other": 0,
	} {
		if got := a.Requests(op); got != want {
			t.Errorf("%d requests of %s, want %d", got, op, want)
		}
	}
	if got := a.Requests(); got != 8 {
		t.Errorf("%d requests in all, want 8", got)
	}
	if got := a.Requests(objstore.OpGet, objstore.OpGetRange); got != 2 {
		t.Errorf("%d reads, want 2", got)
	}
	if a.BytesRead() != 13 || a.BytesWritten() != 4 {
		t.Errorf("%d bytes read and %d written, want 13 and 4", a.BytesRead(), a.BytesWritten())
	}
}

func TestRequestsOfManyGoroutines(t *testing.T) {
	memory := objstoretest.NewMemory()
	memory.Put("object", bytes.Repeat([]byte("x"), 1000))
	b := objstore.WithRequests(memory)
	var a objstore.Account
	ctx := objstore.WithAccount(context.Background(), &a)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				get(t, ctx, b, "object")
			}
		})
	}
	wg.Wait()
	if a.Requests() != 800 || a.BytesRead() != 800_000 {
		t.Errorf("%d requests and %d bytes, want 800 and 800000", a.Requests(), a.BytesRead())
	}
}

// TestBytesWrittenCountOnce reads an upload twice, as clients do that send a
// checksum first.
func TestBytesWrittenCountOnce(t *testing.T) {
	b := objstore.WithRequests(twice{objstoretest.NewMemory()})
	var a objstore.Account
	ctx := objstore.WithAccount(context.Background(), &a)
	if err := b.Upload(ctx, "object", strings.NewReader("0123456789")); err != nil {
		t.Fatal(err)
	}
	if a.BytesWritten() != 10 {
		t.Errorf("%d bytes written, want 10", a.BytesWritten())
	}
}

type twice struct{ *objstoretest.Memory }

func (b twice) Upload(ctx context.Context, name string, r io.Reader, opts ...objstore.ObjectUploadOption) error {
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	if _, err := r.(io.Seeker).Seek(0, io.SeekStart); err != nil {
		return err
	}
	return b.Memory.Upload(ctx, name, r, opts...)
}

func TestNoAccount(t *testing.T) {
	var none *objstore.Account
	if none.Requests() != 0 || none.BytesRead() != 0 || none.BytesWritten() != 0 {
		t.Error("a nil account is not empty")
	}
	if objstore.AccountFrom(context.Background()) != nil {
		t.Error("a context without an account has one")
	}
	// A nil account in a context is as good as none.
	memory := objstoretest.NewMemory()
	memory.Put("object", []byte("x"))
	get(t, objstore.WithAccount(context.Background(), nil), objstore.WithRequests(memory), "object")
}

// What a part came to is on the whole's account, too.
func TestSubaccount(t *testing.T) {
	memory := objstoretest.NewMemory()
	memory.Put("object", []byte("content"))
	b := objstore.WithRequests(memory)
	var whole objstore.Account
	ctx := objstore.WithAccount(context.Background(), &whole)
	get(t, ctx, b, "object")
	inner, part := objstore.WithSubaccount(ctx)
	get(t, inner, b, "object")
	part.AddCacheHits(2, 20)
	if part.Requests() != 1 || part.BytesRead() != 7 || part.CacheHits() != 2 {
		t.Errorf("the part has %d requests, %d bytes, %d hits", part.Requests(), part.BytesRead(), part.CacheHits())
	}
	if whole.Requests() != 2 || whole.BytesRead() != 14 || whole.CacheBytes() != 20 {
		t.Errorf("the whole has %d requests, %d bytes, %d of hits", whole.Requests(), whole.BytesRead(), whole.CacheBytes())
	}
	alone, part := objstore.WithSubaccount(context.Background())
	get(t, alone, b, "object")
	if part.Requests() != 1 || whole.Requests() != 2 {
		t.Error("a part of nothing counts elsewhere")
	}
}
