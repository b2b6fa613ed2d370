package block

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

// A pass that reads a bucket that fails leaves to readers what it could not read.
func TestBucketIndexMadeThroughFaults(t *testing.T) {
	mem := objstoretest.NewMemory()
	for n := range 3 {
		putBlock(t, mem, testMeta(n))
	}
	_, err := MarkForDeletion(t.Context(), mem, testID(2), "")
	must(t, err)
	bkt := objstoretest.NewFaulty(mem)
	bkt.Set(objstoretest.Rule{Op: objstore.OpGet, Name: MetaObject(testID(1)), Fault: objstoretest.Fail(errOutage)},
		objstoretest.Rule{Op: objstore.OpGet, Name: MarkObject(testID(2), DeletionMark), Fault: objstoretest.Fail(errOutage)})
	b := newTestIndex(t, bkt, BucketIndexOptions{})
	must(t, b.Reconcile(t.Context()))
	rec := objstoretest.NewRecorder(mem)
	if v := fetch(t, newTestFetcher(t, rec, FetcherOptions{})); len(v.Blocks) != 3 || len(v.Deletions) != 1 || len(rec.Log()) != 4 {
		t.Errorf("the reader sees\n%sand asks\n%s", describe(v), rec.Lines())
	}
	wantExactly(t, mem)

	for _, op := range []string{objstore.OpIter, objstore.OpUpload} {
		bkt.Set(objstoretest.Rule{Op: op, Fault: objstoretest.Fail(errOutage)})
		wantErrorIs(t, b.Reconcile(t.Context()), errOutage)
		wantExactly(t, mem)
	}
	// What cannot be deleted goes the next time.
	bkt.Set(objstoretest.Rule{Op: objstore.OpDelete, Fault: objstoretest.Fail(errOutage)})
	must(t, b.Reconcile(t.Context()))
	must(t, b.Reconcile(t.Context()))
	wantExactly(t, mem)
	bkt.Set()
	must(t, b.Reconcile(t.Context()))
	if names := indexNames(mem); len(names) != 1 {
		t.Errorf("objects of the index %q, want one", names)
	}
}

// An index that cannot be used costs requests, and nothing else: the bucket is
// listed, and the next Reconcile puts it right.
func TestBucketIndexUnusable(t *testing.T) {
	edit := func(change func(b []byte) []byte) func(*testing.T, *objstoretest.Memory, string) {
		return func(_ *testing.T, mem *objstoretest.Memory, name string) { mem.Put(name, change(mem.Objects()[name])) }
	}
	for _, test := range []struct {
		name  string
		harm  func(t *testing.T, mem *objstoretest.Memory, base string)
		use   indexUse
		metas int // that are read again
	}{
		{"deleted", func(t *testing.T, mem *objstoretest.Memory, base string) { must(t, mem.Delete(t.Context(), base)) }, indexAbsent, 4},
		{"empty", edit(func([]byte) []byte { return nil }), indexInvalid, 4},
		{"truncated", edit(func(b []byte) []byte { return b[:len(b)-1] }), indexInvalid, 4},
		{"flipped", edit(func(b []byte) []byte { b = slices.Clone(b); b[len(b)/2] ^= 8; return b }), indexInvalid, 4},
		{"newer version", edit(func(b []byte) []byte { b = slices.Clone(b); b[len(indexMagic)]++; return b }), indexInvalid, 4},
		{"broken delta", func(_ *testing.T, mem *objstoretest.Memory, _ string) {
			mem.Put(newIndexName(9, time.Now()).String(), []byte("torn"))
		}, indexInvalid, 1},
		{"torn base", func(_ *testing.T, mem *objstoretest.Memory, _ string) {
			n := newIndexName(9, time.Now().Add(time.Second))
			n.base = true
			mem.Put(n.String(), []byte("torn"))
		}, indexInvalid, 1},
		{"stale", func(t *testing.T, mem *objstoretest.Memory, base string) { rename(t, mem, base, -16*time.Minute) }, indexStale, 1},
		{"from the future", func(t *testing.T, mem *objstoretest.Memory, base string) { rename(t, mem, base, 16*time.Minute) }, indexStale, 1},
		{"copied", func(_ *testing.T, mem *objstoretest.Memory, base string) {
			n, _ := parseIndexName(base)
			n.number++
			mem.Put(n.String(), mem.Objects()[base])
		}, indexInvalid, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			mem := indexedBucket(t, 3)
			reader := newTestFetcher(t, mem, FetcherOptions{})
			fetch(t, reader)
			test.harm(t, mem, indexNames(mem)[0])
			putBlock(t, mem, testMeta(3)) // which no index knows
			wantExactly(t, mem)

			rec := objstoretest.NewRecorder(mem)
			f := newTestFetcher(t, rec, FetcherOptions{})
			fetch(t, f)
			if n := strings.Count(rec.Lines(objstore.OpGet), MetaFilename); n != test.metas {
				t.Errorf("%d metas read, want %d", n, test.metas)
			}
			if n := testutil.ToFloat64(f.metrics.indexReads.WithLabelValues(string(test.use))); n != 1 {
				t.Errorf("the metrics do not say %s", test.use)
			}
			must(t, newTestIndex(t, mem, BucketIndexOptions{}).Reconcile(t.Context()))
			wantExactly(t, mem, reader, f)
			if n := testutil.ToFloat64(f.metrics.indexReads.WithLabelValues(string(indexUsed))); n != 1 {
				t.Error("the new index is not used")
			}
		})
	}
}

// What a mark said while nobody kept the index may not be what it says now.
func TestBucketIndexStaleMarks(t *testing.T) {
	mem := objstoretest.NewMemory()
	putBlock(t, mem, testMeta(1))
	mark := func(age time.Duration) {
		must(t, RemoveMark(t.Context(), mem, testID(1), DeletionMark))
		_, err := PutMark(t.Context(), mem, Mark{Kind: DeletionMark, ID: testID(1), Time: time.Now().Add(-age)})
		must(t, err)
	}
	mark(48 * time.Hour)
	must(t, newTestIndex(t, mem, BucketIndexOptions{}).Reconcile(t.Context()))
	rename(t, mem, indexNames(mem)[0], -time.Hour)
	mark(time.Hour)
	wantExactly(t, mem)
	must(t, newTestIndex(t, mem, BucketIndexOptions{}).Reconcile(t.Context()))
	wantExactly(t, mem)
	if v := fetch(t, newTestFetcher(t, mem, FetcherOptions{})); len(v.Blocks) != 1 {
		t.Errorf("the reader sees\n%s", describe(v))
	}
}

// rename moves a base in time.
func rename(t *testing.T, mem *objstoretest.Memory, name string, by time.Duration) {
	t.Helper()
	n, _ := parseIndexName(name)
	o, err := decodeIndex(n, mem.Objects()[name], maxIndexBytes)
	must(t, err)
	o.name.id, err = ulid.New(ulid.Timestamp(time.Now().Add(by)), strings.NewReader("0123456789"))
	must(t, err)
	must(t, mem.Delete(t.Context(), name))
	mem.Put(o.name.String(), encodeIndex(t, o))
}

// Whichever request for the index fails, the pass does not, and says why once.
func TestBucketIndexUnreadable(t *testing.T) {
	for name, rule := range map[string]objstoretest.Rule{
		"list":      {Op: objstore.OpIter, Fault: objstoretest.Fail(errOutage)},
		"get":       {Op: objstore.OpGet, Fault: objstoretest.Fail(errOutage)},
		"truncated": {Op: objstore.OpGet, Fault: objstoretest.Truncate(9)},
	} {
		mem := indexedBucket(t, 3)
		bkt := objstoretest.NewFaulty(mem)
		rule.Name = bucketIndexDir
		bkt.Set(rule)
		var log bytes.Buffer
		f := newTestFetcher(t, bkt, FetcherOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		for range 3 {
			if v := fetch(t, f); len(v.Blocks) != 3 {
				t.Errorf("%s: %d blocks, want 3", name, len(v.Blocks))
			}
		}
		if n := strings.Count(log.String(), "cannot use the index"); n != 1 {
			t.Errorf("%s: %d warnings in\n%s", name, n, &log)
		}
		bkt.Set()
		wantExactly(t, mem, f)
	}
}

// A reader whose list is overtaken by a Reconcile looks again.
func TestBucketIndexReplacedUnderReader(t *testing.T) {
	mem := indexedBucket(t, 3)
	b := newTestIndex(t, mem, BucketIndexOptions{})
	bkt := objstoretest.NewFaulty(mem)
	overtaken := false
	bkt.Set(objstoretest.Rule{Op: objstore.OpGet, Name: bucketIndexDir, Match: func(string, string) bool {
		if !overtaken {
			must(t, b.Reconcile(t.Context()))
		}
		overtaken = true
		return false
	}})
	f := newTestFetcher(t, bkt, FetcherOptions{})
	if v := fetch(t, f); len(v.Blocks) != 3 || testutil.ToFloat64(f.metrics.indexReads.WithLabelValues(string(indexUsed))) != 1 {
		t.Errorf("the reader sees\n%s", describe(v))
	}
}

// Where nothing can be deleted the index grows by names, and costs a reader one
// request more.
func TestBucketIndexWithoutDeletes(t *testing.T) {
	mem := indexedBucket(t, 3)
	bkt := objstoretest.NewFaulty(mem)
	bkt.Set(objstoretest.Rule{Op: objstore.OpDelete, Fault: objstoretest.Fail(errOutage)})
	reader := newTestFetcher(t, mem, FetcherOptions{})
	for n := 3; n < 20; n++ {
		b := newTestIndex(t, bkt, BucketIndexOptions{})
		putBlock(t, mem, testMeta(n))
		must(t, b.Put(t.Context(), Entry{ID: testID(n), Meta: testMeta(n)}))
		wantExactly(t, mem, reader)
		must(t, b.Reconcile(t.Context()))
		wantExactly(t, mem, reader)
	}
	rec := objstoretest.NewRecorder(mem)
	fetch(t, newTestFetcher(t, rec, FetcherOptions{}))
	if n := len(rec.Log()); n != 2 || len(indexNames(mem)) != 35 {
		t.Errorf("%d requests, want 2, with %d objects in the index, want 35", n, len(indexNames(mem)))
	}
	rec.Reset()
	must(t, newTestIndex(t, rec, BucketIndexOptions{}).Reconcile(t.Context()))
	if n := strings.Count(rec.Lines(objstore.OpGet), "\n"); n != 1 {
		t.Errorf("%d reads for a Reconcile, want 1", n)
	}
}
