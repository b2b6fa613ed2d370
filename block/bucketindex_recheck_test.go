package block

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

// recheck fails unless a look at the bucket itself succeeds.
func recheck(t testing.TB, f *Fetcher) *View {
	t.Helper()
	v, err := f.Recheck(t.Context())
	must(t, err)
	return v
}

// Who has found that a block is gone is not told by the index that it is there: not
// by a base that has appeared since, nor by one that appears later, and was begun
// before. Once the block is back, or an index does without it, that is used again.
func TestRecheckAsksTheBucket(t *testing.T) {
	mem := indexedBucket(t, 3)
	reader := newTestFetcher(t, mem, FetcherOptions{})
	used := func() float64 {
		return testutil.ToFloat64(reader.metrics.indexReads.WithLabelValues(string(indexUsed)))
	}
	fetch(t, reader)
	// Others keep the index from copies of the bucket as it was a moment ago.
	late := func(before *objstoretest.Memory) {
		t.Helper()
		must(t, newTestIndex(t, before, BucketIndexOptions{}).Reconcile(t.Context()))
		for _, name := range indexNames(mem) {
			must(t, mem.Delete(t.Context(), name))
		}
		for _, name := range indexNames(before) {
			mem.Put(name, before.Objects()[name])
		}
	}
	before := mem.Copy()
	must(t, Delete(t.Context(), mem, testID(1)))
	late(before)
	gone := func(v *View) {
		t.Helper()
		if len(v.Blocks) != 2 || v.Find(testID(1)) != nil {
			t.Fatalf("the reader sees\n%s", describe(v))
		}
	}
	gone(recheck(t, reader))
	gone(fetch(t, reader))
	late(before)
	gone(fetch(t, reader))
	gone(fetch(t, reader))

	must(t, newTestIndex(t, mem, BucketIndexOptions{}).Reconcile(t.Context()))
	n := used()
	gone(fetch(t, reader))
	if used() != n+1 {
		t.Error("the index that does without the block is not used")
	}
	late(before)
	gone(fetch(t, reader))
	putBlock(t, mem, testMeta(1))
	must(t, newTestIndex(t, mem, BucketIndexOptions{}).Reconcile(t.Context()))
	fetch(t, reader)
	wantExactly(t, mem, reader)
	n = used()
	fetch(t, reader)
	if used() != n+1 {
		t.Error("the index is not used after the block has come back")
	}
}

// A look at the bucket that finds another block under the ULID is not undone by an
// index that knows the one before.
func TestRecheckSeesWhatTookAPlace(t *testing.T) {
	mem := indexedBucket(t, 3)
	reader := newTestFetcher(t, mem, FetcherOptions{})
	fetch(t, reader)
	edit(t, mem, 1, "another")
	wantCluster(t, recheck(t, reader), 1, "another")
	wantCluster(t, fetch(t, reader), 1, "another")
	must(t, newTestIndex(t, mem, BucketIndexOptions{}).Reconcile(t.Context()))
	used := func() float64 {
		return testutil.ToFloat64(reader.metrics.indexReads.WithLabelValues(string(indexUsed)))
	}
	n := used()
	wantCluster(t, fetch(t, reader), 1, "another")
	if used() != n+1 {
		t.Error("the new index is not used")
	}
}
