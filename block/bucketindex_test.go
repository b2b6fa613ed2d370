package block

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/sync/errgroup"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

func newTestIndex(t testing.TB, bkt objstore.Bucket, opts BucketIndexOptions) *BucketIndex {
	t.Helper()
	b, err := NewBucketIndex(bkt, opts)
	must(t, err)
	return b
}

// indexedBucket has n blocks and an index of them.
func indexedBucket(t testing.TB, n int) *objstoretest.Memory {
	t.Helper()
	mem := objstoretest.NewMemory()
	for i := range n {
		putBlock(t, mem, testMeta(i))
	}
	must(t, newTestIndex(t, mem, BucketIndexOptions{}).Reconcile(t.Context()))
	return mem
}

// indexNames are the objects of the index.
func indexNames(mem *objstoretest.Memory) []string {
	return slices.DeleteFunc(mem.Names(), func(name string) bool { return !strings.HasPrefix(name, bucketIndexDir) })
}

// wantExactly fails unless all readers see what the bucket has: those given, and
// one that has just started.
func wantExactly(t testing.TB, mem *objstoretest.Memory, readers ...*Fetcher) {
	t.Helper()
	want := describe(fetch(t, newTestFetcher(t, mem, FetcherOptions{NoIndex: true})))
	for _, f := range append(readers, newTestFetcher(t, mem, FetcherOptions{})) {
		if diff := cmp.Diff(want, describe(fetch(t, f))); diff != "" {
			t.Fatalf("blocks in the bucket and blocks seen (-want +got):\n%s", diff)
		}
	}
}

// The requests of a start and of a pass do not depend on how many blocks there
// are, and what a reader learns is what it would have read.
func TestBucketIndexRequests(t *testing.T) {
	for _, n := range []int{1, 7, 100} {
		mem := indexedBucket(t, n)
		wantExactly(t, mem)
		rec := objstoretest.NewRecorder(mem)
		f := newTestFetcher(t, rec, FetcherOptions{})
		v := fetch(t, f)
		list, base := "iter "+bucketIndexDir+"\n", "get "+indexNames(mem)[0]+"\n"
		if diff := cmp.Diff(list+base, rec.Lines()); diff != "" || len(v.Blocks) != n {
			t.Errorf("start over %d blocks finds %d; requests (-want +got):\n%s", n, len(v.Blocks), diff)
		}
		for i := range v.Blocks {
			m, err := ReadMeta(t.Context(), mem, testID(i))
			must(t, err)
			if diff := cmp.Diff(m, v.Find(testID(i))); diff != "" {
				t.Fatalf("meta.json and what the index says of it (-want +got):\n%s", diff)
			}
		}
		rec.Reset()
		fetch(t, f)
		if diff := cmp.Diff(list, rec.Lines()); diff != "" {
			t.Errorf("next pass over %d blocks, requests (-want +got):\n%s", n, diff)
		}

		putBlock(t, mem, testMeta(n))
		must(t, newTestIndex(t, mem, BucketIndexOptions{}).Put(t.Context(), Entry{ID: testID(n), Meta: testMeta(n)}))
		rec.Reset()
		if v := fetch(t, f); v.Find(testID(n)) == nil {
			t.Error("a new block is not seen")
		}
		got := strings.TrimPrefix(rec.Lines(), list+"get "+bucketIndexDir)
		if strings.Count(got, "\n") != 1 || !strings.HasSuffix(got, deltaSuffix+"\n") {
			t.Errorf("pass with a new block, requests:\n%s", rec.Lines())
		}
	}
}

// A BucketIndex tells by one object, however much it has to tell.
func TestBucketIndexTellsByOneObject(t *testing.T) {
	mem := indexedBucket(t, 3)
	b := newTestIndex(t, mem, BucketIndexOptions{})
	reader := newTestFetcher(t, mem, FetcherOptions{})
	fetch(t, reader)
	for n := 3; n < 6; n++ {
		putBlock(t, mem, testMeta(n))
		must(t, b.Put(t.Context(), Entry{ID: testID(n), Meta: testMeta(n)}))
		wantExactly(t, mem, reader)
	}
	_, err := MarkForDeletion(t.Context(), mem, testID(1), "too old")
	must(t, err)
	mark, err := ReadMark(t.Context(), mem, testID(1), DeletionMark)
	must(t, err)
	must(t, b.Put(t.Context(), Entry{ID: testID(1), Deletion: &mark}, Entry{ID: testID(2), Marks: MarkKinds(NoCompactMark)}))
	_, err = PutMark(t.Context(), mem, Mark{Kind: NoCompactMark, ID: testID(2)})
	must(t, err)
	wantExactly(t, mem, reader)

	must(t, Delete(t.Context(), mem, testID(0)))
	must(t, b.Remove(t.Context(), testID(0)))
	wantExactly(t, mem, reader)
	putBlock(t, mem, testMeta(0))
	must(t, b.Put(t.Context(), Entry{ID: testID(0), Meta: testMeta(0)}))
	wantExactly(t, mem, reader)
	if names := indexNames(mem); len(names) != 2 {
		t.Errorf("objects of the index %q, want a base and a delta", names)
	}
	must(t, b.Reconcile(t.Context()))
	wantExactly(t, mem, reader)
	if names := indexNames(mem); len(names) != 1 {
		t.Errorf("objects of the index %q, want a base", names)
	}
}

// A block of a newer upload is that, in whichever order objects are read.
func TestBucketIndexTakesTheLaterUpload(t *testing.T) {
	mem := indexedBucket(t, 2)
	again := testMeta(1)
	again.Thanos.UploadTime = time.Now().UTC()
	must(t, newTestIndex(t, mem, BucketIndexOptions{}).Put(t.Context(), Entry{ID: testID(1), Meta: again}))
	v := fetch(t, newTestFetcher(t, mem, FetcherOptions{}))
	if got := v.Find(testID(1)).Thanos.UploadTime; !got.Equal(again.Thanos.UploadTime) || len(v.Blocks) != 2 {
		t.Errorf("upload time %s of %d blocks, want %s of 2", got, len(v.Blocks), again.Thanos.UploadTime)
	}
}

// What others do is seen after the next Reconcile, all of it: blocks that came
// and went, markers of any state, blocks that are broken or not yet whole.
func TestBucketIndexSeesOthers(t *testing.T) {
	mem := indexedBucket(t, 5)
	reader := newTestFetcher(t, mem, FetcherOptions{})
	before := describe(fetch(t, reader))

	putBlock(t, mem, testMeta(6))
	must(t, Delete(t.Context(), mem, testID(0)))
	for n, kind := range map[int]MarkKind{1: DeletionMark, 2: NoCompactMark, 6: NoDownsampleMark} {
		_, err := PutMark(t.Context(), mem, Mark{Kind: kind, ID: testID(n), Time: time.Now().Add(-48 * time.Hour)})
		must(t, err)
	}
	mem.Put(MarkObject(testID(3), DeletionMark), []byte(`{"version":7}`))
	mem.Put(MarkObject(testID(4), DeletionMark), []byte(`{`))
	mem.Put(MetaObject(testID(7)), []byte("{trunc"))
	mem.Put(IndexObject(testID(8)), []byte("no meta.json yet"))
	if diff := cmp.Diff(before, describe(fetch(t, reader))); diff != "" {
		t.Errorf("without a Reconcile something has changed:\n%s", diff)
	}
	b := newTestIndex(t, mem, BucketIndexOptions{})
	must(t, b.Reconcile(t.Context()))
	wantExactly(t, mem, reader)
	if v := reader.View(); len(v.Blocks) != 3 || len(v.Hidden) != 2 || len(v.Partial) != 2 || len(v.Warnings) != 2 {
		t.Errorf("the reader sees\n%s", describe(v))
	}

	// And back.
	for _, n := range []int{1, 3, 4} {
		must(t, RemoveMark(t.Context(), mem, testID(n), DeletionMark))
	}
	putBlock(t, mem, testMeta(7))
	putBlock(t, mem, testMeta(8))
	must(t, b.Reconcile(t.Context()))
	wantExactly(t, mem, reader)
	if v := reader.View(); len(v.Blocks) != 7 {
		t.Errorf("the reader sees\n%s", describe(v))
	}
}

// Several that keep one index do not all list the bucket, and all readers see
// foreign blocks within the interval.
func TestBucketIndexRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := objstoretest.NewMemory()
		rec := objstoretest.NewRecorder(mem)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		const writers = 4
		for range writers {
			b := newTestIndex(t, rec, BucketIndexOptions{})
			go func() { done <- b.Run(ctx) }()
			time.Sleep(time.Second)
		}
		rec.Reset()
		reader := newTestFetcher(t, mem, FetcherOptions{})
		for n := range 8 {
			putBlock(t, mem, testMeta(n))
			time.Sleep(15 * time.Minute)
			if v := fetch(t, reader); len(v.Blocks) != n+1 {
				t.Errorf("after %d intervals the reader sees\n%s", n+1, describe(v))
			}
		}
		// Two hours, and a Reconcile each seven and a half minutes or a bit more.
		if n := strings.Count(rec.Lines(objstore.OpIter), "iter \n"); n < 10 || n > 16 {
			t.Errorf("%d lists of the bucket by %d writers in two hours", n, writers)
		}
		if n := testutil.ToFloat64(reader.metrics.indexReads.WithLabelValues(string(indexUsed))); n != 8 {
			t.Errorf("the reader used the index %v times of 8", n)
		}
		cancel()
		for range writers {
			must(t, <-done)
		}
		// Nobody keeps it any more.
		putBlock(t, mem, testMeta(9))
		time.Sleep(15*time.Minute + time.Second)
		wantExactly(t, mem, reader)
	})
}

// What could not be told is told later, and what is old news no more.
func TestBucketIndexThroughOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := objstoretest.NewMemory()
		bkt := objstoretest.NewFaulty(mem)
		b := newTestIndex(t, bkt, BucketIndexOptions{})
		must(t, b.Sync(t.Context()))
		bkt.Set(objstoretest.Rule{Fault: objstoretest.Fail(errOutage)})
		for n := range 3 {
			putBlock(t, mem, testMeta(n))
			wantErrorIs(t, b.Put(t.Context(), Entry{ID: testID(n), Meta: testMeta(n)}), errOutage)
		}
		wantErrorIs(t, b.Sync(t.Context()), errOutage)
		bkt.Set()
		must(t, b.Sync(t.Context()))
		wantExactly(t, mem)
		// Told, and told again while it may not have been seen by a Reconcile.
		newsOf := func() (n int) {
			for _, name := range indexNames(mem) {
				if p, _ := parseIndexName(name); !p.base {
					o, err := decodeIndex(p, mem.Objects()[name], maxIndexBytes)
					must(t, err)
					n += len(o.entries)
				}
			}
			return n
		}
		if n := newsOf(); n != 3 {
			t.Errorf("%d blocks in the news, want 3", n)
		}
		time.Sleep(15*time.Minute + time.Second)
		must(t, b.Sync(t.Context()))
		putBlock(t, mem, testMeta(3))
		must(t, b.Put(t.Context(), Entry{ID: testID(3), Meta: testMeta(3)}))
		if n := newsOf(); n != 1 {
			t.Errorf("%d blocks in the news, want 1", n)
		}
		wantExactly(t, mem)
	})
}

func TestBucketIndexConcurrently(t *testing.T) {
	mem := indexedBucket(t, 1)
	b := newTestIndex(t, mem, BucketIndexOptions{})
	reader := newTestFetcher(t, mem, FetcherOptions{})
	var g errgroup.Group
	for w := range 4 {
		g.Go(func() error {
			for n := 1 + w; n < 40; n += 4 {
				putBlock(t, mem, testMeta(n))
				if err := b.Put(t.Context(), Entry{ID: testID(n), Meta: testMeta(n)}); err != nil {
					return err
				}
				v, err := reader.Fetch(t.Context())
				if err != nil || v.Find(testID(n)) == nil {
					return fmt.Errorf("block %d is not seen: %w", n, err)
				}
			}
			return nil
		})
		g.Go(func() error { return b.Reconcile(t.Context()) })
	}
	must(t, g.Wait())
	wantExactly(t, mem, reader)
}

func TestBucketIndexOptions(t *testing.T) {
	_, err := NewBucketIndex(objstoretest.NewMemory(), BucketIndexOptions{ReconcileInterval: -1, Concurrency: -1})
	wantText(t, err, "BucketIndexOptions.ReconcileInterval is -1ns", "BucketIndexOptions.Concurrency is -1")
	_, err = NewShipper(objstoretest.NewMemory(), Dirs{}, ShipperOptions{NoIndex: true, Index: &BucketIndex{}})
	wantText(t, err, "ShipperOptions.NoIndex")

	reg := prometheus.NewPedanticRegistry()
	b := newTestIndex(t, objstoretest.NewMemory(), BucketIndexOptions{Registerer: reg})
	must(t, b.Sync(t.Context()))
	want := `
# HELP varve_block_index_reconciles_total Times that the index of the bucket was made from a listing of the bucket, by result.
# TYPE varve_block_index_reconciles_total counter
varve_block_index_reconciles_total{result="error"} 0
varve_block_index_reconciles_total{result="ok"} 1
`
	must(t, testutil.GatherAndCompare(reg, strings.NewReader(want), "varve_block_index_reconciles_total"))
	_, err = NewBucketIndex(objstoretest.NewMemory(), BucketIndexOptions{Registerer: reg})
	wantText(t, err, "block.BucketIndex", "prometheus.WrapRegistererWith")
}

func TestBucketIndexTooLarge(t *testing.T) {
	o := indexOf(t, 1)
	huge := strings.Repeat("x", maxIndexBytes)
	o.entries[0].Meta.Thanos.Extensions = fmt.Appendf(nil, "%q", huge)
	_, err := o.encode()
	wantErrorIs(t, err, ErrIndexTooLarge)
}
