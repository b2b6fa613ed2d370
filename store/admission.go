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
	// largest is the most that any one block alone gives the reader at least. Series
	// of several blocks may be the same ones, and then are kept once.
	largest perSeries
	done    chan struct{} // closed when err is set
	err     error
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

// ticket is the part of one block in an admission. nil lets everything in.
type ticket struct {
	*admission
	stream *streamQuerier
	once   sync.Once
}

// enter returns the ticket of a block of the stream, which has to wait or leave.
func enter(ctx context.Context, stream *streamQuerier) *ticket {
	a, ok := ctx.Value(admissionKey{}).(*admission)
	if !ok {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.left++
	return &ticket{admission: a, stream: stream}
}

// wait tells what the block takes, until all blocks have, and returns whether
// they may go on. Only what the first call tells counts.
func (t *ticket) wait(ctx context.Context, least leastOfBlock) error {
	if t == nil {
		return nil
	}
	t.once.Do(func() { t.tell(t.stream, least) })
	select {
	case <-t.done:
		return t.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// leave is for a block that takes nothing, as one that cannot be read.
func (t *ticket) leave() {
	if t != nil {
		t.once.Do(func() { t.tell(t.stream, leastOfBlock{}) })
	}
}

func (a *admission) tell(stream *streamQuerier, least leastOfBlock) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.kept[stream] += least.Kept
	least.Kept = 0
	a.least = a.least.Add(least.Least)
	a.largest.series = max(a.largest.series, least.once.series)
	a.largest.kept = max(a.largest.kept, least.once.kept)
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
	least.Series = a.largest.series
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
	least.Kept += a.largest.kept
	return least
}
