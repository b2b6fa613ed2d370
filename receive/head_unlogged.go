package receive

import (
	"errors"
	"fmt"
	"sync"
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

	mu     sync.Mutex  // guards what follows
	table  *claimTable // nil while nobody makes series
	strict bool        // false while the log is replayed
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
	ended := u.take(a, hash)
	if ended == nil {
		return nil
	}
	timeout := time.NewTimer(unloggedWait)
	defer timeout.Stop()
	for ended != nil {
		if len(a.claims) > 0 || a.alone {
			return ErrSeriesUnlogged
		}
		select {
		case <-ended:
		case <-timeout.C:
			return fmt.Errorf("tenant %q: %w", a.head.tenant, errUnloggedTooLong)
		}
		ended = u.take(a, hash)
	}
	return nil
}

// take returns what tells of the end of another transaction that has the series.
// If none has, a gets it.
func (u *unloggedSeries) take(a *headAppender, hash uint64) (ended <-chan struct{}) {
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
		return nil
	default:
		return owner.ended
	}
	if a.ended == nil {
		a.ended = make(chan struct{})
	}
	a.claims = append(a.claims, hash)
	a.made.Store(false)
	return nil
}

// release gives back the latest claim of a if the series was there before.
func (u *unloggedSeries) release(a *headAppender, hash uint64) {
	last := len(a.claims) - 1
	if last < 0 || a.claims[last] != hash || a.made.Load() {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	a.claims = a.claims[:last]
	u.table.remove(hash)
	u.tidy()
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

// move says that a has appended to a series which was dropped and made again in
// that moment. It may be the one to make it, although another owns it. That is so
// rare that all who own any start again.
func (u *unloggedSeries) move(a *headAppender) {
	u.mu.Lock()
	defer u.mu.Unlock()
	a.moved.Store(true)
	if u.table == nil {
		return
	}
	for _, c := range u.table.slots {
		if c.owner != nil {
			c.owner.moved.Store(true)
		}
	}
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
	if a.ended == nil {
		return
	}
	u.mu.Lock()
	for _, hash := range a.claims {
		u.table.remove(hash)
	}
	if len(a.claims) > 0 {
		u.tidy()
	}
	close(a.ended)
	a.claims, a.ended = nil, nil
	u.mu.Unlock()
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
	return nil
}

// PostCreation does nothing.
func (u *unloggedSeries) PostCreation(labels.Labels) {}

// PostDeletion does nothing.
func (u *unloggedSeries) PostDeletion(map[chunks.HeadSeriesRef]labels.Labels) {}

var _ tsdb.SeriesLifecycleCallback = (*unloggedSeries)(nil)
