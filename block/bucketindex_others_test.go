package block

import (
	"testing"
	"time"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

// What a writer was told is not told again once somebody has reconciled the index:
// others may have done something to the block since, and that counts.
func TestNewsAreNotToldAgain(t *testing.T) {
	mem := indexedBucket(t, 3)
	writer, other := newTestIndex(t, mem, BucketIndexOptions{}), newTestIndex(t, mem, BucketIndexOptions{})
	putBlock(t, mem, testMeta(3))
	must(t, writer.Put(t.Context(), Entry{ID: testID(3), Meta: testMeta(3)}))
	must(t, Delete(t.Context(), mem, testID(1)))
	must(t, writer.Remove(t.Context(), testID(1)))
	wantExactly(t, mem)

	must(t, Delete(t.Context(), mem, testID(3)))
	putBlock(t, mem, testMeta(1))
	must(t, other.Reconcile(t.Context()))
	wantExactly(t, mem)
	must(t, writer.Sync(t.Context()))
	putBlock(t, mem, testMeta(4))
	must(t, writer.Put(t.Context(), Entry{ID: testID(4), Meta: testMeta(4)}))
	wantExactly(t, mem)
}

// Of two uploads under one ULID the one that the bucket has last counts, though the
// clock of who brought the other is hours ahead or it does not say when that was.
func TestLaterUploadByTheBucketsClock(t *testing.T) {
	for name, clock := range map[string]time.Time{"ahead": time.Now().Add(3 * time.Hour), "behind": time.Now().Add(-3 * time.Hour)} {
		mem := indexedBucket(t, 3)
		told := func(m *Meta, later time.Duration) Entry {
			t.Helper()
			b, err := m.Encode()
			must(t, err)
			mem.Put(MetaObject(m.ULID), b)
			at := time.Now().Add(later).UTC()
			mem.SetModified(MetaObject(m.ULID), at)
			return Entry{ID: m.ULID, Meta: m, MetaWritten: at}
		}
		m := testMeta(5)
		m.Thanos.Labels, m.Thanos.UploadTime = map[string]string{"cluster": "first"}, clock
		must(t, newTestIndex(t, mem, BucketIndexOptions{}).Put(t.Context(), told(m, 0)))
		m = testMeta(5)
		m.Thanos.Labels = map[string]string{"cluster": "second"}
		if name == "ahead" {
			m.Thanos.UploadTime = time.Now()
		}
		must(t, newTestIndex(t, mem, BucketIndexOptions{}).Put(t.Context(), told(m, time.Minute)))
		t.Log(name)
		wantCluster(t, fetch(t, newTestFetcher(t, mem, FetcherOptions{})), 5, "second")
	}
}

// A marker is no word on whether its block is there.
func TestMarkDoesNotBringABlockBack(t *testing.T) {
	mem := indexedBucket(t, 3)
	must(t, newTestIndex(t, mem, BucketIndexOptions{}).Put(t.Context(), Entry{ID: testID(1), Marks: MarkKinds(NoCompactMark)}))
	must(t, Delete(t.Context(), mem, testID(1)))
	must(t, newTestIndex(t, mem, BucketIndexOptions{}).Remove(t.Context(), testID(1)))
	wantExactly(t, mem)
}

// A meta.json that changed while it could not be read for the index is read by who
// has the one before.
func TestMetaThatTheIndexLacksIsRead(t *testing.T) {
	mem := objstoretest.NewMemory()
	putBlock(t, mem, testMeta(0))
	reader := newTestFetcher(t, mem, FetcherOptions{})
	fetch(t, reader)
	edit(t, mem, 0, "edited")
	bkt := objstoretest.NewFaulty(mem)
	bkt.Set(objstoretest.Rule{Op: objstore.OpGet, Name: MetaObject(testID(0)), Fault: objstoretest.Fail(errOutage)})
	must(t, newTestIndex(t, bkt, BucketIndexOptions{}).Reconcile(t.Context()))
	wantCluster(t, fetch(t, reader), 0, "edited")
}

// Nor does a writer that goes on telling of the one before take its place.
func TestMetaThatTheIndexLacksIsReadThoughAnOlderOneIsTold(t *testing.T) {
	mem := indexedBucket(t, 3)
	writer := newTestIndex(t, mem, BucketIndexOptions{})
	before := fetch(t, newTestFetcher(t, mem, FetcherOptions{})).Find(testID(0))
	attributes, err := mem.Attributes(t.Context(), MetaObject(testID(0)))
	must(t, err)
	must(t, writer.Put(t.Context(), Entry{ID: testID(0), Meta: before, MetaWritten: attributes.LastModified}))
	edit(t, mem, 0, "edited")
	bkt := objstoretest.NewFaulty(mem)
	bkt.Set(objstoretest.Rule{Op: objstore.OpGet, Name: MetaObject(testID(0)), Fault: objstoretest.Fail(errOutage)})
	must(t, newTestIndex(t, bkt, BucketIndexOptions{}).Reconcile(t.Context()))
	must(t, writer.Put(t.Context(), Entry{ID: testID(1), Marks: MarkKinds(NoCompactMark)}))
	wantCluster(t, fetch(t, newTestFetcher(t, mem, FetcherOptions{})), 0, "edited")
}
