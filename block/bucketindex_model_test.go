package block

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

// Writers of the index, their power cuts, readers, and programs that know
// nothing of the index work on one bucket at the same time, one request after
// the other in any order. Once a block has been told of, or was there when a
// Reconcile began that has ended, no reader misses it while it lives, or sees less
// than was told of it: metas are edited, and blocks deleted and put back with
// another meta, by uploaders whose clocks are hours apart. (Where the bucket does
// not tell times, what is told of an earlier meta may be believed.) A block that a reader
// has looked for in vain does not come back by itself. Once all is quiet, one
// Reconcile makes all readers see what is there.
func TestBucketIndexInAnyOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Without a Deadline, which must not be asked for in there.
		rapid.Check(struct{ testing.TB }{t}, func(rt *rapid.T) {
			w := newIndexWorld(t, rt)
			for range rapid.IntRange(10, 80).Draw(rt, "steps") {
				if rapid.IntRange(0, 3).Draw(rt, "begin") == 0 {
					w.begin()
				} else {
					w.step()
				}
			}
			for w.step() {
			}
			w.wantTruth()
		})
	})
}

// indexWorld is a bucket and all who work on it.
type indexWorld struct {
	t   *testing.T
	rt  *rapid.T
	mem *objstoretest.Memory

	writers []*BucketIndex
	readers []*Fetcher
	busy    map[string]bool // actors with something under way

	mu      sync.Mutex // guards waiting
	waiting []*indexStep

	page    int                // names in a page of a list of the whole bucket
	blocks  int                // made so far
	dated   bool               // the bucket tells when objects were written
	changes int                // of metas so far
	live    map[ulid.ULID]bool // complete in the bucket
	// versions are how often the meta of a block has been written, covered which of
	// them readers have to see at least, 0 for none, and missed the blocks that each
	// reader has looked for in vain, by the version that is not there.
	versions map[ulid.ULID]int
	born     map[ulid.ULID]int // the version that was put when it was not there
	covered  map[ulid.ULID]int
	missed   []map[ulid.ULID]int
}

// indexStep is a request that waits for its turn.
type indexStep struct {
	actor, what string
	turn        chan error
}

func newIndexWorld(t *testing.T, rt *rapid.T) *indexWorld {
	w := &indexWorld{
		t: t, rt: rt, mem: objstoretest.NewMemory(), busy: map[string]bool{}, page: rapid.SampledFrom([]int{1, 100}).Draw(rt, "page"),
		dated: rapid.Bool().Draw(rt, "dated"),
		live:  map[ulid.ULID]bool{}, versions: map[ulid.ULID]int{}, born: map[ulid.ULID]int{}, covered: map[ulid.ULID]int{},
	}
	for i := range 3 {
		w.writers = append(w.writers, w.newWriter(i))
	}
	for i := range 2 {
		w.readers = append(w.readers, w.newReader(i))
		w.missed = append(w.missed, map[ulid.ULID]int{})
	}
	return w
}

func (w *indexWorld) bucket() objstore.Bucket {
	if w.dated {
		return w.mem
	}
	return undated{w.mem}
}

func (w *indexWorld) newWriter(i int) *BucketIndex {
	b, err := NewBucketIndex(stepped{w.bucket(), w, fmt.Sprint("writer ", i)}, BucketIndexOptions{})
	must(w.t, err)
	return b
}

func (w *indexWorld) newReader(i int) *Fetcher {
	f, err := NewFetcher(stepped{w.bucket(), w, fmt.Sprint("reader ", i)}, FetcherOptions{})
	must(w.t, err)
	return f
}

// begin starts something, or does it if it is no more than one request.
func (w *indexWorld) begin() {
	i := rapid.IntRange(0, 2).Draw(w.rt, "who")
	switch rapid.IntRange(0, 10).Draw(w.rt, "what") {
	case 0, 1:
		w.begins(fmt.Sprint("writer ", i), func() { w.ship(i) })
	case 2:
		w.begins(fmt.Sprint("writer ", i), func() { w.reconcile(i) })
	case 3, 4:
		w.begins(fmt.Sprint("reader ", i%2), func() { w.read(i % 2) })
	case 5:
		w.put(w.newBlock())
	case 8:
		w.edit()
	case 9:
		w.begins(fmt.Sprint("reader ", i%2), func() { w.recheck(i % 2) })
	case 10:
		w.begins(fmt.Sprint("writer ", i), func() { w.sync(i) })
	case 6:
		w.delete()
	case 7:
		if w.busy[fmt.Sprint("writer ", i)] {
			w.crash(i)
		}
	}
}

func (w *indexWorld) begins(actor string, do func()) {
	if w.busy[actor] {
		return
	}
	w.busy[actor] = true
	go func() {
		do()
		w.mu.Lock()
		defer w.mu.Unlock()
		w.busy[actor] = false
	}()
	synctest.Wait()
}

// step lets one of the waiting requests pass, and waits until all that follows
// from it waits again.
func (w *indexWorld) step() bool {
	synctest.Wait()
	if len(w.waiting) == 0 {
		return false
	}
	// They came in no certain order.
	slices.SortFunc(w.waiting, func(a, b *indexStep) int {
		return cmp.Or(cmp.Compare(a.actor, b.actor), cmp.Compare(a.what, b.what))
	})
	i := rapid.IntRange(0, len(w.waiting)-1).Draw(w.rt, "next")
	s := w.waiting[i]
	w.waiting = slices.Delete(w.waiting, i, i+1)
	s.turn <- nil
	synctest.Wait()
	return true
}

// crash kills a writer: nothing it waits for happens, and another takes its
// place that remembers nothing.
func (w *indexWorld) crash(i int) {
	actor := fmt.Sprint("writer ", i)
	for w.busy[actor] {
		for _, s := range slices.Clone(w.waiting) {
			if s.actor == actor {
				w.waiting = slices.DeleteFunc(w.waiting, func(other *indexStep) bool { return other == s })
				s.turn <- objstoretest.ErrCrashed
			}
		}
		synctest.Wait()
	}
	w.writers[i] = w.newWriter(i)
}

// newBlock is a block that has not been there, or is to come back.
func (w *indexWorld) newBlock() *Meta {
	gone := maps.Clone(w.versions)
	maps.DeleteFunc(gone, func(id ulid.ULID, _ int) bool { return w.live[id] })
	n := w.blocks + 1
	if ids := slices.SortedFunc(maps.Keys(gone), ulid.ULID.Compare); len(ids) > 0 && rapid.Bool().Draw(w.rt, "back") {
		id := rapid.SampledFrom(ids).Draw(w.rt, "block that comes back")
		n = int(id[15])
	} else {
		w.blocks = n
	}
	m := testMeta(n)
	m.Thanos.UploadTime = rapid.SampledFrom([]time.Time{{}, w.now().Add(-3 * time.Hour), w.now().Add(3 * time.Hour)}).Draw(w.rt, "upload time")
	return m
}

// now is the bucket's clock, which makes a step with each change.
func (w *indexWorld) now() time.Time {
	return time.Date(2025, 2, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(w.changes) * 2 * time.Second)
}

const versionLabel = "version"

func versionOf(m *Meta) int {
	n, _ := strconv.Atoi(m.Thanos.Labels[versionLabel])
	return n
}

// put writes a meta, the next version of its block's, and returns what a writer
// tells of that.
func (w *indexWorld) put(m *Meta) Entry {
	id := m.ULID
	w.changes++
	w.versions[id]++
	m.Thanos.Labels = map[string]string{versionLabel: strconv.Itoa(w.versions[id])}
	b, err := m.Encode()
	must(w.t, err)
	w.mem.Put(MetaObject(id), b)
	w.mem.SetModified(MetaObject(id), w.now())
	if !w.live[id] {
		w.live[id], w.born[id] = true, w.versions[id]
	}
	e := Entry{ID: id, Meta: m}
	if w.dated {
		e.MetaWritten = w.now()
	}
	return e
}

// edit changes a meta in the bucket, and may drop fields.
func (w *indexWorld) edit() {
	ids := sortedIDs(w.live)
	if len(ids) == 0 {
		return
	}
	m, err := ReadMeta(context.Background(), w.mem, rapid.SampledFrom(ids).Draw(w.rt, "block"))
	must(w.t, err)
	if rapid.Bool().Draw(w.rt, "drop upload time") {
		m.Thanos.UploadTime = time.Time{}
	}
	w.put(m)
}

// delete deletes a block without a word to the index, or marks it.
func (w *indexWorld) delete() {
	ids := sortedIDs(w.live)
	if len(ids) == 0 {
		return
	}
	id := rapid.SampledFrom(ids).Draw(w.rt, "block")
	if rapid.Bool().Draw(w.rt, "mark only") {
		_, err := PutMark(context.Background(), w.mem, Mark{Kind: NoCompactMark, ID: id})
		must(w.t, err)
		return
	}
	must(w.t, Delete(context.Background(), w.mem, id))
	delete(w.live, id)
	delete(w.covered, id)
}

// cover notes what readers have to see from now on of blocks that are still there.
func (w *indexWorld) cover(versions map[ulid.ULID]int) {
	for id, v := range versions {
		if w.live[id] && w.born[id] <= v {
			if !w.dated {
				v = 1
			}
			w.covered[id] = max(w.covered[id], v)
		}
	}
}

// ship is a block that gets into the bucket by a writer.
func (w *indexWorld) ship(i int) {
	e := w.put(w.newBlock())
	v := versionOf(e.Meta)
	if err := w.writers[i].Put(context.Background(), e); err == nil {
		w.cover(map[ulid.ULID]int{e.ID: v})
	} else if !errors.Is(err, objstoretest.ErrCrashed) {
		w.rt.Error(err)
	}
}

// there is the version of each block that is in the bucket.
func (w *indexWorld) there() map[ulid.ULID]int {
	there := map[ulid.ULID]int{}
	for id := range w.live {
		there[id] = w.versions[id]
	}
	return there
}

func (w *indexWorld) reconcile(i int) {
	before := w.there()
	if err := w.writers[i].Reconcile(context.Background()); err == nil {
		w.cover(before)
	} else if !errors.Is(err, objstoretest.ErrCrashed) {
		w.rt.Error(err)
	}
}

func (w *indexWorld) sync(i int) {
	if err := w.writers[i].Sync(context.Background()); err != nil && !errors.Is(err, objstoretest.ErrCrashed) {
		w.rt.Error(err)
	}
}

func (w *indexWorld) read(i int) {
	want, missed := maps.Clone(w.covered), maps.Clone(w.missed[i])
	v, err := w.readers[i].Fetch(context.Background())
	if err != nil {
		w.rt.Error(err)
		return
	}
	w.wantSeen(i, v, want, missed)
}

// recheck looks at the bucket itself: what was there before and stays is seen, and
// what was gone before is so until it is put back.
func (w *indexWorld) recheck(i int) {
	want, gone := w.there(), map[ulid.ULID]int{}
	for _, m := range w.readers[i].View().Blocks {
		if !w.live[m.ULID] {
			gone[m.ULID] = w.versions[m.ULID]
		}
	}
	v, err := w.readers[i].Recheck(context.Background())
	if err != nil {
		w.rt.Error(err)
		return
	}
	w.wantSeen(i, v, want, gone)
	maps.Copy(w.missed[i], gone)
}

// wantSeen fails unless a reader sees at least the wanted versions of blocks that
// are still there, and none of those that it knows are gone.
func (w *indexWorld) wantSeen(i int, v *View, want, gone map[ulid.ULID]int) {
	got := map[ulid.ULID]int{}
	for _, m := range v.Blocks {
		got[m.ULID] = versionOf(m)
		if got[m.ULID] == 0 || got[m.ULID] > w.versions[m.ULID] {
			w.rt.Errorf("reader %d sees version %d of block %s, which never was", i, got[m.ULID], m.ULID)
		}
		if got[m.ULID] <= gone[m.ULID] && (w.dated || !w.live[m.ULID]) {
			w.rt.Errorf("reader %d sees version %d of block %s again; the index is %q", i, got[m.ULID], m.ULID, w.mem.Names())
		}
	}
	for id, version := range want {
		if !w.dated && got[id] > 0 {
			continue
		}
		if w.live[id] && w.born[id] <= version && got[id] < version {
			w.rt.Errorf("reader %d sees version %d of block %s, want at least %d; the index is %q", i, got[id], id, version, w.mem.Names())
		}
	}
}

// wantTruth fails unless after one pass of a writer all readers, new ones too,
// see what is there.
func (w *indexWorld) wantTruth() {
	w.begins("writer 0", func() { w.reconcile(0) })
	for w.step() {
	}
	truth := fetch(w.t, newTestFetcher(w.t, w.bucket(), FetcherOptions{NoIndex: true}))
	for _, f := range append(w.readers, w.newReader(2)) {
		w.begins("reader", func() {
			v, err := f.Fetch(context.Background())
			must(w.t, err)
			if a, b := describe(truth), describe(v); a != b {
				w.rt.Errorf("the bucket has\n%s\na reader sees\n%s", a, b)
			}
		})
		for w.step() {
		}
	}
	if n := len(w.indexObjects()); n != 1 && !w.rt.Failed() {
		w.rt.Errorf("%d objects in the index, want 1", n)
	}
}

func (w *indexWorld) indexObjects() (names []string) {
	for _, name := range w.mem.Names() {
		if _, ok := parseIndexName(name); ok {
			names = append(names, name)
		}
	}
	return names
}

// describe is all of a view that does not depend on when it was made.
func describe(v *View) string {
	s := ""
	for _, m := range v.Blocks {
		s += fmt.Sprintf("block %s %v %v %v\n", m.ULID, m.Thanos.Labels, v.Marks[m.ULID], v.Deletions[m.ULID])
	}
	for _, h := range v.Hidden {
		s += fmt.Sprintf("hidden %s %s %v %v\n", h.Meta.ULID, h.Reason, v.Marks[h.Meta.ULID], v.Deletions[h.Meta.ULID])
	}
	for _, p := range v.Partial {
		s += fmt.Sprintf("partial %s %v\n", p.ID, p.Err)
	}
	return s
}
