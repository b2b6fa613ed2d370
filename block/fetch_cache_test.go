package block

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

func TestFetchDiskCache(t *testing.T) {
	mem := objstoretest.NewMemory()
	for n := 1; n <= 6; n++ {
		putBlock(t, mem, testMeta(n))
	}
	dir := filepath.Join(t.TempDir(), "cache", "metas")
	first := fetch(t, newTestFetcher(t, mem, FetcherOptions{Dir: dir}))

	// A restart reads nothing but what is new or does not match its checksum.
	path := func(n int) string { return filepath.Join(dir, testID(n).String()+cacheSuffix) }
	must(t, os.Truncate(path(1), 60))
	must(t, os.WriteFile(path(2), nil, 0o644))
	b, err := os.ReadFile(path(3))
	must(t, err)
	i := strings.Index(string(b), `"minTime": 1`)
	b[i+len(`"minTime": `)] = '2' // still good JSON
	must(t, os.WriteFile(path(3), b, 0o644))
	b, err = os.ReadFile(path(6))
	must(t, err)
	must(t, os.WriteFile(path(4), b, 0o644)) // whole, but another block's
	must(t, os.WriteFile(path(5)+".tmp", []byte("left by a crash"), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "notes.txt"), []byte("a stranger's"), 0o644))

	bkt := objstoretest.NewRecorder(mem)
	f := newTestFetcher(t, bkt, FetcherOptions{Dir: dir})
	v := fetch(t, f)
	if diff := cmp.Diff(first.Blocks, v.Blocks); diff != "" {
		t.Errorf("blocks (-first +after restart):\n%s", diff)
	}
	gets := strings.Fields(strings.ReplaceAll(bkt.Lines(objstore.OpGet), "get ", ""))
	slices.Sort(gets)
	if diff := cmp.Diff([]string{MetaObject(testID(1)), MetaObject(testID(2)), MetaObject(testID(3)), MetaObject(testID(4))}, gets); diff != "" {
		t.Errorf("reads (-want +got):\n%s", diff)
	}

	// What is gone from the bucket goes from the disk.
	must(t, Delete(t.Context(), mem, testID(6)))
	fetch(t, f)
	entries, err := os.ReadDir(dir)
	must(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	want := []string{}
	for n := 1; n <= 5; n++ {
		want = append(want, filepath.Base(path(n)))
	}
	if diff := cmp.Diff(append(want, "notes.txt"), names); diff != "" {
		t.Errorf("files of the cache (-want +got):\n%s", diff)
	}

	// A cache that cannot be written is a pity, no failure.
	must(t, os.RemoveAll(dir))
	putBlock(t, mem, testMeta(8))
	if v := fetch(t, f); len(v.Blocks) != 6 {
		t.Errorf("%d blocks without the cache, want 6", len(v.Blocks))
	}
}
