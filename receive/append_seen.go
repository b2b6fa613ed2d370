package receive

import (
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
)

// appendLast is the newest sample of a series in the open transaction.
type appendLast struct {
	ref storage.SeriesRef
	t   int64
	val sampleValue
}

// seenSeries finds the newest sample that a transaction has of a series, by its
// reference. It is an open hash table with linear probing: references are
// looked up for every sample, and a map of the language took a tenth of the
// whole request.
type seenSeries struct {
	slots []uint32 // indices into lasts, plus one; a power of two of them
	lasts []appendLast
}

const seenFewest = 64

func (s *seenSeries) slot(ref storage.SeriesRef) int {
	// References count up; the multiplier is that of Fibonacci hashing.
	return int(uint64(ref) * 0x9e3779b97f4a7c15 >> 32 & uint64(len(s.slots)-1))
}

// get returns the newest sample of a series, or nil. It is valid until the next
// call of add.
func (s *seenSeries) get(ref storage.SeriesRef) *appendLast {
	if len(s.slots) == 0 {
		return nil
	}
	for i := s.slot(ref); s.slots[i] != 0; i = (i + 1) & (len(s.slots) - 1) {
		if last := &s.lasts[s.slots[i]-1]; last.ref == ref {
			return last
		}
	}
	return nil
}

// add returns the place for the newest sample of a series, and whether it is
// new.
func (s *seenSeries) add(ref storage.SeriesRef) (last *appendLast, fresh bool) {
	if 2*len(s.lasts) >= len(s.slots) {
		s.grow()
	}
	i := s.slot(ref)
	for ; s.slots[i] != 0; i = (i + 1) & (len(s.slots) - 1) {
		if last := &s.lasts[s.slots[i]-1]; last.ref == ref {
			return last, false
		}
	}
	s.lasts = append(s.lasts, appendLast{ref: ref})
	s.slots[i] = uint32(len(s.lasts))
	return &s.lasts[len(s.lasts)-1], true
}

// removeLast takes back the latest add that was fresh.
func (s *seenSeries) removeLast() {
	n := len(s.lasts)
	i := s.slot(s.lasts[n-1].ref)
	for s.slots[i] != uint32(n) {
		i = (i + 1) & (len(s.slots) - 1)
	}
	// It is the end of its run of slots, since nothing was added after it.
	s.slots[i] = 0
	s.lasts = s.lasts[:n-1]
}

func (s *seenSeries) grow() {
	s.slots = make([]uint32, max(seenFewest, 2*len(s.slots)))
	for n, last := range s.lasts {
		i := s.slot(last.ref)
		for s.slots[i] != 0 {
			i = (i + 1) & (len(s.slots) - 1)
		}
		s.slots[i] = uint32(n + 1)
	}
}

// ask finds the series of t in the storage, once, and what this transaction has
// of it already. From then on the labels of t may be kept.
func (a *appendRun) ask(t *appendTarget) {
	if t.asked {
		return
	}
	t.asked = true
	if a.tx.refs != nil {
		if ref, ls := a.tx.refs.GetRef(t.ls, t.ls.Hash()); ref != 0 {
			t.ls, t.ref, t.id = ls, ref, ref
			a.recall(t)
		} else {
			t.ls = t.ls.Copy()
		}
	} else {
		a.askByName(t)
	}
	a.nameFamily(t)
}

// askByName is ask for a storage whose references cannot be relied on: what
// the transaction holds is found by the labels.
func (a *appendRun) askByName(t *appendTarget) {
	hash := t.ls.Hash()
	known, ok := a.names[hash]
	switch {
	case !ok:
		t.ls = t.ls.Copy()
		known = namedSeries{ls: t.ls, id: storage.SeriesRef(len(a.names) + 1)}
		a.names[hash] = known
	case !labels.Equal(known.ls, t.ls):
		t.ls, t.strict = t.ls.Copy(), true
		return
	}
	t.ls, t.id = known.ls, known.id
	a.recall(t)
}

// namedSeries is a series that askByName has met.
type namedSeries struct {
	ls labels.Labels
	id storage.SeriesRef
}

func (a *appendRun) recall(t *appendTarget) {
	if last := a.seen.get(t.id); last != nil {
		t.last, t.hasLast = *last, true
	}
}

// keepLast notes the newest sample of t for when its series comes again.
func (a *appendRun) keepLast(t *appendTarget) {
	if !t.hasLast || t.strict {
		return
	}
	id := t.id
	if a.tx.refs != nil {
		id = t.ref
	}
	if id == 0 {
		return
	}
	last, _ := a.seen.add(id)
	last.t, last.val = t.last.t, t.last.val
}

// reset forgets all series and keeps the room.
func (s *seenSeries) reset() {
	clear(s.slots)
	clear(s.lasts)
	s.lasts = s.lasts[:0]
}

// footprint returns the bytes that s holds on to.
func (s *seenSeries) footprint() int { return 4*cap(s.slots) + 48*cap(s.lasts) }
