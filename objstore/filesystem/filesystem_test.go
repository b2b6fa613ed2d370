package filesystem_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	thanosfs "github.com/thanos-io/objstore/providers/filesystem"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/filesystem"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

func open(t *testing.T, dir string) *filesystem.Bucket {
	t.Helper()
	b, err := filesystem.NewBucket(dir)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestConformance(t *testing.T) {
	objstoretest.TestBucket(t, func(t *testing.T) objstore.Bucket { return open(t, t.TempDir()) })
}

// tree returns all paths below dir, those of directories with a slash.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var paths []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(dir, path)
		if d != nil && d.IsDir() {
			rel += "/"
		}
		if rel != "./" {
			paths = append(paths, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func wantTree(t *testing.T, dir string, want ...string) {
	t.Helper()
	got := slices.DeleteFunc(tree(t, dir), func(path string) bool { return path == ".varve-tmp/" })
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func put(t *testing.T, b objstore.Bucket, name, content string) {
	t.Helper()
	if err := b.Upload(t.Context(), name, strings.NewReader(content)); err != nil {
		t.Fatal(err)
	}
}

func list(t *testing.T, b objstore.Bucket, dir string, options ...objstore.IterOption) []string {
	t.Helper()
	var names []string
	if err := b.Iter(t.Context(), dir, func(name string) error { names = append(names, name); return nil }, options...); err != nil {
		t.Fatal(err)
	}
	return names
}

func content(t *testing.T, b objstore.Bucket, name string) string {
	t.Helper()
	rc, err := b.Get(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	all, err := io.ReadAll(rc)
	if err != nil {
		t.Fatal(err)
	}
	return string(all)
}

func TestNamesCannotLeaveTheDirectory(t *testing.T) {
	outside := t.TempDir()
	secret := filepath.Join(outside, "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o666); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(outside, "bucket")
	b := open(t, dir)
	put(t, b, "dir/object", "x")
	for link, to := range map[string]string{"absolute": outside, "relative": "..", "file": secret} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Skipf("no symbolic links here: %v", err)
		}
	}
	before := tree(t, outside)

	for _, name := range []string{
		"../secret", "dir/../../secret", "..", ".", "/", "/etc/passwd", secret, "dir/", "dir//object", "./dir/object", "dir/./object",
		"dir/../dir/object", "a\x00b", "absolute/secret", "relative/secret", "file", "absolute/new", "relative/new",
		".varve-tmp", ".varve-tmp/x",
	} {
		ctx := t.Context()
		if rc, err := b.Get(ctx, name); err == nil {
			_ = rc.Close()
			t.Errorf("Get of %q succeeded", name)
		}
		if _, err := b.GetRange(ctx, name, 0, 1); err == nil {
			t.Errorf("GetRange of %q succeeded", name)
		}
		if ok, _ := b.Exists(ctx, name); ok {
			t.Errorf("%q exists", name)
		}
		if _, err := b.Attributes(ctx, name); err == nil {
			t.Errorf("%q has attributes", name)
		}
		if err := b.Delete(ctx, name); err == nil {
			t.Errorf("Delete of %q succeeded", name)
		}
		// Renaming onto a link replaces the link, which leaves what it led to.
		if err := b.Upload(ctx, name, strings.NewReader("x")); err == nil && name != "file" {
			t.Errorf("Upload of %q succeeded", name)
		}
		if name == "/" || name == "dir/" {
			continue // directories of the bucket, as far as lists go
		}
		_ = b.Iter(ctx, name, func(entry string) error {
			t.Errorf("Iter of %q gave %q", name, entry)
			return nil
		})
	}
	if got, err := os.ReadFile(secret); string(got) != "secret" || err != nil {
		t.Errorf("the file outside holds %q, %v", got, err)
	}
	after := slices.DeleteFunc(tree(t, outside), func(path string) bool { return path == "bucket/.varve-tmp/" })
	before = slices.DeleteFunc(before, func(path string) bool { return path == "bucket/.varve-tmp/" })
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("files changed (-before +after):\n%s", diff)
	}
}

func TestLinksInside(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	put(t, b, "real/object", "content")
	if err := os.Symlink("real", filepath.Join(dir, "link")); err != nil {
		t.Skipf("no symbolic links here: %v", err)
	}
	if got := content(t, b, "link/object"); got != "content" {
		t.Errorf("through the link: %q", got)
	}
	if diff := cmp.Diff([]string{"real/object"}, list(t, b, "", objstore.WithRecursiveIter())); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
}

func TestUploadIsAtomic(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	put(t, b, "dir/object", "old")
	torn := errors.New("torn")

	var during []string
	err := b.Upload(t.Context(), "dir/object", io.MultiReader(
		strings.NewReader("new, but only ha"),
		readerFunc(func() error {
			during = list(t, b, "", objstore.WithRecursiveIter())
			if got := content(t, b, "dir/object"); got != "old" {
				t.Errorf("during the upload the object is %q", got)
			}
			return torn
		}),
	))
	if !errors.Is(err, torn) {
		t.Errorf("Upload: %v", err)
	}
	if diff := cmp.Diff([]string{"dir/object"}, during); diff != "" {
		t.Errorf("list during the upload (-want +got):\n%s", diff)
	}
	wantTree(t, dir, "dir/", "dir/object")

	// A failed upload makes no directories either.
	_ = b.Upload(t.Context(), "other/dir/object", readerFunc(func() error { return torn }))
	wantTree(t, dir, "dir/", "dir/object")
}

type readerFunc func() error

func (f readerFunc) Read([]byte) (int, error) { return 0, f() }

func TestOpenBodyOutlivesItsObject(t *testing.T) {
	b := open(t, t.TempDir())
	put(t, b, "object", "old")
	rc, err := b.Get(t.Context(), "object")
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	put(t, b, "object", "new")
	if err := b.Delete(t.Context(), "object"); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(rc); string(got) != "old" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
}

func TestSweep(t *testing.T) {
	dir := t.TempDir()
	temp := filepath.Join(dir, ".varve-tmp")
	leave := func(name string, age time.Duration) {
		t.Helper()
		path := filepath.Join(temp, name)
		if err := os.MkdirAll(temp, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("half"), 0o666); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, time.Time{}, time.Now().Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	b := open(t, dir)
	leave("old", 25*time.Hour)
	leave("young", 23*time.Hour)
	if got := list(t, b, "", objstore.WithRecursiveIter()); len(got) != 0 {
		t.Errorf("leftovers are listed: %q", got)
	}
	put(t, b, "object", "x")
	wantTree(t, dir, ".varve-tmp/young", "object")

	leave("old", 25*time.Hour)
	if err := b.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantTree(t, dir, ".varve-tmp/young", "object")
	if err := open(t, filepath.Join(dir, "none")).Sweep(t.Context()); err != nil {
		t.Errorf("Sweep of a bucket that is not there: %v", err)
	}
}

func TestDeleteTakesEmptyDirectories(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	put(t, b, "a/b/c/object", "x")
	put(t, b, "a/object", "x")
	if err := b.Delete(t.Context(), "a/b/c/object"); err != nil {
		t.Fatal(err)
	}
	wantTree(t, dir, "a/", "a/object")
	if err := b.Delete(t.Context(), "a"); !b.IsObjNotFoundErr(err) {
		t.Errorf("Delete of a directory: %v", err)
	}
	if err := b.Delete(t.Context(), "a/object"); err != nil {
		t.Fatal(err)
	}
	wantTree(t, dir)
	if err := b.Delete(t.Context(), "a/object"); !b.IsObjNotFoundErr(err) {
		t.Errorf("Delete of a missing object: %v", err)
	}
}

func TestEmptyDirectoriesAreNotListed(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	put(t, b, "full/deep/object", "x")
	if err := os.MkdirAll(filepath.Join(dir, "empty/of/files"), 0o777); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"full/"}, list(t, b, "")); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
}

func TestOrderIsThatOfBytes(t *testing.T) {
	b := open(t, t.TempDir())
	names := []string{"a-b", "a.b", "a/b", "a/b-c/d", "a/b.c", "a0", "ab"}
	for _, name := range names {
		if name != "a/b" { // a file cannot be beside a directory of its name
			put(t, b, name, "x")
		}
	}
	if diff := cmp.Diff([]string{"a-b", "a.b", "a/b-c/d", "a/b.c", "a0", "ab"}, list(t, b, "", objstore.WithRecursiveIter())); diff != "" {
		t.Errorf("recursive list (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"a-b", "a.b", "a/", "a0", "ab"}, list(t, b, "")); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
}

func TestObjectInTheWayOfADirectory(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	put(t, b, "a", "x")
	err := b.Upload(t.Context(), "a/b", strings.NewReader("x"))
	if err == nil || b.IsObjNotFoundErr(err) {
		t.Errorf("Upload below an object: %v", err)
	}
	if _, err := b.Get(t.Context(), "a/b"); !b.IsObjNotFoundErr(err) {
		t.Errorf("Get below an object: %v", err)
	}
	put(t, b, "d/e", "x")
	if err := b.Upload(t.Context(), "d", strings.NewReader("x")); err == nil {
		t.Error("Upload over a directory succeeded")
	}
	wantTree(t, dir, "a", "d/", "d/e")
}

func TestNamesThatNoFileCanHave(t *testing.T) {
	b := open(t, t.TempDir())
	long := strings.Repeat("x", 300)
	if ok, err := b.Exists(t.Context(), long); ok || err != nil {
		t.Errorf("Exists: %v, %v", ok, err)
	}
	if err := b.Upload(t.Context(), long, strings.NewReader("x")); err == nil || b.IsObjNotFoundErr(err) {
		t.Errorf("Upload: %v", err)
	}
}

func TestDirectoryComesAndGoes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not/there/yet")
	b := open(t, dir)
	if got := list(t, b, ""); len(got) != 0 {
		t.Errorf("list of a bucket that is not there: %q", got)
	}
	if ok, err := b.Exists(t.Context(), "object"); ok || err != nil {
		t.Errorf("Exists in a bucket that is not there: %v, %v", ok, err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("reading made the directory: %v", err)
	}
	put(t, b, "object", "x")

	// A file system that is unmounted is no empty bucket.
	away := dir + "-away"
	if err := os.Rename(dir, away); err != nil {
		t.Fatal(err)
	}
	gone := map[string]error{
		"Iter":   b.Iter(t.Context(), "", func(string) error { return nil }),
		"Upload": b.Upload(t.Context(), "other", strings.NewReader("x")),
		"Delete": b.Delete(t.Context(), "object"),
	}
	_, gone["Get"] = b.Get(t.Context(), "object")
	_, gone["Exists"] = b.Exists(t.Context(), "object")
	for op, err := range gone {
		if !errors.Is(err, filesystem.ErrGone) || b.IsObjNotFoundErr(err) {
			t.Errorf("%s while the directory is gone: %v", op, err)
		}
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory was made anew: %v", err)
	}
	if err := os.Rename(away, dir); err != nil {
		t.Fatal(err)
	}
	if got := content(t, b, "object"); got != "x" {
		t.Errorf("after it came back: %q", got)
	}
}

func TestNewBucketRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"", file} {
		if _, err := filesystem.NewBucket(dir); err == nil {
			t.Errorf("NewBucket(%q) succeeded", dir)
		}
	}
}

func TestAccessDenied(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may do everything")
	}
	dir := t.TempDir()
	b := open(t, dir)
	put(t, b, "dir/object", "x")
	if err := os.Chmod(filepath.Join(dir, "dir/object"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Get(t.Context(), "dir/object"); !b.IsAccessDeniedErr(err) {
		t.Errorf("Get: %v", err)
	}
}

// TestSharedWithThanos reads with one implementation what the other wrote.
func TestSharedWithThanos(t *testing.T) {
	dir := t.TempDir()
	ours := open(t, dir)
	theirs, err := thanosfs.NewBucket(dir)
	if err != nil {
		t.Fatal(err)
	}
	put(t, ours, "01/ours", "by us")
	put(t, theirs, "01/theirs", "by them")
	for _, b := range []objstore.Bucket{ours, theirs} {
		if content(t, b, "01/ours") != "by us" || content(t, b, "01/theirs") != "by them" {
			t.Errorf("%T reads something else", b)
		}
		if diff := cmp.Diff([]string{"01/ours", "01/theirs"}, list(t, b, "01")); diff != "" {
			t.Errorf("%T lists (-want +got):\n%s", b, diff)
		}
		if diff := cmp.Diff([]string{"01/"}, list(t, b, "")); diff != "" {
			t.Errorf("%T lists (-want +got):\n%s", b, diff)
		}
	}
}

func TestUploadStopsWithItsContext(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	err := b.Upload(ctx, "object", endless{cancel})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Upload: %v", err)
	}
	wantTree(t, dir)
}

type endless struct{ cancel func() }

func (e endless) Read(p []byte) (int, error) {
	e.cancel()
	return len(p), nil
}
