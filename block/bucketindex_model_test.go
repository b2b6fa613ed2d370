package block

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"

	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

// Writers of the index, their power cuts, readers, and programs that know
// nothing of the index work on one bucket at the same time, one request after
// the other in any order. Once a block has been told of, or was there when a
// Reconcile began that has ended, no reader misses it while it lives. Once all
// is quiet, one Reconcile makes all readers see what is there.
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
	live    map[ulid.ULID]bool // complete in the bucket
	ever    map[ulid.ULID]bool
	covered map[ulid.ULID]bool
}

// indexStep is a request that waits for its turn.
type indexStep struct {
	actor, what string
	turn        chan error
}

func newIndexWorld(t *testing.T, rt *rapid.T) *indexWorld {
	w := &indexWorld{
		t: t, rt: rt, mem: objstoretest.NewMemory(), busy: map[string]bool{}, page: rapid.SampledFrom([]int{1, 100}).Draw(rt, "page"),
		live: map[ulid.ULID]bool{}, ever: map[ulid.ULID]bool{}, covered: map[ulid.ULID]bool{},
	}
	for i := range 3 {
		w.writers = append(w.writers, w.newWriter(i))
	}
	for i := range 2 {
		w.readers = append(w.readers, w.newReader(i))
	}
	return w
}

func (w *indexWorld) newWriter(i int) *BucketIndex {
	b, err := NewBucketIndex(stepped{w.mem, w, fmt.Sprint("writer ", i)}, BucketIndexOptions{})
	must(w.t, err)
	return b
}

func (w *indexWorld) newReader(i int) *Fetcher {
	f, err := NewFetcher(stepped{w.mem, w, fmt.Sprint("reader ", i)}, FetcherOptions{})
	must(w.t, err)
	return f
}

// begin starts something, or does it if it is no more than one request.
func (w *indexWorld) begin() {
	i := rapid.IntRange(0, 2).Draw(w.rt, "who")
	switch rapid.IntRange(0, 7).Draw(w.rt, "what") {
	case 0, 1:
		w.begins(fmt.Sprint("writer ", i), func() { w.ship(i) })
	case 2:
		w.begins(fmt.Sprint("writer ", i), func() { w.reconcile(i) })
	case 3, 4:
		w.begins(fmt.Sprint("reader ", i%2), func() { w.read(i % 2) })
	case 5:
		w.put(w.newBlock())
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

func (w *indexWorld) newBlock() *Meta {
	w.blocks++
	return testMeta(w.blocks)
}

func (w *indexWorld) put(m *Meta) {
	b, err := m.Encode()
	must(w.t, err)
	w.mem.Put(MetaObject(m.ULID), b)
	w.live[m.ULID], w.ever[m.ULID] = true, true
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
}

// ship is a block that gets into the bucket by a writer.
func (w *indexWorld) ship(i int) {
	m := w.newBlock()
	w.put(m)
	if err := w.writers[i].Put(context.Background(), Entry{ID: m.ULID, Meta: m}); err == nil {
		w.covered[m.ULID] = true
	} else if !errors.Is(err, objstoretest.ErrCrashed) {
		w.rt.Error(err)
	}
}

func (w *indexWorld) reconcile(i int) {
	before := maps.Clone(w.live)
	if err := w.writers[i].Reconcile(context.Background()); err == nil {
		maps.Copy(w.covered, before)
	} else if !errors.Is(err, objstoretest.ErrCrashed) {
		w.rt.Error(err)
	}
}

func (w *indexWorld) read(i int) {
	want := maps.Clone(w.covered)
	v, err := w.readers[i].Fetch(context.Background())
	if err != nil {
		w.rt.Error(err)
		return
	}
	got := map[ulid.ULID]bool{}
	for _, m := range v.Blocks {
		got[m.ULID] = true
		if !w.ever[m.ULID] {
			w.rt.Errorf("reader %d sees block %s, which never was", i, m.ULID)
		}
	}
	for id := range want {
		if w.live[id] && !got[id] {
			w.rt.Errorf("reader %d misses block %s; the index is %q", i, id, w.mem.Names())
		}
	}
}

// wantTruth fails unless after one pass of a writer all readers, new ones too,
// see what is there.
func (w *indexWorld) wantTruth() {
	w.begins("writer 0", func() { w.reconcile(0) })
	for w.step() {
	}
	truth := fetch(w.t, newTestFetcher(w.t, w.mem, FetcherOptions{NoIndex: true}))
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
		s += fmt.Sprintf("block %s %v %v\n", m.ULID, v.Marks[m.ULID], v.Deletions[m.ULID])
	}
	for _, h := range v.Hidden {
		s += fmt.Sprintf("hidden %s %s %v %v\n", h.Meta.ULID, h.Reason, v.Marks[h.Meta.ULID], v.Deletions[h.Meta.ULID])
	}
	for _, p := range v.Partial {
		s += fmt.Sprintf("partial %s %v\n", p.ID, p.Err)
	}
	return s
}
