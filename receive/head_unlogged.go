package receive

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunks"
)

// unloggedWait bounds how long an append waits for the transaction that is
// making the series.
const unloggedWait = time.Second

// ErrSeriesUnlogged: another transaction is making the series, and has not been
// committed or rolled back. Committing one's own transaction and appending the
// sample in another succeeds once that one has ended. It is retryable.
const ErrSeriesUnlogged = retryableError("another transaction is making the series and has not ended")

// errUnloggedTooLong is returned to those who have waited.
const errUnloggedTooLong = retryableError("another transaction is making the series and does not end; append the same again")

// errUnclaimed keeps the TSDB from making a series that nobody has claimed.
var errUnclaimed = errors.New("the series is not in memory any more")

// unloggedSeries are those that transactions of a head are making. A head logs a
// series at the end of the transaction that made it. If another one that appended
// to it were committed before, a replay would meet its samples first: it would
// drop them, or, should the first transaction have failed and the reference gone
// to another series, give them to that. So a series belongs to the transaction
// that makes it until that has ended. Others wait, but only as long as they are
// making none themselves: no two wait for each other.
//
// A series is known by the hash of its labels, before it has a reference. Two
// of the same hash are taken for one. Whether it is there already nobody knows
// before the TSDB does, and asking would be another look-up, so any series that is
// appended to by its labels is claimed for that moment.
type unloggedSeries struct {
	tables *sync.Pool // of *claimTable without claims, for all heads

	// moving is held, to read, by who appends by reference, until move has been told
	// of a series that this has made.
	moving sync.RWMutex

	mu     sync.Mutex  // guards what follows
	table  *claimTable // nil while nobody makes series
	movers int         // transactions that move was told of and that have not ended
	// free is closed when a claim has been given back, or is known to be one until
	// the end of its transaction. nil if nobody waits for that.
	free   chan struct{}
	strict bool // false while the log is replayed

	created atomic.Int64 // series that were made on a claim
}

// restrict ends the replay.
func (u *unloggedSeries) restrict() {
	u.mu.Lock()
	u.strict = true
	u.mu.Unlock()
}

// claim makes a the owner of the series with a hash of labels. It returns
// ErrSeriesUnlogged if the series is another's, and a owns some, too, or is in the
// way of its commit.
func (u *unloggedSeries) claim(a *headAppender, hash uint64) error {
	free, ended := u.take(a, hash)
	if free == nil && ended == nil {
		return nil
	}
	timeout := time.NewTimer(unloggedWait)
	defer timeout.Stop()
	for free != nil || ended != nil {
		if ended != nil && (len(a.claims) > 0 || a.alone) {
			return ErrSeriesUnlogged
		}
		select {
		case <-free:
		case <-ended:
		case <-timeout.C:
			return fmt.Errorf("tenant %q: %w", a.head.tenant, errUnloggedTooLong)
		}
		free, ended = u.take(a, hash)
	}
	return nil
}

// take makes a the owner of a series, or returns what tells of the end of the
// transaction that has it; or, if that one does not know yet whether it makes the
// series and so has it for a moment only, what tells that it may be free.
func (u *unloggedSeries) take(a *headAppender, hash uint64) (free, ended <-chan struct{}) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.table == nil {
		u.table, _ = u.tables.Get().(*claimTable)
	}
	switch owner := u.table.give(a, hash); owner {
	case nil:
	case a:
		// It still is, after another series: it was made.
		a.made.Store(true)
		return nil, nil
	default:
		if owner.claims[len(owner.claims)-1] != hash || owner.made.Load() {
			return nil, owner.ended
		}
		if u.free == nil {
			u.free = make(chan struct{})
		}
		return u.free, nil
	}
	if a.ended == nil {
		a.ended = make(chan struct{})
	}
	a.claims = append(a.claims, hash)
	a.made.Store(false)
	return nil, nil
}

// wake has those look again who wait for a claim of a moment. The caller holds mu.
func (u *unloggedSeries) wake() {
	if u.free != nil {
		close(u.free)
		u.free = nil
	}
}

// release gives back the latest claim of a if the series was there before.
func (u *unloggedSeries) release(a *headAppender, hash uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	last := len(a.claims) - 1
	if last < 0 || a.claims[last] != hash || a.made.Load() {
		return
	}
	a.claims = a.claims[:last]
	a.made.Store(true) // what is left of them
	u.table.remove(hash)
	u.tidy()
	u.wake()
}

// owner returns who has a series, or nil.
func (u *unloggedSeries) owner(hash uint64) *headAppender {
	if u.table == nil {
		return nil
	}
	return u.table.owner(hash)
}

// tidy leaves a table without claims to other heads: few make series at any time.
func (u *unloggedSeries) tidy() {
	if u.table.n > 0 {
		return
	}
	if len(u.table.slots) <= maxClaimSlots {
		u.tables.Put(u.table)
	}
	u.table = nil
}

// move says that a has appended by reference to a series that was dropped and made
// again in that moment, on the claim of another who was about to append to it by its
// labels. So it is a that will log it, and another who is taken for its owner. That
// is so rare that all who want to commit before a has ended start again.
func (u *unloggedSeries) move(a *headAppender) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !a.moved {
		a.moved = true
		u.movers++
	}
}

// settled tells whether all series that a has appended to are in the log, or will
// be with its commit.
func (u *unloggedSeries) settled(a *headAppender) bool {
	if len(a.claims) > 0 {
		// Whoever has made a series on one of these claims has said so.
		u.moving.Lock()
		defer u.moving.Unlock()
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.movers == 0
}

// drop is end for a transaction that was rolled back, and has not been settled.
func (u *unloggedSeries) drop(a *headAppender) {
	if len(a.claims) > 0 {
		u.moving.Lock()
		defer u.moving.Unlock()
	}
	u.end(a)
}

// foreign tells whether a series is another transaction's.
func (u *unloggedSeries) foreign(a *headAppender, hash uint64) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	owner := u.owner(hash)
	return owner != nil && owner != a
}

// end says that the series of a are in the log, or never will be because the
// head has failed.
func (u *unloggedSeries) end(a *headAppender) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if a.moved {
		a.moved = false
		u.movers--
	}
	if a.ended == nil {
		return
	}
	for _, hash := range a.claims {
		u.table.remove(hash)
	}
	if len(a.claims) > 0 {
		u.tidy()
		u.wake()
	}
	close(a.ended)
	a.claims, a.ended = nil, nil
}

// PreCreation is called by the TSDB before it makes a series. It makes none for
// an append by reference whose series it has dropped in the same moment.
func (u *unloggedSeries) PreCreation(ls labels.Labels) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.strict {
		return nil
	}
	owner := u.owner(ls.Hash())
	if owner == nil {
		return errUnclaimed
	}
	owner.made.Store(true)
	u.created.Add(1)
	u.wake()
	return nil
}

// PostCreation does nothing.
func (u *unloggedSeries) PostCreation(labels.Labels) {}

// PostDeletion does nothing.
func (u *unloggedSeries) PostDeletion(map[chunks.HeadSeriesRef]labels.Labels) {}

var _ tsdb.SeriesLifecycleCallback = (*unloggedSeries)(nil)
