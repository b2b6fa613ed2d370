package block

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

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
