package store

import (
	"context"
	"sync"

	"github.com/varve-tsdb/varve/internal/readcost"
)

// admission lets the blocks of a Select fetch postings once all of them know from
// their headers what that takes at least, so that a Select that cannot fit is
// refused before it has fetched any.
type admission struct {
	cost *readcost.Cost
	// merges says that series of several streams may become one, as replicas do.
	merges bool

	mu    sync.Mutex // guards what follows
	left  int        // streams that are being asked, and blocks of theirs that have not told yet
	least readcost.Least
	kept  map[*streamQuerier]int64
	// most is what one block alone gives the reader at least. Series of several
	// blocks may be the same ones, and then are kept once.
	most perSeries
	done chan struct{} // closed when err is set
	err  error
}

type admissionKey struct{}

// withAdmission returns an admission, and a context with it, for the Selects of so
// many streams. Each is followed by asked.
func withAdmission(ctx context.Context, streams int, merges bool) (context.Context, *admission) {
	a := &admission{
		cost: readcost.From(ctx), merges: merges, left: streams, kept: map[*streamQuerier]int64{}, done: make(chan struct{}),
	}
	return context.WithValue(ctx, admissionKey{}, a), a
}

// asked says that the blocks of a stream have entered.
func (a *admission) asked() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.count()
}

// entry is the part of one block in an admission. nil lets everything in.
type entry struct {
	*admission
	stream *streamQuerier
	once   sync.Once
}

// enter returns the entry of a block of the stream, which has to wait or leave.
func enter(ctx context.Context, stream *streamQuerier) *entry {
	a, ok := ctx.Value(admissionKey{}).(*admission)
	if !ok {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.left++
	return &entry{admission: a, stream: stream}
}

// wait tells what the block takes, until all blocks have, and returns whether
// they may go on. Only what the first call tells counts.
func (e *entry) wait(ctx context.Context, least leastOfBlock) error {
	if e == nil {
		return nil
	}
	e.once.Do(func() { e.tell(e.stream, least) })
	select {
	case <-e.done:
		return e.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// leave is for a block that takes nothing, as one that cannot be read.
func (e *entry) leave() {
	if e != nil {
		e.once.Do(func() { e.tell(e.stream, leastOfBlock{}) })
	}
}

func (a *admission) tell(stream *streamQuerier, least leastOfBlock) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.kept[stream] += least.Kept
	least.Kept = 0
	a.least = a.least.Add(least.Least)
	a.most.series = max(a.most.series, least.once.series)
	a.most.kept = max(a.most.kept, least.once.kept)
	a.count()
}

// count opens the door once nobody is waited for. a.mu is held.
func (a *admission) count() {
	if a.left--; a.left == 0 {
		a.err = a.cost.Admit(a.sum())
		close(a.done)
	}
}

// sum is the least that all blocks take together. a.mu is held.
func (a *admission) sum() readcost.Least {
	least := a.least
	least.Series = a.most.series
	if !a.cost.Keeps() {
		return least
	}
	for _, kept := range a.kept {
		if a.merges {
			least.Kept = max(least.Kept, kept)
		} else {
			least.Kept += kept
		}
	}
	least.Kept += a.most.kept
	return least
}
