package receive

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
)

// headAppender appends to a head, inside its writers' gate until it is
// committed or rolled back.
type headAppender struct {
	head     *head
	metadata *metadataStore
	app      storage.AppenderV2

	done      bool
	exemplars int

	// See unloggedSeries.
	claims []uint64      // hashes of the series it makes
	made   atomic.Bool   // the latest of them was not there before
	ended  chan struct{} // closed when they are logged; nil if there never were any
	// moved: a series was dropped and made again, by whomever, while it was
	// being appended to. It may not be logged yet.
	moved atomic.Bool

	// The metadata last seen: the samples of a series share theirs.
	lastFamily   string
	lastMetadata metadata.Metadata
}

var (
	_ storage.AppenderV2 = (*headAppender)(nil)
	_ RefAppender        = (*headAppender)(nil)
)

var (
	errLostLog = errors.New("samples were not written")
	errMoved   = retryableError("a series was dropped from memory while it was being appended to; append the same again")
	errTornLog = errors.New("it may hold a part of a record that another commit could not write, and what follows is lost when it is replayed")
)

// appender opens an appender. The caller must have entered the writers' gate,
// which the appender leaves when it is done.
func (h *head) appender(ctx context.Context, store *metadataStore) (app storage.AppenderV2, err error) {
	defer h.fence("open an appender", false, &err)
	return &headAppender{head: h, metadata: store, app: h.db.Head().AppenderV2(ctx)}, nil
}

// Append adds a sample. Besides the errors of package storage it returns a
// *TenantError if the head has failed, and ErrSeriesUnlogged. An appender that is
// making no series itself waits instead, for a second at most.
func (a *headAppender) Append(ref storage.SeriesRef, ls labels.Labels, st, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, opts storage.AOptions) (_ storage.SeriesRef, err error) {
	if err := a.usable(); err != nil {
		return 0, err
	}
	defer a.head.fence("append", true, &err)
	var out storage.SeriesRef
	if ref != 0 {
		// Without labels the TSDB makes no series for a reference it does not know.
		out, err = a.app.Append(ref, labels.EmptyLabels(), st, t, v, h, fh, opts)
		if out != 0 && out != ref {
			a.head.unlogged.move(a)
		}
	}
	if ref == 0 || !ls.IsEmpty() && (errors.Is(err, tsdb.ErrInvalidSample) || errors.Is(err, errUnclaimed)) {
		out, err = a.appendByLabels(ls, st, t, v, h, fh, opts)
	}
	if out == 0 {
		return 0, err
	}
	a.exemplars += len(opts.Exemplars)
	if !opts.Metadata.IsEmpty() {
		a.addMetadata(ls, opts)
	}
	return out, err
}

func (a *headAppender) appendByLabels(ls labels.Labels, st, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, opts storage.AOptions) (storage.SeriesRef, error) {
	ls = ls.WithoutEmpty()
	hash := ls.Hash()
	if err := a.head.unlogged.claim(a, hash); err != nil {
		return 0, err
	}
	ref, err := a.app.Append(0, ls, st, t, v, h, fh, opts)
	a.head.unlogged.release(a, hash)
	return ref, err
}

// usable returns why nothing can be appended, or nil.
func (a *headAppender) usable() error {
	if a.done {
		return tsdb.ErrAppenderClosed
	}
	return a.head.failure()
}

// appendFloat is Append of a float to a series known by ref. The caller has found
// the appender usable, and has put up the fence.
func (a *headAppender) appendFloat(ref storage.SeriesRef, st, t int64, v float64) (storage.SeriesRef, error) {
	out, err := a.app.Append(ref, labels.EmptyLabels(), st, t, v, nil, nil, storage.AOptions{})
	if out != 0 && out != ref {
		a.head.unlogged.move(a)
	}
	return out, err
}

func (a *headAppender) addMetadata(ls labels.Labels, opts storage.AOptions) {
	family := opts.MetricFamilyName
	if family == "" {
		family = ls.Get(model.MetricNameLabel)
	}
	if family == a.lastFamily && opts.Metadata == a.lastMetadata {
		return
	}
	a.lastFamily, a.lastMetadata = a.metadata.set(family, opts.Metadata)
}

// GetRef returns the reference of a series the head holds, or zero. It is zero,
// too, for a series that another appender has made and not yet committed, to
// which samples must be appended by its labels.
func (a *headAppender) GetRef(ls labels.Labels, hash uint64) (storage.SeriesRef, labels.Labels) {
	if a.done || a.head.failure() != nil {
		return 0, labels.EmptyLabels()
	}
	if getter, ok := a.app.(storage.GetRef); ok {
		// In this order: while a series that is found is not in the log it has
		// an owner.
		if ref, known := getter.GetRef(ls, hash); ref != 0 && !a.head.unlogged.foreign(a, hash) {
			return ref, known
		}
	}
	return 0, labels.EmptyLabels()
}

// SeriesRefs are those of the head.
func (a *headAppender) SeriesRefs() *SeriesRefs { return a.head.refs }

// Commit makes the samples durable and visible: when it returns nil they are in
// the write-ahead log, as far as the operating system is concerned, or on the
// disk with SyncOnCommit. After an error it is not known which are; appending the
// same again is safe.
func (a *headAppender) Commit() (err error) {
	if a.done {
		return tsdb.ErrAppenderClosed
	}
	a.done = true
	defer a.head.writers.leave()
	defer a.head.unlogged.end(a)
	defer a.head.fence("commit", true, &err)
	if a.moved.Load() {
		return errors.Join(fmt.Errorf("tenant %q: %w", a.head.tenant, errMoved), a.rollback())
	}
	if err := a.commit(); err != nil {
		return err
	}
	a.head.unlogged.end(a)
	if err := a.head.logged(); err != nil {
		return err
	}
	if a.head.opts.OutOfOrderWindow > 0 && a.head.collected.counter(lostLogsCounter) > 0 {
		// The TSDB says so to its log only, since the samples are in memory.
		return a.head.fail("write to the log of out-of-order samples", errLostLog, false)
	}
	if err := a.head.failure(); err != nil {
		// It failed meanwhile, and what replaces it may not see these samples.
		return err
	}
	a.head.lastWrite.Store(time.Now().UnixNano())
	if a.exemplars > 0 {
		a.head.addExemplars(a.exemplars)
	}
	return nil
}

// commit has the TSDB commit the transaction, one of the head at a time. The TSDB
// logs the samples first and puts them into memory then. If two transactions
// overtook each other in between, samples of a series that came in order would lie
// in the log the other way round: a replay takes the older one for one out of
// order, which it expects in the other log, and drops it. Nothing waits for the
// disk here, and the log takes one at a time in any case.
func (a *headAppender) commit() (err error) {
	h := a.head
	h.committing.Lock()
	defer h.committing.Unlock()
	// Before the next one comes, who finds the head failed.
	defer h.fence("commit", true, &err)
	if err := h.failure(); err != nil {
		return err
	}
	if err := a.app.Commit(); err != nil {
		// A write that failed in the middle leaves a torn record, and all that
		// comes after it would be dropped by the next replay. So this log is
		// not written to again; opening the tenant anew repairs it.
		return h.fail("write to the write-ahead log", err, false)
	}
	return nil
}

// logged has the last word on what was written to the logs, before anybody is
// told. It fails the head if a write to its write-ahead log has failed at any
// time: the record may lie behind one that another appender could not finish, and
// that appender need not have got to marking the head as failed. With
// SyncOnCommit it returns when all of it is on the disk.
func (h *head) logged() error {
	if h.collected.counter(tornLogsCounter) > 0 {
		return h.fail("write to the write-ahead log", errTornLog, false)
	}
	if h.sync == nil {
		return nil
	}
	if err := h.sync.wait(); err != nil {
		// What the operating system could not write it may have given up, so
		// that syncing again would succeed and mean nothing.
		return h.fail("put the write-ahead log on the disk", err, false)
	}
	return nil
}

// Rollback forgets the samples.
func (a *headAppender) Rollback() (err error) {
	if a.done {
		return tsdb.ErrAppenderClosed
	}
	a.done = true
	defer a.head.writers.leave()
	defer a.head.unlogged.end(a)
	defer a.head.fence("roll back", true, &err)
	return a.rollback()
}

func (a *headAppender) rollback() error {
	if a.head.failure() != nil {
		return nil // Nothing of it will ever be seen.
	}
	if err := a.app.Rollback(); err != nil {
		return a.head.fail("write to the write-ahead log", err, false)
	}
	return nil
}
