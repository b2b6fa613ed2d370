package block

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

// edit changes a label in the meta.json that the bucket has of a block, a while
// after that was written, as operators do.
func edit(t testing.TB, mem *objstoretest.Memory, n int, value string) {
	t.Helper()
	name := MetaObject(testID(n))
	before, err := mem.Attributes(t.Context(), name)
	must(t, err)
	m, err := ReadMeta(t.Context(), mem, testID(n))
	must(t, err)
	m.Thanos.Labels = map[string]string{"cluster": value}
	b, err := m.Encode()
	must(t, err)
	mem.Put(name, b)
	mem.SetModified(name, before.LastModified.Add(time.Minute))
}

func wantCluster(t testing.TB, v *View, n int, want string) {
	t.Helper()
	if got := v.Find(testID(n)).Thanos.Labels["cluster"]; got != want {
		t.Errorf("the label of block %d is %q, want %q", n, got, want)
	}
}

func metaReads(rec *objstoretest.Recorder) int {
	return strings.Count(rec.Lines(objstore.OpGet), MetaFilename)
}

// A meta.json that was edited in the bucket is read again, and no other one: by who
// lists the bucket and has it in memory or on disk, and by who keeps the index.
func TestEditedMetaIsSeen(t *testing.T) {
	mem := objstoretest.NewMemory()
	for n := range 9 {
		putBlock(t, mem, testMeta(n))
	}
	rec := objstoretest.NewRecorder(mem)
	dir := filepath.Join(t.TempDir(), "metas")
	running := newTestFetcher(t, rec, FetcherOptions{NoIndex: true, Dir: dir})
	fetch(t, running)
	for _, c := range []struct {
		name, value string
		look        func() *View
	}{
		{"in memory", "second", func() *View { return fetch(t, running) }},
		{"on disk", "third", func() *View { return fetch(t, newTestFetcher(t, rec, FetcherOptions{NoIndex: true, Dir: dir})) }},
	} {
		edit(t, mem, 4, c.value)
		for pass, want := range []int{1, 0} {
			rec.Reset()
			v := c.look()
			wantCluster(t, v, 4, c.value)
			if n := metaReads(rec); n != want || len(v.Blocks) != 9 {
				t.Errorf("%s: %d metas read in pass %d, want %d", c.name, n, pass, want)
			}
		}
	}

	must(t, newTestIndex(t, mem, BucketIndexOptions{}).Reconcile(t.Context()))
	reader := newTestFetcher(t, mem, FetcherOptions{Dir: filepath.Join(t.TempDir(), "metas")})
	fetch(t, reader)
	edit(t, mem, 4, "fourth")
	for pass, want := range []int{1, 0} {
		rec.Reset()
		must(t, newTestIndex(t, rec, BucketIndexOptions{}).Reconcile(t.Context()))
		if n := metaReads(rec); n != want {
			t.Errorf("%d metas read in Reconcile %d, want %d", n, pass, want)
		}
	}
	wantCluster(t, fetch(t, reader), 4, "fourth")
	wantExactly(t, mem, reader)

	// An index that nobody keeps knows what is as it was only.
	rename(t, mem, indexNames(mem)[0], -time.Hour)
	edit(t, mem, 4, "fifth")
	rec.Reset()
	wantCluster(t, fetch(t, newTestFetcher(t, rec, FetcherOptions{})), 4, "fifth")
	if n := metaReads(rec); n != 1 {
		t.Errorf("%d metas read beside an index that is stale, want 1", n)
	}
}

// A meta.json that is edited right after the block was shipped is seen, though the
// Shipper goes on telling what it has uploaded; and one that is not is not read
// again.
func TestShippedMetaIsEdited(t *testing.T) {
	dir := t.TempDir()
	mem := indexedBucket(t, 1)
	s := newTestShipper(t, mem, Dirs{dir: testLabels()}, ShipperOptions{})
	for n := 1; n < 4; n++ {
		writeTestBlock(t, dir, testMeta(n), 2)
	}
	must(t, s.Ship(t.Context()))
	reader := newTestFetcher(t, mem, FetcherOptions{})
	byIndex, byList := fetch(t, reader), fetch(t, newTestFetcher(t, mem, FetcherOptions{NoIndex: true}))
	for n := range 4 {
		if l, i := byList.DataWritten(testID(n)), byIndex.DataWritten(testID(n)); l.IsZero() || !l.Equal(i) {
			t.Errorf("block %d was written at %s by a list, and at %s by the index", n, l, i)
		}
	}
	rec := objstoretest.NewRecorder(mem)
	must(t, newTestIndex(t, rec, BucketIndexOptions{}).Reconcile(t.Context()))
	if n := metaReads(rec); n != 0 {
		t.Errorf("%d metas read of blocks that the index was told of, want none", n)
	}

	edit(t, mem, 2, "edited")
	must(t, newTestIndex(t, mem, BucketIndexOptions{}).Reconcile(t.Context()))
	writeTestBlock(t, dir, testMeta(5), 2)
	must(t, s.Ship(t.Context())) // tells of the others too
	for _, f := range []*Fetcher{reader, newTestFetcher(t, mem, FetcherOptions{})} {
		v := fetch(t, f)
		wantCluster(t, v, 2, "edited")
		if len(v.Blocks) != 5 {
			t.Errorf("%d blocks, want 5", len(v.Blocks))
		}
	}
	wantExactly(t, mem, reader)
}

// undated is a bucket that does not tell when objects were written.
type undated struct{ objstore.Bucket }

func (undated) SupportedIterOptions() []objstore.IterOptionType {
	return []objstore.IterOptionType{objstore.Recursive}
}

func (b undated) IterWithAttributes(ctx context.Context, dir string, f func(objstore.IterObjectAttributes) error, options ...objstore.IterOption) error {
	if err := objstore.ValidateIterOptions(b.SupportedIterOptions(), options...); err != nil {
		return err
	}
	return b.Bucket.IterWithAttributes(ctx, dir, f, options...)
}

// Where the bucket does not tell times each pass reads a bounded number of metas
// again, and gets around all of them, whoever makes the passes.
func TestEditedMetaIsSeenWithoutTimes(t *testing.T) {
	const blocks = 2*rereadMetas + 10
	const passes = 3
	mem := objstoretest.NewMemory()
	for n := range blocks {
		putBlock(t, mem, testMeta(n))
	}
	rec := objstoretest.NewRecorder(mem)
	dir := filepath.Join(t.TempDir(), "metas")
	listing := newTestFetcher(t, undated{rec}, FetcherOptions{NoIndex: true, Dir: dir})
	fetch(t, listing)
	for name, pass := range map[string]func() *View{
		"list": func() *View { return fetch(t, listing) },
		"index": func() *View {
			must(t, newTestIndex(t, undated{rec}, BucketIndexOptions{}).Reconcile(t.Context()))
			return fetch(t, newTestFetcher(t, undated{mem}, FetcherOptions{}))
		},
	} {
		pass()
		for n := range blocks {
			edit(t, mem, n, name)
		}
		var v *View
		for range passes {
			rec.Reset()
			v = pass()
			if n := metaReads(rec); n != rereadMetas {
				t.Errorf("%s: %d metas read in a pass, want %d", name, n, rereadMetas)
			}
		}
		for n := range blocks {
			wantCluster(t, v, n, name)
		}
	}
}

// A look at what is known costs nothing if it fails.
func TestUnreadableMetaStaysKnown(t *testing.T) {
	mem := objstoretest.NewMemory()
	for n := range 3 {
		putBlock(t, mem, testMeta(n))
	}
	bkt := objstoretest.NewFaulty(mem)
	f := newTestFetcher(t, undated{bkt}, FetcherOptions{NoIndex: true})
	fetch(t, f)
	bkt.Set(objstoretest.Rule{Op: objstore.OpGet, Fault: objstoretest.Fail(errOutage)})
	if v := fetch(t, f); len(v.Blocks) != 3 || len(v.Partial) != 0 {
		t.Errorf("%d blocks, partial %v, want 3 and none", len(v.Blocks), v.Partial)
	}
	bkt.Set()
	must(t, mem.Delete(t.Context(), MetaObject(testID(1))))
	mem.Put(MetaObject(testID(2)), []byte("{trunc"))
	if v := fetch(t, f); len(v.Blocks) != 1 || len(v.Partial) != 2 {
		t.Errorf("%d blocks, partial %v, want 1 and those that are gone and broken", len(v.Blocks), v.Partial)
	}
}

// What several say of one block does not depend on who is heard first.
func TestIndexJoinsInAnyOrder(t *testing.T) {
	at := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	var all []Entry
	for _, uploaded := range []time.Time{{}, at, at.Add(1)} {
		for _, written := range []time.Time{{}, at, at.Add(1)} {
			m := testMeta(1)
			m.Thanos.UploadTime = uploaded
			all = append(all, Entry{ID: m.ULID, HasMeta: true, Meta: m, MetaWritten: written, DataWritten: written})
		}
	}
	all = append(all, Entry{ID: testID(1), Marks: MarkKinds(NoCompactMark)}, Entry{ID: testID(1), HasMeta: true, MetaWritten: at})
	for _, a := range all {
		for _, b := range all {
			for _, c := range all {
				want := fmt.Sprintf("%+v", joinEntry(joinEntry(a, b), c))
				for _, got := range []Entry{joinEntry(joinEntry(c, b), a), joinEntry(b, joinEntry(a, c))} {
					if fmt.Sprintf("%+v", got) != want {
						t.Fatalf("%+v, or in another order %s", got, want)
					}
				}
			}
		}
	}
}

// The youngest of index and chunks tells when the data was written, in whatever order
// they are listed, and nothing else does.
func TestDataWritten(t *testing.T) {
	at := func(minute int) time.Time { return time.Date(2024, 1, 1, 0, minute, 0, 0, time.UTC) }
	for _, names := range [][]string{
		{IndexFilename, "chunks/000001", "chunks/000002", MetaFilename, DeletionMarkFilename},
		{"chunks/000001", "chunks/000002", IndexFilename, MetaFilename, DeletionMarkFilename},
	} {
		var e Entry
		for i, name := range names {
			e.wrote(name, at(i))
		}
		e.wrote(names[0], at(0))
		if !e.DataWritten.Equal(at(2)) || !e.MetaWritten.Equal(at(3)) {
			t.Errorf("%v: data was written at %s and meta.json at %s", names, e.DataWritten, e.MetaWritten)
		}
	}
}
