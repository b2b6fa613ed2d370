package objstoretest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
)

func testFailedUpload(t *testing.T, s suite) {
	torn := errors.New("the disk that holds the file failed")
	const half = "0123456789"
	for name, r := range map[string]io.Reader{
		"at once":      failingReader{torn},
		"stream":       io.MultiReader(strings.NewReader(half), failingReader{torn}),
		"size unknown": struct{ io.Reader }{io.MultiReader(strings.NewReader(half), failingReader{torn})},
		"size known":   sized{io.MultiReader(strings.NewReader(half), failingReader{torn}), 20},
		"short":        sized{strings.NewReader(half), 20},
	} {
		t.Run(name, func(t *testing.T) {
			object := "failed/" + name
			if err := s.Upload(s.ctx, object, r); err == nil {
				t.Fatal("Upload succeeded though its reader failed")
			} else if s.IsObjNotFoundErr(err) {
				t.Errorf("a failed upload counts as not found: %v", err)
			}
			s.wantMissing(t, object)
		})
	}
	wantNames(t, s.list(t, ""))

	s.put(t, "kept", "the old content")
	if err := s.Upload(s.ctx, "kept", sized{io.MultiReader(strings.NewReader(half), failingReader{torn}), 20}); err == nil {
		t.Fatal("Upload succeeded though its reader failed")
	}
	s.wantContent(t, "kept", "the old content")
}

// sized announces n bytes.
type sized struct {
	io.Reader
	n int64
}

func (s sized) ObjectSize() (int64, error) { return s.n, nil }

func testCanceled(t *testing.T, s suite) {
	s.put(t, "dir/object", "content")
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()

	_, get := readAll(s.Get(ctx, "dir/object"))
	_, getRange := readAll(s.GetRange(ctx, "dir/object", 1, 2))
	_, exists := s.Exists(ctx, "dir/object")
	_, attributes := s.Attributes(ctx, "dir/object")
	iter := s.Iter(ctx, "dir", func(string) error { return nil })
	upload := s.Upload(ctx, "dir/new", reader("x"))
	overwrite := s.Upload(ctx, "dir/object", reader("changed"))
	remove := s.Delete(ctx, "dir/object")

	for op, err := range map[string]error{
		"Get": get, "GetRange": getRange, "Exists": exists, "Attributes": attributes, "Iter": iter,
		"Upload": upload, "Upload over an object": overwrite, "Delete": remove,
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s after cancel: %v, want context.Canceled", op, err)
		}
		if s.IsObjNotFoundErr(err) {
			t.Errorf("%s after cancel counts as not found: %v", op, err)
		}
	}
	s.wantContent(t, "dir/object", "content")
	s.wantMissing(t, "dir/new")
}

func testConcurrentUploads(t *testing.T, s suite) {
	const writers = 8
	content := func(i int) string { return strings.Repeat(fmt.Sprint(i), 50_000) }
	s.put(t, "contended", content(0))

	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			if err := s.Upload(s.ctx, "contended", reader(content(i))); err != nil {
				t.Errorf("Upload: %v", err)
			}
		})
		wg.Go(func() {
			got, err := readAll(s.Get(s.ctx, "contended"))
			if err != nil || got == "" || got != content(int(got[0]-'0')) {
				t.Errorf("Get during uploads: %s, %v; want one whole content", brief(got), err)
			}
		})
	}
	wg.Wait()
	got, err := readAll(s.Get(s.ctx, "contended"))
	if err != nil || got == "" || got != content(int(got[0]-'0')) {
		t.Fatalf("after concurrent uploads: %s, %v; want one whole content", brief(got), err)
	}
	wantNames(t, s.list(t, ""), "contended")
}

func testConcurrentUse(t *testing.T, s suite) {
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			// All write below one directory, and empty it again and again.
			name := fmt.Sprintf("dir/sub/%d", i)
			for range 5 {
				if err := s.Upload(s.ctx, name, reader(name)); err != nil {
					t.Errorf("Upload of %q: %v", name, err)
				}
				if got, err := readAll(s.GetRange(s.ctx, name, 4, 3)); err != nil || got != "sub" {
					t.Errorf("GetRange of %q: %q, %v", name, got, err)
				}
				if err := s.Iter(s.ctx, "dir/sub", func(string) error { return nil }); err != nil {
					t.Errorf("Iter: %v", err)
				}
				if err := s.Delete(s.ctx, name); err != nil {
					t.Errorf("Delete of %q: %v", name, err)
				}
			}
		})
	}
	wg.Wait()
	wantNames(t, s.list(t, ""))
}
