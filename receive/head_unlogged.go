package receive

import (
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
)

// unloggedWait bounds how long a commit waits for another transaction to log
// the series that both append to. They may be waiting for each other.
const unloggedWait = time.Second

// unloggedSeries are those that a head has made and not yet written to its log.
// A head logs a series at the end of the transaction that made it. If another one
// that appended to it were committed before, a replay would meet its samples
// first: it would drop them, or, should the first transaction have failed and
// the reference gone to another series, give them to that.
type unloggedSeries struct {
	mu     sync.Mutex // guards what follows, and is held while series are made
	owners map[storage.SeriesRef]*headAppender
	newest storage.SeriesRef // references count up
}

// append appends a sample of a series that may have to be made.
func (u *unloggedSeries) append(a *headAppender, ls labels.Labels, st, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, opts storage.AOptions) (storage.SeriesRef, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	ref, err := a.app.Append(0, ls, st, t, v, h, fh, opts)
	made := ref
	if made == 0 {
		// The sample was refused. That does not unmake its series.
		if getter, ok := a.app.(storage.GetRef); ok {
			made, _ = getter.GetRef(ls, ls.Hash())
		}
	}
	u.note(a, made)
	return ref, err
}

// met notes a series that a has appended to without having asked for it.
func (u *unloggedSeries) met(a *headAppender, ref storage.SeriesRef) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.note(a, ref)
}

func (u *unloggedSeries) note(a *headAppender, ref storage.SeriesRef) {
	switch owner := u.owners[ref]; {
	case ref > u.newest:
		u.newest = ref
		if u.owners == nil {
			u.owners = map[storage.SeriesRef]*headAppender{}
		}
		if a.ended == nil {
			a.ended = make(chan struct{})
		}
		u.owners[ref] = a
		a.made = append(a.made, ref)
	case owner != nil && owner != a && (len(a.awaits) == 0 || a.awaits[len(a.awaits)-1] != owner):
		a.awaits = append(a.awaits, owner)
	}
}

// foreign tells whether a series is another transaction's.
func (u *unloggedSeries) foreign(a *headAppender, ref storage.SeriesRef) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	owner := u.owners[ref]
	return owner != nil && owner != a
}

// await waits for the transactions whose series a has appended to.
func (u *unloggedSeries) await(a *headAppender) error {
	if len(a.awaits) == 0 {
		return nil
	}
	timeout := time.NewTimer(unloggedWait)
	defer timeout.Stop()
	for _, owner := range a.awaits {
		select {
		case <-owner.ended:
		case <-timeout.C:
			return fmt.Errorf("tenant %q: another transaction has made a series of this one and does not end; append the same again: %w", a.head.tenant, ErrUnavailable)
		}
	}
	return nil
}

// end says that the series of a are in the log, or never will be because the
// head has failed.
func (u *unloggedSeries) end(a *headAppender) {
	if a.ended == nil {
		return
	}
	u.mu.Lock()
	for _, ref := range a.made {
		delete(u.owners, ref)
	}
	u.mu.Unlock()
	close(a.ended)
}
