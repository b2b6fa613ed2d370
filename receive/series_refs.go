package receive

import (
	"sync"

	"github.com/prometheus/prometheus/storage"

	"github.com/varve-tsdb/varve/internal/writepb"
)

// RefAppender is an optional power of the appenders that an Appendable opens: to
// find a series by reference again and again. A sender sends the same labels
// with every scrape; with this power the Handler decodes, checks and sorts them
// once and from then on appends by reference, with no labels at all.
//
// Appenders that return the same SeriesRefs must agree on references: one that
// Append or GetRef returned stands for the same series in all of them, or for
// none any more. Append must refuse a reference it does not know if it comes
// with empty labels; the Handler then comes again with the labels. A storage
// that gives its references a new meaning, as by opening a TSDB anew, needs new
// SeriesRefs. Within a transaction GetRef must find what Append has created.
type RefAppender interface {
	storage.AppenderV2
	storage.GetRef
	SeriesRefs() *SeriesRefs
}

// SeriesRefs remembers the references of a storage by the labels of their series
// as senders encode them. It is safe for concurrent use.
//
// Labels are told apart by 128 bits of a hash. It is of what was sent and of the
// rules in force, so that a change of rules makes everything unknown.
type SeriesRefs struct {
	live func() int

	mu    sync.RWMutex // guards what follows
	table keyTable[storage.SeriesRef]
}

// NewSeriesRefs returns empty SeriesRefs of a storage. live tells how many
// series it has, which bounds how many references are remembered: twice as many,
// since labels may be sent in several orders and by several versions of the
// protocol. It is called now and then, by several goroutines at once.
func NewSeriesRefs(live func() int) *SeriesRefs {
	return &SeriesRefs{live: live}
}

// Forget drops everything. A storage calls it after it has dropped series, or
// the references of those would stay for ever.
func (s *SeriesRefs) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.table.reset()
}

// droppedRef stands for a series that the rules drop. No storage gives it out:
// they count from one.
const droppedRef = ^storage.SeriesRef(0)

// seriesRefsSpare is how many references are remembered whatever the number of
// series.
const seriesRefsSpare = 4096

// knownSeries is a series of a request that is looked up.
type knownSeries struct {
	writepb.Outline
	keyed bool              // Outline says something
	ref   storage.SeriesRef // zero if it is not known
}

// lookUp fills in the references. Many at once take the lock once. next is where
// the first is likely to be found, and the return value that for the next call.
func (s *SeriesRefs) lookUp(series []knownSeries, next uint32) uint32 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for i := range series {
		k := &series[i]
		if !k.keyed {
			continue
		}
		if !s.table.has(next, k.Key) {
			at, ok := s.table.find(k.Key)
			if !ok {
				continue
			}
			next = at
		}
		k.ref = s.table.learnt[next].value
		next++
	}
	return next
}

// learntRef is a reference to be remembered.
type learntRef = keyEntry[storage.SeriesRef]

func (s *SeriesRefs) learn(learnt []learntRef) {
	if len(learnt) == 0 {
		return
	}
	most := 2*s.live() + seriesRefsSpare
	s.mu.Lock()
	defer s.mu.Unlock()
	s.table.learn(learnt, most)
}
