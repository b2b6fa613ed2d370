package objstoretest

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/varve-tsdb/varve/objstore"
)

// reader is the usual upload: its size is known and it can seek.
func reader(content string) io.Reader { return strings.NewReader(content) }

// stream is an upload of unknown size.
func stream(content string) io.Reader {
	return struct{ io.Reader }{strings.NewReader(content)}
}

func testMissing(t *testing.T, s suite) {
	for _, name := range []string{"none", "no/such/object", "01ARZ3NDEKTSV4RRFFQ69G5FAV/meta.json"} {
		s.wantMissing(t, name)
	}
	s.put(t, "dir/object", "x")
	for _, name := range []string{"dir/obj", "dir/object2", "dir/other", "object"} {
		s.wantMissing(t, name)
	}
}

func testContents(t *testing.T, s suite) {
	big := strings.Repeat("0123456789abcdef", 40_000)
	for name, content := range map[string]string{
		"empty":       "",
		"one":         "1",
		"binary":      "\x00\xff\r\n\x1a\x00",
		"big":         big,
		"deep/er/and": "deeper",
	} {
		s.put(t, name, content)
		s.wantContent(t, name, content)
		if ok, err := s.Exists(s.ctx, name); !ok || err != nil {
			t.Errorf("Exists of %q: %v, %v", name, ok, err)
		}
	}
	for name, content := range map[string]string{"stream/empty": "", "stream/small": "text", "stream/big": big} {
		if err := s.Upload(s.ctx, name, stream(content)); err != nil {
			t.Fatalf("Upload of %q from a reader of unknown size: %v", name, err)
		}
		s.wantContent(t, name, content)
	}
	if err := s.Upload(s.ctx, "typed", reader("{}"), objstore.WithContentType("application/json")); err != nil {
		t.Fatalf("Upload with a content type: %v", err)
	}
	s.wantContent(t, "typed", "{}")
}

func testOverwrite(t *testing.T, s suite) {
	for _, content := range []string{"first, the longest of all", "second", "", "fourth"} {
		s.put(t, "dir/object", content)
		s.wantContent(t, "dir/object", content)
		attrs, err := s.Attributes(s.ctx, "dir/object")
		if err != nil || attrs.Size != int64(len(content)) {
			t.Fatalf("Attributes after overwriting: %+v, %v; want a size of %d", attrs, err, len(content))
		}
	}
	if got := s.list(t, "dir"); len(got) != 1 {
		t.Fatalf("one object written four times is listed as %q", got)
	}
}

func testRanges(t *testing.T, s suite) {
	const content = "0123456789"
	s.put(t, "ranges", content)
	for off := int64(0); off < int64(len(content)); off++ {
		for _, length := range []int64{-1, 1, 2, 3, 9, 10, 11, 1 << 20} {
			want := content[off:]
			if length >= 0 && length < int64(len(want)) {
				want = want[:length]
			}
			got, err := readAll(s.GetRange(s.ctx, "ranges", off, length))
			if err != nil || got != want {
				t.Errorf("GetRange(%d, %d): %q, %v; want %q", off, length, got, err, want)
			}
		}
	}
	s.put(t, "empty", "")
	for _, c := range []struct {
		name        string
		off, length int64
	}{{"ranges", 10, 1}, {"ranges", 10, -1}, {"ranges", 11, 5}, {"ranges", 11, -1}, {"ranges", 1 << 40, 1}, {"empty", 0, -1}, {"empty", 0, 1}, {"empty", 5, 5}} {
		got, err := readAll(s.GetRange(s.ctx, c.name, c.off, c.length))
		if got != "" {
			t.Errorf("GetRange(%q, %d, %d) beyond the end gave %q", c.name, c.off, c.length, got)
		}
		if err != nil && s.IsObjNotFoundErr(err) {
			t.Errorf("GetRange(%q, %d, %d) beyond the end: %v, which counts as not found", c.name, c.off, c.length, err)
		}
	}
}

func testSizes(t *testing.T, s suite) {
	before := time.Now().Add(-time.Hour)
	s.put(t, "sized", "0123456789")
	for _, c := range []struct {
		what string
		open func() (io.ReadCloser, error)
		want int64
	}{
		{"Get", func() (io.ReadCloser, error) { return s.Get(s.ctx, "sized") }, 10},
		{"GetRange in the middle", func() (io.ReadCloser, error) { return s.GetRange(s.ctx, "sized", 2, 3) }, 3},
		{"GetRange to the end", func() (io.ReadCloser, error) { return s.GetRange(s.ctx, "sized", 2, -1) }, 8},
		{"GetRange beyond the end", func() (io.ReadCloser, error) { return s.GetRange(s.ctx, "sized", 2, 100) }, 8},
	} {
		rc, err := c.open()
		if err != nil {
			t.Fatalf("%s: %v", c.what, err)
		}
		// Not every provider knows; but what it says must be right.
		if n, err := objstore.ObjectSize(rc); err == nil && n != c.want {
			t.Errorf("%s announces %d bytes, want %d", c.what, n, c.want)
		}
		if err := rc.Close(); err != nil {
			t.Errorf("closing the unread body of %s: %v", c.what, err)
		}
	}
	attrs, err := s.Attributes(s.ctx, "sized")
	if err != nil || attrs.Size != 10 {
		t.Errorf("Attributes: %+v, %v; want a size of 10", attrs, err)
	}
	if attrs.LastModified.Before(before) || attrs.LastModified.After(time.Now().Add(time.Hour)) {
		t.Errorf("an object written now was modified at %v", attrs.LastModified)
	}
}

func testBadRequests(t *testing.T, s suite) {
	if _, err := readAll(s.Get(s.ctx, "")); err == nil || s.IsObjNotFoundErr(err) {
		t.Errorf("Get of an empty name: %v; want an error other than not found", err)
	}
	if err := s.Upload(s.ctx, "", reader("x")); err == nil {
		t.Error("Upload to an empty name succeeded")
	}
	s.put(t, "object", "0123456789")
	for _, r := range [][2]int64{{-1, 2}, {-1, -1}, {0, 0}, {3, 0}, {0, -2}} {
		got, err := readAll(s.GetRange(s.ctx, "object", r[0], r[1]))
		if err == nil || got != "" {
			t.Errorf("GetRange(%d, %d) gave %q, %v; want an error", r[0], r[1], got, err)
		}
		if err != nil && s.IsObjNotFoundErr(err) {
			t.Errorf("GetRange(%d, %d): %v, which counts as not found", r[0], r[1], err)
		}
	}
}

func testDelete(t *testing.T, s suite) {
	if err := s.Delete(s.ctx, "none"); err != nil && !s.IsObjNotFoundErr(err) {
		t.Errorf("Delete of a missing object: %v; want no error or one that is IsObjNotFoundErr", err)
	}
	s.put(t, "dir/sub/object", "x")
	s.put(t, "dir/object", "x")
	if err := s.Delete(s.ctx, "dir/sub/object"); err != nil {
		t.Fatalf("Delete: %v", err)
	}
	s.wantMissing(t, "dir/sub/object")
	s.wantContent(t, "dir/object", "x")
	wantNames(t, s.list(t, "dir"), "dir/object")

	if err := s.Delete(s.ctx, "dir/object"); err != nil {
		t.Fatalf("Delete: %v", err)
	}
	wantNames(t, s.list(t, ""))
	wantNames(t, s.list(t, "dir"))
	s.put(t, "dir/object", "again")
	s.wantContent(t, "dir/object", "again")
}

func testNames(t *testing.T, s suite) {
	names := []string{
		"plain", "UPPER", "with space", "plus+plus", "per%20cent", "percent%", "hash#tag", "q?a=b&c=d",
		"semi;colon", "comma,", "at@", "quote'", "equals=", "(round)", "[square]", "{curly}", "tilde~",
		"..hidden", "two..dots", "dir.with.dots/a", "ümlaut/été", "漢字", "😀", "dash-", "_under", "a:b", "$x", "!", "*star",
		strings.Repeat("long/", 30) + "name",
	}
	for i, name := range names {
		s.put(t, name, fmt.Sprint(i))
	}
	for i, name := range names {
		s.wantContent(t, name, fmt.Sprint(i))
	}
	wantNames(t, s.list(t, "", objstore.WithRecursiveIter()), names...)
	for _, name := range names {
		if err := s.Delete(s.ctx, name); err != nil {
			t.Errorf("Delete of %q: %v", name, err)
		}
		s.wantMissing(t, name)
	}
}

func testWrappedErrors(t *testing.T, s suite) {
	_, err := readAll(s.Get(s.ctx, "none"))
	if err == nil {
		t.Fatal("Get of a missing object succeeded")
	}
	wrapped := fmt.Errorf("reading the block: %w", fmt.Errorf("and its meta: %w", err))
	if !objstore.IsNotFound(s.Bucket, wrapped) {
		t.Errorf("IsNotFound does not see through %v", wrapped)
	}
	if objstore.IsNotFound(s.Bucket, fmt.Errorf("something else")) || objstore.IsNotFound(s.Bucket, nil) {
		t.Error("IsNotFound holds for any error")
	}
	if s.IsObjNotFoundErr(nil) || s.IsAccessDeniedErr(nil) {
		t.Error("no error counts as not found or as access denied")
	}
}

func testIdentity(t *testing.T, s suite) {
	if s.Provider() == "" {
		t.Error("Provider is empty")
	}
	if s.Name() == "" {
		t.Error("Name is empty")
	}
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}
