package block

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/oklog/ulid/v2"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

// putBlock puts a complete block into the bucket.
func putBlock(t testing.TB, bkt *objstoretest.Memory, m *Meta) {
	t.Helper()
	b, err := m.Encode()
	must(t, err)
	bkt.Put(ChunksObject(m.ULID, 1), []byte("chunks"))
	bkt.Put(IndexObject(m.ULID), []byte("index"))
	bkt.Put(MetaObject(m.ULID), b)
}

func newTestFetcher(t testing.TB, bkt objstore.BucketReader, opts FetcherOptions) *Fetcher {
	t.Helper()
	f, err := NewFetcher(bkt, opts)
	must(t, err)
	return f
}

func fetch(t testing.TB, f *Fetcher) *View {
	t.Helper()
	v, err := f.Fetch(t.Context())
	must(t, err)
	if f.View() != v {
		t.Error("View is not what the pass returned")
	}
	return v
}

func TestFetch(t *testing.T) {
	mem := objstoretest.NewMemory()
	for n := 9; n > 0; n-- {
		m := testMeta(n)
		m.MinTime = int64(n % 3)
		putBlock(t, mem, m)
	}
	for _, name := range []string{"debug/metas/" + testID(1).String() + ".json", "varve/index", "README", "foo/" + MetaObject(testID(20))} {
		mem.Put(name, []byte("none of our business"))
	}
	bkt := objstoretest.NewRecorder(mem)
	f := newTestFetcher(t, bkt, FetcherOptions{})
	if v := f.View(); !v.Time.IsZero() || len(v.Blocks) != 0 || v.Find(testID(1)) != nil {
		t.Errorf("before the first pass the view is %+v", v)
	}

	before := time.Now()
	v := fetch(t, f)
	var want []ulid.ULID
	for _, n := range []int{3, 6, 9, 1, 4, 7, 2, 5, 8} {
		want = append(want, testID(n))
	}
	if diff := cmp.Diff(want, idsOf(v.Blocks)); diff != "" {
		t.Errorf("blocks by time, then ULID (-want +got):\n%s", diff)
	}
	if len(v.Hidden)+len(v.Partial)+len(v.Deletions)+len(v.Marks)+len(v.Warnings) != 0 {
		t.Errorf("more than blocks: %+v", v)
	}
	if v.Time.Before(before) || v.Find(testID(4)).ULID != testID(4) || v.Find(testID(20)) != nil {
		t.Errorf("time %s, want after %s; Find(4) is %v", v.Time, before, v.Find(testID(4)))
	}
	if n := len(bkt.Log()); n != 11 {
		t.Errorf("%d requests for 9 new blocks, want 11", n)
	}

	// From then on a pass is one sweep, as long as there is no index.
	bkt.Reset()
	fetch(t, f)
	if diff := cmp.Diff("iter "+bucketIndexDir+"\niter \n", bkt.Lines()); diff != "" {
		t.Errorf("requests of the second pass (-want +got):\n%s", diff)
	}
}

func TestFetchReportsBrokenBlocks(t *testing.T) {
	mem := objstoretest.NewMemory()
	putBlock(t, mem, testMeta(1))
	putBlock(t, mem, testMeta(2))
	putBlock(t, mem, testMeta(6))
	mem.Put(IndexObject(testID(3)), []byte("no meta.json yet"))
	mem.Put(MetaObject(testID(4)), []byte("{trunc"))
	mem.Put(MetaObject(testID(5)), mem.Objects()[MetaObject(testID(1))])
	bkt := objstoretest.NewFaulty(mem)
	bkt.Set(objstoretest.Rule{Op: objstore.OpGet, Name: MetaObject(testID(2)), Fault: objstoretest.Fail(errOutage)},
		objstoretest.Rule{Op: objstore.OpGet, Name: MetaObject(testID(6)), Fault: objstoretest.Truncate(10)})

	f := newTestFetcher(t, bkt, FetcherOptions{})
	v := fetch(t, f)
	if diff := cmp.Diff([]ulid.ULID{testID(1)}, idsOf(v.Blocks)); diff != "" {
		t.Errorf("blocks (-want +got):\n%s", diff)
	}
	want := []struct {
		id  ulid.ULID
		err error
	}{
		{testID(2), errOutage},
		{testID(3), ErrMetaNotFound},
		{testID(4), ErrMetaInvalid},
		{testID(5), ErrMetaInvalid},
		{testID(6), objstore.ErrTruncated},
	}
	if len(v.Partial) != len(want) {
		t.Fatalf("partial blocks %v, want %d", v.Partial, len(want))
	}
	for i, w := range want {
		if p := v.Partial[i]; p.ID != w.id {
			t.Errorf("partial block %d is %s, want %s", i, p.ID, w.id)
		} else {
			wantErrorIs(t, p.Err, w.err)
			wantText(t, p.Err, w.id.String())
		}
	}

	// Each is back as soon as it is well.
	bkt.Set()
	for _, n := range []int{3, 4, 5} {
		putBlock(t, mem, testMeta(n))
	}
	if v := fetch(t, f); len(v.Blocks) != 6 || len(v.Partial) != 0 {
		t.Errorf("%d blocks, partial %v, want 6 and none", len(v.Blocks), v.Partial)
	}
	must(t, mem.Delete(t.Context(), MetaObject(testID(4))))
	if v := fetch(t, f); len(v.Blocks) != 5 || len(v.Partial) != 1 {
		t.Errorf("%d blocks, partial %v, want 5 and the deleted one", len(v.Blocks), v.Partial)
	}
}

func TestFetchFailsWithListing(t *testing.T) {
	mem := objstoretest.NewMemory()
	putBlock(t, mem, testMeta(1))
	bkt := objstoretest.NewFaulty(mem)
	f := newTestFetcher(t, bkt, FetcherOptions{})
	good := fetch(t, f)

	putBlock(t, mem, testMeta(2))
	bkt.Set(objstoretest.Rule{Op: objstore.OpIter, Fault: objstoretest.Fail(errOutage)})
	_, err := f.Fetch(t.Context())
	wantErrorIs(t, err, errOutage)
	if f.View() != good {
		t.Error("the failed pass changed the view")
	}

	// A pass that is cut off must not report what it did not get to as broken.
	bkt.Set(objstoretest.Rule{Op: objstore.OpGet, Fault: objstoretest.Stall()})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err = f.Fetch(ctx)
	wantErrorIs(t, err, context.DeadlineExceeded)
	if f.View() != good {
		t.Error("the canceled pass changed the view")
	}
	bkt.Set()
	if v := fetch(t, f); len(v.Blocks) != 2 {
		t.Errorf("%d blocks after the outage, want 2", len(v.Blocks))
	}
}

func TestFetchMarks(t *testing.T) {
	mem := objstoretest.NewMemory()
	for n := 1; n <= 6; n++ {
		putBlock(t, mem, testMeta(n))
	}
	put := func(n int, kind MarkKind, at time.Time) {
		_, err := PutMark(t.Context(), mem, Mark{Kind: kind, ID: testID(n), Time: at})
		must(t, err)
	}
	old, recent := time.Now().Add(-48*time.Hour).Truncate(time.Second), time.Now().Add(-time.Hour).Truncate(time.Second)
	put(1, DeletionMark, old)
	put(2, DeletionMark, recent)
	put(3, NoCompactMark, old)
	put(3, NoDownsampleMark, old)
	mem.Put(MarkObject(testID(4), DeletionMark), []byte("{"))
	mem.Put(MarkObject(testID(5), DeletionMark), []byte(`{"version":7}`))
	put(7, DeletionMark, old) // of a block that is all but gone
	faulty := objstoretest.NewFaulty(mem)
	faulty.Set(objstoretest.Rule{Op: objstore.OpGet, Name: MarkObject(testID(2), DeletionMark), Times: 1, Fault: objstoretest.Fail(errOutage)})
	bkt := objstoretest.NewRecorder(faulty)

	f := newTestFetcher(t, bkt, FetcherOptions{})
	v := fetch(t, f)
	if diff := cmp.Diff([]ulid.ULID{testID(2), testID(3), testID(4), testID(6)}, idsOf(v.Blocks)); diff != "" {
		t.Errorf("blocks (-want +got):\n%s", diff)
	}
	hidden := []Hidden{
		{Meta: v.Find(testID(1)), Reason: HiddenMarked}, {Meta: v.Find(testID(5)), Reason: HiddenUnknownMark},
	}
	if diff := cmp.Diff(hidden, v.Hidden); diff != "" {
		t.Errorf("hidden blocks (-want +got):\n%s", diff)
	}
	if v.Find(testID(1)) == nil {
		t.Error("a hidden block is not found")
	}
	if got := v.Deletions[testID(1)].Time; !got.Equal(old) || len(v.Deletions) != 2 || v.Deletions[testID(7)].Kind == 0 {
		t.Errorf("deletions %+v, want 1 and 7", v.Deletions)
	}
	if m := v.Marks[testID(3)]; !m.Has(NoCompactMark) || !m.Has(NoDownsampleMark) || m.Has(DeletionMark) || len(v.Marks) != 6 {
		t.Errorf("marks %v", v.Marks)
	}
	if len(v.Warnings) != 3 {
		t.Errorf("warnings %v, want 3", v.Warnings)
	}
	all := ""
	for _, w := range v.Warnings {
		all += w.Error() + "\n"
	}
	for _, n := range []int{2, 4, 5} {
		if !strings.Contains(all, testID(n).String()) {
			t.Errorf("no warning about block %d in\n%s", n, all)
		}
	}

	// Known marks are not read again; what could not be read is.
	bkt.Reset()
	v = fetch(t, f)
	if !v.Deletions[testID(2)].Time.Equal(recent) {
		t.Errorf("deletions %+v, want 2 among them", v.Deletions)
	}
	gets := strings.Fields(strings.ReplaceAll(bkt.Lines(objstore.OpGet), "get ", ""))
	slices.Sort(gets)
	want := []string{MarkObject(testID(2), DeletionMark), MarkObject(testID(4), DeletionMark), MarkObject(testID(5), DeletionMark)}
	if diff := cmp.Diff(want, gets); diff != "" {
		t.Errorf("reads of the second pass (-want +got):\n%s", diff)
	}

	// A mark taken off is off.
	must(t, RemoveMark(t.Context(), mem, testID(1), DeletionMark))
	if v := fetch(t, f); len(v.Hidden) != 1 || len(v.Blocks) != 5 {
		t.Errorf("%d blocks, hidden %+v, want all but block 5 served", len(v.Blocks), v.Hidden)
	}
	// Without a delay a marked block is hidden at once.
	v = fetch(t, newTestFetcher(t, mem, FetcherOptions{IgnoreDeletionMarksDelay: -1}))
	if len(v.Hidden) != 2 || v.Hidden[0].Meta.ULID != testID(2) {
		t.Errorf("hidden %+v, want block 2, and 5 as ever", v.Hidden)
	}
}

// What is known of a deletion mark holds while the mark cannot be read.
func TestFetchMarksThroughOutage(t *testing.T) {
	mem := objstoretest.NewMemory()
	for n := 1; n <= 3; n++ {
		putBlock(t, mem, testMeta(n))
	}
	_, err := PutMark(t.Context(), mem, Mark{Kind: DeletionMark, ID: testID(1), Time: time.Now().Add(-48 * time.Hour)})
	must(t, err)
	mem.Put(MarkObject(testID(2), DeletionMark), []byte(`{"version":7}`))
	bkt := objstoretest.NewFaulty(mem)
	f := newTestFetcher(t, bkt, FetcherOptions{})
	before := fetch(t, f).Hidden
	if len(before) != 2 {
		t.Fatalf("hidden %+v, want blocks 1 and 2", before)
	}

	_, err = MarkForDeletion(t.Context(), mem, testID(3), "not read yet")
	must(t, err)
	bkt.Set(objstoretest.Rule{Op: objstore.OpGet, Fault: objstoretest.Fail(errOutage)})
	for range 3 {
		v := fetch(t, f)
		if diff := cmp.Diff(before, v.Hidden); diff != "" {
			t.Fatalf("hidden blocks (-before +during the outage):\n%s", diff)
		}
		if diff := cmp.Diff([]ulid.ULID{testID(3)}, idsOf(v.Blocks)); diff != "" {
			t.Errorf("blocks (-want +got):\n%s", diff)
		}
		wantErrorIs(t, errors.Join(v.Warnings...), errOutage)
	}

	// A mark that was replaced by one that can be read counts as that.
	bkt.Set()
	must(t, RemoveMark(t.Context(), mem, testID(2), DeletionMark))
	_, err = MarkForDeletion(t.Context(), mem, testID(2), "")
	must(t, err)
	if v := fetch(t, f); len(v.Hidden) != 1 || len(v.Deletions) != 3 || len(v.Warnings) != 0 {
		t.Errorf("hidden %+v, deletions %v, warnings %v; want block 1 hidden, all marked", v.Hidden, v.Deletions, v.Warnings)
	}
}

// lister is what a host or an index of the bucket may bring along.
type lister []Entry

func (l lister) List(context.Context) ([]Entry, error) { return l, nil }

func TestFetchWithLister(t *testing.T) {
	mem := objstoretest.NewMemory()
	putBlock(t, mem, testMeta(2))
	bkt := objstoretest.NewRecorder(mem)
	mark := Mark{Kind: DeletionMark, ID: testID(1), Time: time.Now()}
	f := newTestFetcher(t, bkt, FetcherOptions{Lister: lister{
		{ID: testID(1), HasMeta: true, Meta: testMeta(1), Marks: MarkKinds(DeletionMark), Deletion: &mark},
		{ID: testID(2), HasMeta: true},
	}})
	v := fetch(t, f)
	if diff := cmp.Diff([]ulid.ULID{testID(1), testID(2)}, idsOf(v.Blocks)); diff != "" {
		t.Errorf("blocks (-want +got):\n%s", diff)
	}
	if v.Deletions[testID(1)] != mark {
		t.Errorf("deletions %+v", v.Deletions)
	}
	if diff := cmp.Diff("get "+MetaObject(testID(2))+"\n", bkt.Lines()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestFetchConcurrently(t *testing.T) {
	mem := objstoretest.NewMemory()
	for n := 1; n <= 50; n++ {
		putBlock(t, mem, testMeta(n))
	}
	f := newTestFetcher(t, mem, FetcherOptions{Dir: t.TempDir(), Concurrency: 4})
	done := make(chan error)
	for range 4 {
		go func() {
			_, err := f.Fetch(t.Context())
			done <- err
		}()
	}
	for range 4 {
		_ = f.View().Find(testID(7))
		must(t, <-done)
	}
	if n := len(f.View().Blocks); n != 50 {
		t.Errorf("%d blocks, want 50", n)
	}
}

func TestFetcherOptions(t *testing.T) {
	_, err := NewFetcher(objstoretest.NewMemory(), FetcherOptions{Concurrency: -1, ConsistencyDelay: -1})
	wantText(t, err, "FetcherOptions.Concurrency is -1", "FetcherOptions.ConsistencyDelay is -1ns")

	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o644))
	_, err = NewFetcher(objstoretest.NewMemory(), FetcherOptions{Dir: file})
	wantText(t, err, file)
}
