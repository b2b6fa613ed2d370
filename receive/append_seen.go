package receive

import (
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
)

// appendLast is the newest sample of a series in the open transaction.
type appendLast struct {
	t   int64
	val sampleValue
}

// seenSeries finds the newest sample that a transaction has of a series, by its
// reference. References mostly ascend in a request, since senders send series in
// the order in which they were made; as long as they do none has come before, and
// they are only written down.
type seenSeries struct {
	refs     []storage.SeriesRef
	lasts    []appendLast // of refs
	greatest storage.SeriesRef
	table    slotTable // numbers the first of refs
}

// get returns the newest sample of a series, or nil. It is valid until the next
// call of add.
func (s *seenSeries) get(ref storage.SeriesRef) *appendLast {
	if ref > s.greatest {
		return nil
	}
	s.number()
	if i, ok := s.table.get(uint64(ref)); ok {
		return &s.lasts[i]
	}
	return nil
}

// add returns the place for the newest sample of a series, and whether it is
// new.
func (s *seenSeries) add(ref storage.SeriesRef) (last *appendLast, fresh bool) {
	if ref > s.greatest {
		s.greatest = ref
	} else {
		s.number()
		i, fresh := s.table.add(uint64(ref))
		if !fresh {
			return &s.lasts[i], false
		}
	}
	s.refs = append(s.refs, ref)
	s.lasts = append(s.lasts, appendLast{})
	return &s.lasts[len(s.lasts)-1], true
}

// number puts all references into the table.
func (s *seenSeries) number() {
	for _, ref := range s.refs[s.table.n:] {
		s.table.add(uint64(ref))
	}
}

// removeLast takes back the latest add, which was fresh.
func (s *seenSeries) removeLast(ref storage.SeriesRef) {
	if s.table.n == len(s.refs) {
		s.table.removeLast(uint64(ref))
	}
	s.refs = s.refs[:len(s.refs)-1]
	s.lasts = s.lasts[:len(s.lasts)-1]
}

func (s *seenSeries) reset() {
	s.table.reset()
	clear(s.lasts)
	s.refs, s.lasts, s.greatest = s.refs[:0], s.lasts[:0], 0
}

// namedSeries finds the series of a transaction whose labels had to be decoded,
// by the hash of these.
type namedSeries struct {
	table  slotTable
	series []namedRef
}

type namedRef struct {
	ls labels.Labels
	// id is the reference, once there is one, or counts the series if the
	// references of the storage cannot be relied on.
	id storage.SeriesRef
	// ref is the reference to append by, or zero.
	ref storage.SeriesRef
	// postponed: the series is not to be appended to in this transaction.
	postponed bool
}

func (n *namedSeries) reset() {
	n.table.reset()
	clear(n.series)
	n.series = n.series[:0]
}

// ask finds the series of t in the storage, once, and what this transaction has
// of it already. From then on the labels of t last.
func (a *appendRun) ask(t *appendTarget) {
	if t.asked {
		return
	}
	t.asked = true
	hash := t.ls.Hash()
	i, fresh := a.named.table.add(hash)
	switch {
	case fresh:
		a.named.series = append(a.named.series, namedRef{})
		a.askStorage(t, hash)
		a.named.series[i] = namedRef{ls: t.ls, id: t.id, ref: t.ref}
	case !labels.Equal(a.named.series[i].ls, t.ls):
		t.ls, t.strict = t.ls.Copy(), true
	default:
		known := &a.named.series[i]
		t.ls, t.id, t.ref, t.strict = known.ls, known.id, known.ref, known.postponed
	}
	t.entry = i + 1
	a.recall(t)
	a.nameFamily(t)
}

// askStorage gives t, which the transaction has not met under these labels, an
// identity. It may have met the series by its reference, but then not all of
// the request is new to the receiver; otherwise the storage will look for the
// series once, when it is appended to.
func (a *appendRun) askStorage(t *appendTarget, hash uint64) {
	if a.tx.refs == nil {
		t.id = storage.SeriesRef(len(a.named.series))
	} else if a.tx.met {
		if ref, ls := a.tx.refs.GetRef(t.ls, hash); ref != 0 {
			t.ls, t.id, t.ref = ls, ref, ref
			return
		}
		if to, ok := a.tx.app.(seriesFinder); ok {
			t.id = to.findSeries(t.ls, hash)
		}
	}
	t.ls = t.ls.Copy()
}

// seriesFinder is who knows the reference of a series that GetRef denies because
// another transaction is making it, or looks for it in this moment: nothing may be
// appended by it, but it tells what is the same series.
type seriesFinder interface {
	findSeries(ls labels.Labels, hash uint64) storage.SeriesRef
}

func (a *appendRun) recall(t *appendTarget) {
	if t.id == 0 {
		return
	}
	if last := a.seen.get(t.id); last != nil {
		t.last, t.hasLast = *last, true
	}
}

// keepLast notes the newest sample of t for when its series comes again.
func (a *appendRun) keepLast(t *appendTarget) {
	if !t.stored || t.strict {
		return
	}
	if a.tx.refs != nil {
		t.id = t.ref
		if t.entry > 0 {
			a.named.series[t.entry-1].id, a.named.series[t.entry-1].ref = t.id, t.ref
		}
	}
	if t.id == 0 {
		return
	}
	last, _ := a.seen.add(t.id)
	*last = t.last
}

// seenFootprint returns the bytes that the tables hold on to.
func (a *appendRun) seenFootprint() int {
	const lastSize, namedSize = 40, 40
	return 16*(cap(a.seen.table.slots)+cap(a.named.table.slots)) + lastSize*cap(a.seen.lasts) + namedSize*cap(a.named.series)
}
