package objstoretest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/varve-tsdb/varve/objstore"
)

// wantNames compares a list with what it must hold, and checks its order: the
// objects rise in byte order, and so do the directories. How the two mix is
// the provider's choice.
func wantNames(t *testing.T, got []string, want ...string) {
	t.Helper()
	var objects, dirs []string
	for _, name := range got {
		if strings.HasSuffix(name, objstore.DirDelim) {
			dirs = append(dirs, name)
		} else {
			objects = append(objects, name)
		}
	}
	if !slices.IsSorted(objects) || !slices.IsSorted(dirs) {
		t.Errorf("list is not in order: %q", got)
	}
	if diff := cmp.Diff(slices.Sorted(slices.Values(want)), slices.Sorted(slices.Values(got))); diff != "" {
		t.Errorf("list differs (-want +got):\n%s", diff)
	}
}

func testList(t *testing.T, s suite) {
	wantNames(t, s.list(t, ""))
	wantNames(t, s.list(t, "none"))
	wantNames(t, s.list(t, "", objstore.WithRecursiveIter()))

	all := []string{
		"a", "ab", "ab.c", "b/1", "b/2", "b/sub/1", "b/sub/deep/1", "b-/1", "b.x/1", "bb/1", "bb/10", "bb/2", "c",
	}
	for _, name := range []int{7, 3, 12, 0, 5, 9, 1, 11, 4, 8, 2, 10, 6} {
		s.put(t, all[name], "x")
	}
	for _, c := range []struct {
		dir       string
		recursive bool
		want      []string
	}{
		{dir: "", want: []string{"a", "ab", "ab.c", "b/", "b-/", "b.x/", "bb/", "c"}},
		{dir: "b", want: []string{"b/1", "b/2", "b/sub/"}},
		{dir: "b/", want: []string{"b/1", "b/2", "b/sub/"}},
		{dir: "b/sub", want: []string{"b/sub/1", "b/sub/deep/"}},
		{dir: "b/sub/", want: []string{"b/sub/1", "b/sub/deep/"}},
		{dir: "bb", want: []string{"bb/1", "bb/10", "bb/2"}},
		{dir: "b/su", want: nil},
		{dir: "a", want: nil},
		{dir: "b/1", want: nil},
		{dir: "zz", want: nil},
		{dir: "", recursive: true, want: all},
		{dir: "b", recursive: true, want: []string{"b/1", "b/2", "b/sub/1", "b/sub/deep/1"}},
		{dir: "b/", recursive: true, want: []string{"b/1", "b/2", "b/sub/1", "b/sub/deep/1"}},
		{dir: "a", recursive: true, want: nil},
		{dir: "zz", recursive: true, want: nil},
	} {
		t.Run(fmt.Sprintf("%q recursive=%v", c.dir, c.recursive), func(t *testing.T) {
			var options []objstore.IterOption
			if c.recursive {
				options = append(options, objstore.WithRecursiveIter())
			}
			wantNames(t, s.list(t, c.dir, options...), c.want...)
		})
	}
}

func testListAttributes(t *testing.T, s suite) {
	before := time.Now().Add(-time.Hour)
	s.put(t, "dir/a", "x")
	s.put(t, "dir/b/c", "x")

	options := []objstore.IterOption{objstore.WithRecursiveIter()}
	if !slices.Contains(s.SupportedIterOptions(), objstore.Recursive) {
		t.Error("the recursive option is not supported")
	}
	dated := slices.Contains(s.SupportedIterOptions(), objstore.UpdatedAt)
	if dated {
		options = append(options, objstore.WithUpdatedAt())
	}
	var names []string
	err := s.IterWithAttributes(s.ctx, "dir", func(attrs objstore.IterObjectAttributes) error {
		names = append(names, attrs.Name)
		modified, ok := attrs.LastModified()
		if ok != dated || dated && modified.Before(before) {
			t.Errorf("%q was modified at %v, %v", attrs.Name, modified, ok)
		}
		return nil
	}, options...)
	if err != nil {
		t.Fatalf("IterWithAttributes: %v", err)
	}
	wantNames(t, names, "dir/a", "dir/b/c")

	if !dated {
		err := s.IterWithAttributes(s.ctx, "dir", func(objstore.IterObjectAttributes) error { return nil }, objstore.WithUpdatedAt())
		if !errors.Is(err, objstore.ErrOptionNotSupported) {
			t.Errorf("an option that is not supported: %v, want ErrOptionNotSupported", err)
		}
	}
}

func testListEndsEarly(t *testing.T, s suite) {
	for i := range 10 {
		s.put(t, fmt.Sprintf("dir/%d", i), "x")
	}
	stop := errors.New("enough")
	for _, options := range [][]objstore.IterOption{nil, {objstore.WithRecursiveIter()}} {
		var names []string
		err := s.Iter(s.ctx, "dir", func(name string) error {
			names = append(names, name)
			if len(names) == 3 {
				return stop
			}
			return nil
		}, options...)
		if !errors.Is(err, stop) {
			t.Errorf("Iter returned %v, want the error of the callback", err)
		}
		if diff := cmp.Diff([]string{"dir/0", "dir/1", "dir/2"}, names); diff != "" {
			t.Errorf("entries before the callback failed (-want +got):\n%s", diff)
		}
	}
}

// testListMany goes beyond the 1000 entries of a page that most providers have.
func testListMany(t *testing.T, s suite) {
	if testing.Short() {
		t.Skip("many objects")
	}
	const n = 1100
	want := make([]string, n)
	errs := make(chan error, n)
	limit := make(chan struct{}, 16)
	for i := range want {
		want[i] = fmt.Sprintf("many/%04d", i)
		limit <- struct{}{}
		go func() {
			errs <- s.Upload(s.ctx, want[i], reader("x"))
			<-limit
		}()
	}
	for range want {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	wantNames(t, s.list(t, "many"), want...)
	wantNames(t, s.list(t, "", objstore.WithRecursiveIter()), want...)
	wantNames(t, s.list(t, ""), "many/")
}

func testUseWhileListing(t *testing.T, s suite) {
	for i := range 5 {
		s.put(t, fmt.Sprintf("dir/%d", i), fmt.Sprint(i))
	}
	var n int
	err := s.Iter(s.ctx, "dir", func(name string) error {
		s.wantContent(t, name, fmt.Sprint(n))
		n++
		return s.Delete(s.ctx, name)
	})
	if err != nil || n != 5 {
		t.Fatalf("deleting each entry while it is listed: %d entries, %v", n, err)
	}
	wantNames(t, s.list(t, "dir"))
}

func testDirectories(t *testing.T, s suite) {
	s.put(t, "dir/sub/object", "x")
	for _, name := range []string{"dir", "dir/sub"} {
		s.wantMissing(t, name)
		if err := s.Delete(s.ctx, name); err != nil && !s.IsObjNotFoundErr(err) {
			t.Errorf("Delete of directory %q: %v; want no error or one that is IsObjNotFoundErr", name, err)
		}
	}
	s.wantContent(t, "dir/sub/object", "x")
}
