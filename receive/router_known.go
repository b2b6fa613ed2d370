package receive

import (
	"hash/maphash"
	"sync"

	"github.com/varve-tsdb/varve/internal/writepb"
)

// routedHashes remembers what SeriesHash makes of the labels of series, by their
// keys. A series that is found there is known to have valid labels, and where it
// belongs is Place and no more: they need not be decoded, checked and hashed
// again, which was three quarters of the cost of routing a series of 1.0; what is
// left is the walk over its bytes, copying them, and counting votes. In 2.0 it was
// half, as labels have to be written out of symbols in any case. The hash
// is that of a tenant and labels and of nothing else, so that nothing remembered
// becomes wrong when hashrings change. It is safe for concurrent use.
type routedHashes struct {
	most  int
	seeds [2]maphash.Seed

	mu    sync.RWMutex // guards what follows
	table keyTable[uint64]
}

func newRoutedHashes(most int) *routedHashes {
	return &routedHashes{most: max(most, 0), seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}}
}

// tenantKey returns what keeps the keys of a tenant apart from those of others:
// 128 bits, as those of the labels are.
func (h *routedHashes) tenantKey(tenant string) [2]uint64 {
	return [2]uint64{maphash.String(h.seeds[0], tenant), maphash.String(h.seeds[1], tenant)}
}

// routedOutline is a series of a request that is looked up.
type routedOutline struct {
	writepb.Outline
	// keyed: the key stands for the series, which is one float and no more.
	keyed bool
	known bool
	hash  uint64 // if known
}

// lookUp fills in the hashes. Many at once take the lock once. next is where the
// first is likely to be found, and the return value that for the next call.
func (h *routedHashes) lookUp(series []routedOutline, next uint32) uint32 {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for i := range series {
		k := &series[i]
		if !k.keyed {
			continue
		}
		if !h.table.has(next, k.Key) {
			at, ok := h.table.find(k.Key)
			if !ok {
				continue
			}
			next = at
		}
		k.known, k.hash = true, h.table.learnt[next].value
		next++
	}
	return next
}

func (h *routedHashes) learn(learnt []keyEntry[uint64]) {
	if len(learnt) == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.table.learn(learnt, h.most)
}

// lookUp outlines series from the i-th on, and finds those that are known.
func (s *routing) lookUp(i int) []routedOutline {
	if s.outlines == nil {
		s.outlines = make([]routedOutline, lookUpBatch)
	}
	batch := s.outlines[:min(lookUpBatch, len(s.series)-i)]
	if !s.remembers {
		clear(batch)
		return batch
	}
	for j := range batch {
		k := &batch[j]
		k.keyed = s.run.req.Outline(i+j, &k.Outline) && k.Single
		k.known = false
		k.Key[1] ^= s.tenantKey[1]
	}
	s.next = s.router.hashes.lookUp(batch, s.next)
	return batch
}

// placeKnown does for a series that is known, of one float, what splitSeries does
// for others.
func (s *routing) placeKnown(i uint32, k *routedOutline) {
	a := s.run
	if a.req.Version() == writepb.V2 {
		// Few bytes may stand for long labels, which are about to be written out.
		a.labels = a.req.OutlinedLabels(&k.Outline, a.labels[:0])
		if err := a.chargeLabels(); err != nil {
			s.labels = append(s.labels[:0], a.labels...)
			s.refuse(&s.series[i], appendRefusal{ReasonLabelsTooLong, err}, tallyCounts{floatSample: 1})
			return
		}
	}
	s.series[i].samples[floatSample] = 1
	s.place(i, k)
}
