package receive

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
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
// of the same hash are taken for one.
type unloggedSeries struct {
	mu     sync.Mutex // guards what follows
	owners map[uint64]*headAppender
	strict bool // false while the log is replayed
}

// restrict ends the replay.
func (u *unloggedSeries) restrict() {
	u.mu.Lock()
	u.strict = true
	u.mu.Unlock()
}

// claim makes a the owner of the series with some labels, unless the head has
// had it before. It returns ErrSeriesUnlogged if it is another's and a owns
// series, too.
func (u *unloggedSeries) claim(a *headAppender, ls labels.Labels) error {
	var timeout *time.Timer
	for hash := ls.Hash(); ; {
		// First: while a series that is found here is not in the log it has an
		// owner.
		ref, _ := a.head.find(a.app, ls, hash)
		ended := u.take(a, hash, ref != 0)
		if ended == nil {
			return nil
		}
		if len(a.claims) > 0 {
			return ErrSeriesUnlogged
		}
		if timeout == nil {
			timeout = time.NewTimer(unloggedWait)
			defer timeout.Stop()
		}
		select {
		case <-ended:
		case <-timeout.C:
			return fmt.Errorf("tenant %q: %w", a.head.tenant, errUnloggedTooLong)
		}
	}
}

// take returns what tells of the end of another transaction that has the series,
// or nil. If none has, a gets it, unless it exists.
func (u *unloggedSeries) take(a *headAppender, hash uint64, exists bool) (ended <-chan struct{}) {
	u.mu.Lock()
	defer u.mu.Unlock()
	owner := u.owners[hash]
	switch {
	case owner == a || owner == nil && exists:
		return nil
	case owner != nil:
		return owner.ended
	case u.owners == nil:
		u.owners = map[uint64]*headAppender{}
	}
	if a.ended == nil {
		a.ended = make(chan struct{})
	}
	u.owners[hash] = a
	a.claims = append(a.claims, hash)
	return nil
}

// foreign tells whether a series is another transaction's.
func (u *unloggedSeries) foreign(a *headAppender, hash uint64) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	owner := u.owners[hash]
	return owner != nil && owner != a
}

// end says that the series of a are in the log, or never will be because the
// head has failed.
func (u *unloggedSeries) end(a *headAppender) {
	if a.ended == nil {
		return
	}
	u.mu.Lock()
	if len(u.owners) == len(a.claims) {
		u.owners = nil // Few tenants make series all the time.
	} else {
		for _, hash := range a.claims {
			delete(u.owners, hash)
		}
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
	if u.strict && u.owners[ls.Hash()] == nil {
		return errUnclaimed
	}
	return nil
}

// PostCreation and PostDeletion are of no interest.
func (u *unloggedSeries) PostCreation(labels.Labels) {}

// PostDeletion does nothing.
func (u *unloggedSeries) PostDeletion(map[chunks.HeadSeriesRef]labels.Labels) {}

var _ tsdb.SeriesLifecycleCallback = (*unloggedSeries)(nil)

// find returns the reference and the labels of a series that the head holds, or
// zero.
func (h *head) find(app storage.AppenderV2, ls labels.Labels, hash uint64) (storage.SeriesRef, labels.Labels) {
	if getter, ok := app.(storage.GetRef); ok {
		return getter.GetRef(ls, hash)
	}
	return 0, labels.EmptyLabels()
}
