package receive

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
)

// errAppendAgain is why a transaction was rolled back that will do if all of it is
// appended again, to another appender.
const errAppendAgain = retryableError("append the same again")

// appenderAlone opens an appender, and no other is committed before it has ended.
func (h *head) appenderAlone(ctx context.Context, store *metadataStore) (storage.AppenderV2, error) {
	h.committing.Lock()
	app, err := h.appender(ctx, store)
	if a, ok := app.(*headAppender); ok {
		a.alone = true
		return a, nil
	}
	h.committing.Unlock()
	return nil, err
}

// endAlone lets others commit.
func (a *headAppender) endAlone() {
	if a.alone {
		a.alone = false
		a.head.committing.Unlock()
	}
}

// Commit makes the samples durable and visible: when it returns nil they are in
// the write-ahead log, as far as the operating system is concerned, or on the
// disk with SyncOnCommit. After an error it is not known which are; appending the
// same again, to another appender, is safe. If the error is errAppendAgain none
// are, and that will do.
func (a *headAppender) Commit() (err error) {
	if a.done {
		return tsdb.ErrAppenderClosed
	}
	a.done = true
	defer a.head.writers.leave()
	defer a.head.unlogged.end(a)
	defer a.endAlone()
	defer a.head.fence("commit", true, &err)
	if err := a.head.failure(); err != nil {
		return err
	}
	if !a.head.unlogged.settled(a) {
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
	if !a.alone {
		h.committing.Lock()
		a.alone = true
	}
	defer a.endAlone()
	// Before the next one comes, who finds the head failed.
	defer h.fence("commit", true, &err)
	if err := h.failure(); err != nil {
		return err
	}
	if a.aged() {
		return errors.Join(fmt.Errorf("tenant %q: %w", h.tenant, errAged), a.rollback())
	}
	undisturbed := h.commits.Load() == a.before
	var had float64
	if !undisturbed {
		had = h.collected.appended()
	}
	if err := a.app.Commit(); err != nil {
		// A write that failed in the middle leaves a torn record, and all that
		// comes after it would be dropped by the next replay. So this log is
		// not written to again; opening the tenant anew repairs it.
		return h.fail("write to the write-ahead log", err, false)
	}
	h.commits.Add(1)
	// Undisturbed it can only have left out samples that were there already.
	a.missed = !undisturbed && h.collected.appended()-had < float64(a.samples)
	return nil
}

// aged tells whether a sample that may go in order by what the head was like when
// the appender was opened is out of order by what it is now. Another transaction,
// opened since, may have a later sample of the same series that was, so that a
// replay, which puts into order whatever it can, would find this one behind it and
// drop it, and it would not be in the log of out-of-order samples either. Without
// a window there are no such samples.
func (a *headAppender) aged() bool {
	return a.head.opts.OutOfOrderWindow > 0 && a.oldest < a.head.inOrder()
}

// missedSome tells, after the commit, that it has left samples out because another
// one had moved their series past them in the meantime, or that it may have.
func (a *headAppender) missedSome() bool { return a.missed }

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

// inOrder returns the time, in ms, before which no sample of an appender that is
// opened now can go in order, whatever its series. It never goes down.
func (h *head) inOrder() int64 {
	if t, ok := h.db.Head().AppendableMinValidTime(); ok {
		return t
	}
	return math.MinInt64
}
