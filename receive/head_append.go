package receive

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"

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

	// What the commit has to know: see headAppender.commit.
	samples int    // appended
	before  uint64 // commits of the head when it was opened
	inOrder int64  // no sample before this time, in ms, can go in order
	oldest  int64  // of those appended from then on
	missed  bool   // the commit left samples out
	alone   bool   // it holds head.committing until it has ended

	// See unloggedSeries.
	claims []uint64      // hashes of the series it makes
	made   atomic.Bool   // the latest of them was not there before
	ended  chan struct{} // closed when they are logged; nil if there never were any
	moved  bool          // it is one of the movers

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
	errMoved   = fmt.Errorf("a series was dropped from memory while it was being appended to: %w", errAppendAgain)
	errAged    = fmt.Errorf("samples have come to be late for their tenant while they were being appended: %w", errAppendAgain)
	errTornLog = errors.New("it may hold a part of a record that another commit could not write, and what follows is lost when it is replayed")
)

// appender opens an appender. The caller must have entered the writers' gate,
// which the appender leaves when it is done.
func (h *head) appender(ctx context.Context, store *metadataStore) (app storage.AppenderV2, err error) {
	defer h.fence("open an appender", false, &err)
	a := &headAppender{head: h, metadata: store, before: h.commits.Load(), inOrder: h.inOrder(), oldest: math.MaxInt64}
	a.app = h.db.Head().AppenderV2(ctx)
	return a, nil
}

// Append adds a sample. Besides the errors of package storage it returns a
// *TenantError if the head has failed, and ErrSeriesUnlogged. An appender that is
// making no series itself, and is not alone, waits instead, for a second at most.
func (a *headAppender) Append(ref storage.SeriesRef, ls labels.Labels, st, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, opts storage.AOptions) (_ storage.SeriesRef, err error) {
	if err := a.usable(); err != nil {
		return 0, err
	}
	defer a.head.fence("append", true, &err)
	var out storage.SeriesRef
	if ref != 0 {
		out, err = a.appendByRef(ref, st, t, v, h, fh, opts)
	}
	if ref == 0 || !ls.IsEmpty() && (errors.Is(err, tsdb.ErrInvalidSample) || errors.Is(err, errUnclaimed)) {
		out, err = a.appendByLabels(ls, st, t, v, h, fh, opts)
	}
	if out == 0 {
		return 0, err
	}
	a.note(t)
	a.exemplars += len(opts.Exemplars)
	if !opts.Metadata.IsEmpty() {
		a.addMetadata(ls, opts)
	}
	return out, err
}

// appendByRef appends to a series that is known. Without labels the TSDB makes no
// series for a reference it does not know.
func (a *headAppender) appendByRef(ref storage.SeriesRef, st, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, opts storage.AOptions) (storage.SeriesRef, error) {
	u := a.head.unlogged
	u.moving.RLock()
	defer u.moving.RUnlock()
	created := u.created.Load()
	out, err := a.app.Append(ref, labels.EmptyLabels(), st, t, v, h, fh, opts)
	if out != 0 && out != ref || madeAndRefused(err) && u.created.Load() != created {
		u.move(a)
	}
	return out, err
}

// madeAndRefused tells whether err is one that a series which was made in that very
// append may be refused for.
func madeAndRefused(err error) bool {
	return errors.Is(err, storage.ErrTooOldSample) || errors.Is(err, storage.ErrOutOfBounds)
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
// the appender usable, has put up the fence, and holds unlogged.moving to read.
func (a *headAppender) appendFloat(ref storage.SeriesRef, st, t int64, v float64) (storage.SeriesRef, error) {
	created := a.head.unlogged.created.Load()
	out, err := a.app.Append(ref, labels.EmptyLabels(), st, t, v, nil, nil, storage.AOptions{})
	if out == 0 {
		if madeAndRefused(err) && a.head.unlogged.created.Load() != created {
			a.head.unlogged.move(a)
		}
		return 0, err
	}
	if out != ref {
		a.head.unlogged.move(a)
	}
	a.note(t)
	return out, err
}

// note says that the TSDB has taken a sample.
func (a *headAppender) note(t int64) {
	a.samples++
	if t >= a.inOrder && t < a.oldest {
		a.oldest = t
	}
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
	// In this order: while a series that is found is not in the log it has an owner.
	if ref, known := a.find(ls, hash); ref != 0 && !a.head.unlogged.foreign(a, hash) {
		return ref, known
	}
	return 0, labels.EmptyLabels()
}

func (a *headAppender) findSeries(ls labels.Labels, hash uint64) storage.SeriesRef {
	ref, _ := a.find(ls, hash)
	return ref
}

func (a *headAppender) find(ls labels.Labels, hash uint64) (storage.SeriesRef, labels.Labels) {
	if getter, ok := a.app.(storage.GetRef); ok && a.usable() == nil {
		return getter.GetRef(ls, hash)
	}
	return 0, labels.EmptyLabels()
}

// SeriesRefs are those of the head.
func (a *headAppender) SeriesRefs() *SeriesRefs { return a.head.refs }

// Rollback forgets the samples.
func (a *headAppender) Rollback() (err error) {
	if a.done {
		return tsdb.ErrAppenderClosed
	}
	a.done = true
	defer a.head.writers.leave()
	defer a.head.unlogged.drop(a)
	defer a.endAlone()
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
