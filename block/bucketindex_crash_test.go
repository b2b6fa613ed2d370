package block

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/oklog/ulid/v2"

	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

// The power is cut at each step of a Shipper that tells the index of its blocks.
// Until it starts again readers see nothing that is not whole, and then exactly
// what is there.
func TestBucketIndexShipCrash(t *testing.T) {
	cutEverywhere(t, func(t *testing.T, cut func(*objstoretest.Memory) *objstoretest.Crashing) bool {
		dir := t.TempDir()
		for _, n := range []int{5, 6} {
			writeTestBlock(t, dir, testMeta(n), 1)
		}
		mem := indexedBucket(t, 3)
		reader := newTestFetcher(t, mem, FetcherOptions{})
		fetch(t, reader)
		bkt := cut(mem)
		_ = ship(t, bkt, dir, ShipperOptions{})
		for _, f := range []*Fetcher{reader, newTestFetcher(t, mem, FetcherOptions{})} {
			wantWhole(t, mem, fetch(t, f), testID(0), testID(1), testID(2))
		}
		// What the process wrote locally after the cut did not get to the disk.
		must(t, os.RemoveAll(filepath.Join(dir, ShipperFilename)))
		must(t, ship(t, mem, dir, ShipperOptions{}))
		wantExactly(t, mem, reader)
		if v := reader.View(); len(v.Blocks) != 5 {
			t.Errorf("the reader sees\n%s", describe(v))
		}
		return bkt.Crashed()
	})
}

// The power is cut at each step of a Reconcile, while the index has news and
// others have changed the bucket. Readers see no less than before, and another
// Reconcile, by whomever, makes them see exactly what is there.
func TestBucketIndexReconcileCrash(t *testing.T) {
	cutEverywhere(t, func(t *testing.T, cut func(*objstoretest.Memory) *objstoretest.Crashing) bool {
		mem := indexedBucket(t, 3)
		for n := 3; n < 6; n++ {
			putBlock(t, mem, testMeta(n))
			must(t, newTestIndex(t, mem, BucketIndexOptions{}).Put(t.Context(), Entry{ID: testID(n), Meta: testMeta(n)}))
		}
		must(t, Delete(t.Context(), mem, testID(0)))
		must(t, newTestIndex(t, mem, BucketIndexOptions{}).Remove(t.Context(), testID(0)))
		reader := newTestFetcher(t, mem, FetcherOptions{})
		fetch(t, reader)
		putBlock(t, mem, testMeta(6))
		_, err := MarkForDeletion(t.Context(), mem, testID(1), "")
		must(t, err)

		bkt := cut(mem)
		err = newTestIndex(t, bkt, BucketIndexOptions{}).Reconcile(t.Context())
		if err != nil {
			wantErrorIs(t, err, objstoretest.ErrCrashed)
		}
		for _, f := range []*Fetcher{reader, newTestFetcher(t, mem, FetcherOptions{})} {
			v := fetch(t, f)
			wantWhole(t, mem, v, testID(1), testID(2), testID(3), testID(4), testID(5))
			if err == nil && v.Find(testID(6)) == nil {
				t.Error("a Reconcile that has ended well is not seen")
			}
		}
		must(t, newTestIndex(t, mem, BucketIndexOptions{}).Reconcile(t.Context()))
		wantExactly(t, mem, reader)
		if names := indexNames(mem); len(names) != 1 {
			t.Errorf("objects of the index %q, want one", names)
		}
		return bkt.Crashed()
	})
}

// cutEverywhere runs a test with the power cut one step later each time until it
// reports that it was not cut, with whole and with torn uploads.
func cutEverywhere(t *testing.T, test func(t *testing.T, cut func(*objstoretest.Memory) *objstoretest.Crashing) bool) {
	for _, tear := range []bool{false, true} {
		for n, more := 0, true; more && !t.Failed(); n++ {
			t.Run(fmt.Sprintf("tear %t after %d", tear, n), func(t *testing.T) {
				more = test(t, func(mem *objstoretest.Memory) *objstoretest.Crashing {
					bkt := objstoretest.NewCrashing(mem, n)
					if tear {
						bkt.TearUpload()
					}
					return bkt
				})
			})
		}
	}
}

// wantWhole fails unless the view has blocks that are whole only, and those
// named among them.
func wantWhole(t *testing.T, mem *objstoretest.Memory, v *View, want ...ulid.ULID) {
	t.Helper()
	objects := mem.Objects()
	for _, m := range v.Blocks {
		if objects[MetaObject(m.ULID)] == nil {
			t.Errorf("block %s is seen and has no meta.json", m.ULID)
		}
		for _, f := range m.Thanos.Files {
			if f.RelPath != MetaFilename && int64(len(objects[object(m.ULID, f.RelPath)])) != f.SizeBytes {
				t.Errorf("block %s is seen and its %s is not whole", m.ULID, f.RelPath)
			}
		}
	}
	for _, id := range want {
		if !slices.Contains(idsOf(v.Blocks), id) {
			t.Errorf("block %s is not seen", id)
		}
	}
}
