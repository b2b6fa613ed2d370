package receive

import (
	"context"
	"errors"
	"fmt"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"github.com/prometheus/prometheus/storage"

	"github.com/varve-tsdb/varve/internal/writepb"
)

// Appendable is the storage behind a Handler. Tenants satisfies it.
//
// Appender opens a transaction for a tenant, whose name ValidateTenant has
// passed. Several may be open at once, for one tenant too. The Handler appends
// the samples of a series in ascending order of time within a transaction, and
// ends every transaction with Commit or Rollback. An error should wrap
// ErrUnavailable, or have a method Retryable() bool, to say whether sending
// the request again can help; see ReasonOf. A sample refused with
// ErrSeriesUnlogged is appended again after a commit.
//
// Labels, metadata and histograms given to the appender may be kept by it.
// The slice of exemplars may not.
type Appendable interface {
	Appender(ctx context.Context, tenant string) (storage.AppenderV2, error)
}

// appendRun puts one request into the storage and gathers its verdicts. It is
// reused; nothing in it may outlive the request but capacity.
type appendRun struct {
	to     Appendable
	tenant string
	limits appendLimits

	req     writepb.Request
	series  writepb.Series
	labels  []writepb.Label
	builder labels.ScratchBuilder
	scratch labels.Labels // those of the series at hand, overwritten by the next
	target  appendTarget
	points  []appendPoint
	carried []exemplar.Exemplar
	texts   map[uint32]string

	tx       appendTx
	known    [lookUpBatch]knownSeries
	learnt   []learntRef
	next     uint32 // where the next known series is likely to be
	seen     seenSeries
	named    namedSeries
	expanded int64 // bytes of labels so far
	later    []appendLater
	lone     []loneExemplars
	doubtful []appendDoubt
	tally    tally

	picked   []uint32 // if picky, the series to append
	picky    bool
	at       uint32          // the position of the series at hand, once it has to be decoded
	second   bool            // the transaction is that of what was left for later
	alone    bool            // and no other is committed before it has ended
	thorough bool            // all that is doubtful is looked up
	outcomes []seriesOutcome // by position; nil if nobody asks
	// outcomesRoom is what outcomes are made in.
	outcomesRoom []seriesOutcome
}

// appendLimits are the bounds of a request, inclusive.
type appendLimits struct {
	maxTime    int64 // of samples, in milliseconds
	labelBytes int64 // of all series and exemplars, written out
	relabel    []*relabel.Config
	labels     labelLimits
	rules      uint64 // stands for all that decides what becomes of labels

	activeSeries int // of the tenant, in memory
}

// appendTx is the open transaction and what it will have stored.
type appendTx struct {
	app       storage.AppenderV2
	refs      RefAppender // app, if it is one
	met       bool        // a series by its reference
	samples   [numReasons]tallyCounts
	exemplars int
	// broken is why the storage is not asked any more.
	broken Reason
	again  bool // all is to be appended anew
	missed bool // not all that was taken is stored
}

// errMalformed wraps an error about the bytes of the request; nothing of such
// a request is stored.
var errMalformed = writepb.ErrMalformed

// run appends every sample of the request in a.req. On error nothing is
// stored and the tally means nothing; otherwise the tally says it all.
func (a *appendRun) run(ctx context.Context) error {
	// A storage may wait for its appenders, so none is left open whatever
	// happens; after a commit this does nothing.
	defer a.rollback()
	if err := a.checkMetadata(); err != nil {
		return err
	}
	if err := a.transact(func() error { return a.appendPicked(ctx) }); err != nil {
		return err
	}
	a.appendLater(ctx)
	a.appendLone(ctx)
	a.resolveDoubts(ctx)
	return nil
}

// appendPicked appends the series that are to be appended.
func (a *appendRun) appendPicked(ctx context.Context) error {
	for i := 0; i < a.numPicked(); {
		n, err := a.appendSome(ctx, i)
		if err != nil {
			return err
		}
		i += n
	}
	a.commit()
	return nil
}

// open makes sure that there is a transaction. It returns false if the storage
// is broken.
func (a *appendRun) open(ctx context.Context) bool {
	if a.tx.app != nil {
		return true
	}
	if a.tx.broken != 0 {
		return false
	}
	app, err := a.openAppender(ctx)
	if err != nil {
		a.fail(ctx, err)
		return false
	}
	a.tx.app = app
	if refs, ok := app.(RefAppender); ok {
		a.tx.refs = refs
		a.req.Seed(a.limits.rules)
	}
	return true
}

// fail ends the transaction after an error of the storage as a whole. What was
// in it is not stored.
func (a *appendRun) fail(ctx context.Context, err error) {
	reason := ReasonOf(err)
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		reason = ReasonUnavailable
	}
	a.tx.broken, a.tally.failure = reason, err
	a.rollback()
	a.abandon()
}

// rollback drops the open transaction, if there is one.
func (a *appendRun) rollback() {
	if a.tx.app != nil {
		// The storage has failed or the request is void: there is nobody to
		// tell of a second error.
		_ = a.tx.app.Rollback()
		a.tx.app, a.tx.refs = nil, nil
	}
}

// abandon gives everything in the transaction the verdict that broke it.
func (a *appendRun) abandon() {
	for reason := range a.tx.samples {
		for kind, n := range a.tx.samples[reason] {
			a.tally.samples[a.tx.broken][kind] += n
		}
	}
	a.tally.exemplars[exemplarFailed] += a.tx.exemplars
	a.tx.samples, a.tx.exemplars = [numReasons]tallyCounts{}, 0
	a.settleBroken()
}

// commit makes the transaction last. Only now are its samples stored.
func (a *appendRun) commit() {
	if a.tx.app == nil {
		return
	}
	app, refs := a.tx.app, a.tx.refs
	err := app.Commit()
	a.tx.app, a.tx.refs = nil, nil
	if refs != nil && err == nil {
		// Not before: a head puts a new series into its log with the commit,
		// and what others append to it by reference must come after that.
		refs.SeriesRefs().learn(a.learnt)
	}
	a.learnt = a.learnt[:0]
	if a.commitAgain(app, err) {
		return
	}
	if err != nil {
		a.tx.broken, a.tally.failure = retryableReason(err), fmt.Errorf("commit: %w", err)
		a.abandon()
		return
	}
	for reason := range a.tx.samples {
		for kind, n := range a.tx.samples[reason] {
			a.tally.samples[reason][kind] += n
		}
	}
	a.tally.exemplars[exemplarStored] += a.tx.exemplars
	a.tx.samples, a.tx.exemplars = [numReasons]tallyCounts{}, 0
}

// retryableReason is ReasonOf for an error that came too late to blame a
// sample.
func retryableReason(err error) Reason {
	if r := ReasonOf(err); r.Class() == Retryable {
		return r
	}
	return ReasonFailed
}
