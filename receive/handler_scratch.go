package receive

import (
	"math/rand/v2"

	"github.com/prometheus/prometheus/model/labels"
)

// maxScratchBytes bounds what one request leaves behind for the next. A usual
// request takes a tenth of it; what a rare large one needed goes back to the
// garbage collector.
const maxScratchBytes = 4 << 20

// handlerScratch is the memory of one request that is being stored.
type handlerScratch struct {
	decoded []byte
	run     appendRun
}

func newHandlerScratch() *handlerScratch {
	return &handlerScratch{run: appendRun{
		builder: labels.NewScratchBuilder(16),
		texts:   map[uint32]string{},
		named:   namedSeries{table: slotTable{factor: rand.Uint64() | 1}},
	}}
}

// recycle keeps the memory of a request for others.
func (h *Handler) recycle(in *admission) {
	if s := in.scratch; s != nil && s.recycle() {
		h.scratch.Put(s)
	}
	if b := in.buffer; b != nil && cap(b.b) <= maxBodyBuffer {
		h.buffers.Put(b)
	}
	in.scratch, in.buffer = nil, nil
}

// recycle forgets the request. It returns false if s is too large to be kept.
func (s *handlerScratch) recycle() bool {
	s.run.forget()
	const pointSize, labelSize, exemplarSize, learntSize, outcomeSize = 24, 48, 48, 24, 2
	size := cap(s.decoded) + s.run.req.Footprint() + s.run.series.Footprint() +
		pointSize*cap(s.run.points) + labelSize*cap(s.run.labels) + exemplarSize*cap(s.run.carried) +
		learntSize*cap(s.run.learnt) + outcomeSize*cap(s.run.outcomesRoom) + s.run.seenFootprint()
	return size <= maxScratchBytes
}

// forget drops all that belongs to the request and keeps capacity.
func (a *appendRun) forget() {
	a.to, a.tenant = nil, ""
	a.req.Release()
	a.series.Release()
	clear(a.labels[:cap(a.labels)])
	clear(a.carried[:cap(a.carried)])
	a.seen.reset()
	a.named.reset()
	a.learnt = a.learnt[:0]
	clear(a.texts)
	a.builder.Reset()
	// Its buffer is the builder's and no larger than MaxLabelBytes.
	a.scratch = labels.EmptyLabels()
	// These are rare, and what they hold is large.
	a.expanded = 0
	a.later, a.lone, a.doubtful = nil, nil, nil
	a.target, a.tx, a.tally = appendTarget{}, appendTx{}, tally{}
	a.pickAll()
	a.second, a.outcomes = false, nil
	a.alone, a.thorough = false, false
}
