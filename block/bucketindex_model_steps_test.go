package block

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"

	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

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
