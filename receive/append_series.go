package receive

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/varve-tsdb/varve/internal/writepb"
)

// maxTimestamp and minTimestamp bound sample times in milliseconds. A TSDB
// head subtracts and adds block lengths and windows to the times it holds; one
// sample nearer to the ends of int64 would overflow that and lock the tenant.
const (
	maxTimestamp = math.MaxInt64 / 2
	minTimestamp = -maxTimestamp
)

var (
	errTooFarInFuture = errors.New("further ahead of the receiver's clock than it allows")
	errBadTimestamp   = errors.New("time is outside of what can be stored")
	errNoSamples      = errors.New("neither samples nor histograms nor exemplars")
	errOtherInRequest = errors.New("the request has two values for this time; the first is taken")
)

// appendPoint refers to a sample or histogram of the series at hand.
type appendPoint struct {
	t     int64
	kind  sampleKind
	index int
}

// appendTarget is the series that samples are being appended to.
type appendTarget struct {
	ls   labels.Labels
	ref  storage.SeriesRef
	opts storage.AppendV2Options
	// named is false as long as nobody needed the labels of a known series.
	named bool
	// id stands for the series in this transaction once the storage has been
	// asked for it: the reference, if the storage is one that keeps them.
	id     storage.SeriesRef
	entry  int // its number among the named series, plus one
	asked  bool
	strict bool // the series may not be appended to in this transaction

	last    appendLast
	hasLast bool
	stored  bool // something was appended
	// repeated: samples that the transaction has already came again.
	repeated bool
}

// appendSeries gives each sample of a.series, which is known by ref unless that
// is zero, a verdict. An error means that the request is malformed.
func (a *appendRun) appendSeries(ctx context.Context, ref storage.SeriesRef) error {
	n := tallyCounts{len(a.series.Samples), len(a.series.Histograms)}
	a.target = appendTarget{}
	t := &a.target
	if a.tx.broken != 0 {
		a.tally.samples[a.tx.broken][floatSample] += n[floatSample]
		a.tally.samples[a.tx.broken][histogramSample] += n[histogramSample]
		a.settle(a.tx.broken)
		return nil
	}
	if ref == droppedRef {
		a.dropSeries(n)
		return nil
	}
	if ref != 0 && n.total() > 0 {
		t.ref, t.id, t.asked = ref, ref, true
		a.recall(t)
	} else if done, err := a.nameSeries(t, n); done || err != nil {
		return err
	}
	if err := a.seriesExemplars(t); err != nil {
		return err
	}
	firstLater := len(a.later)
	for _, p := range a.seriesPoints() {
		st, val, err := a.pointValue(p)
		if errors.Is(err, errMalformed) {
			return err
		}
		if err != nil {
			a.refusePoint(t, ReasonBadHistogram, p.kind, p.t, err)
			continue
		}
		a.appendPoint(ctx, t, st, p.t, val)
	}
	a.keepLast(t)
	a.exemplarsLeft(t, a.later[firstLater:])
	return nil
}

// nameSeries builds the labels and the metadata of a series that is not known.
// It returns true if nothing is left to do for it.
func (a *appendRun) nameSeries(t *appendTarget, n tallyCounts) (done bool, err error) {
	refusal := a.seriesLabels(t)
	switch {
	case errors.Is(refusal.err, errMalformed):
		return true, refusal.err
	case refusal.err != nil:
		a.refuseSeries(refusal, n)
		return true, nil
	case t.ls.IsEmpty():
		t.ref = droppedRef
		a.dropSeries(n)
		return true, nil
	}
	if n.total() == 0 {
		if len(a.series.Exemplars) > 0 {
			return true, a.loneExemplars(t)
		}
		// 1.0 asks for no samples in a series.
		if a.req.Version() == writepb.V2 {
			a.refuseSeries(appendRefusal{ReasonNoSamples, errNoSamples}, n)
		}
		return true, nil
	}
	if refusal := a.seriesMetadata(t); refusal.err != nil {
		a.refuseSeries(refusal, n)
		return true, nil
	}
	return false, nil
}

// dropSeries counts what the rules of relabelling drop.
func (a *appendRun) dropSeries(n tallyCounts) {
	a.tally.samples[ReasonDropped][floatSample] += n[floatSample]
	a.tally.samples[ReasonDropped][histogramSample] += n[histogramSample]
	a.tally.exemplars[exemplarRefused] += len(a.series.Exemplars)
	a.settle(ReasonDropped)
}

// seriesPoints returns the samples and histograms of a.series by time. Senders
// must send them so; sorting costs nothing then, and saves samples otherwise.
func (a *appendRun) seriesPoints() []appendPoint {
	a.points = slices.Grow(a.points[:0], len(a.series.Samples)+len(a.series.Histograms))
	for i, s := range a.series.Samples {
		a.points = append(a.points, appendPoint{s.Timestamp, floatSample, i})
	}
	for i, h := range a.series.Histograms {
		a.points = append(a.points, appendPoint{h.Timestamp, histogramSample, i})
	}
	byTime := func(x, y appendPoint) int { return cmp.Compare(x.t, y.t) }
	if !slices.IsSortedFunc(a.points, byTime) {
		slices.SortStableFunc(a.points, byTime)
	}
	return a.points
}

func (a *appendRun) pointValue(p appendPoint) (st int64, val sampleValue, err error) {
	if p.kind == floatSample {
		s := a.series.Samples[p.index]
		return s.StartTimestamp, sampleValue{v: s.Value}, nil
	}
	h := a.series.Histograms[p.index]
	val.h, val.fh, err = a.series.Histogram(h)
	if err == nil {
		err = val.fitHistogram()
	}
	return h.StartTimestamp, val, err
}

// appendPoint appends one sample to the series of t, or refuses it, or leaves
// it for the next transaction.
func (a *appendRun) appendPoint(ctx context.Context, t *appendTarget, st, ts int64, val sampleValue) {
	kind := val.kind()
	switch {
	case a.tx.broken != 0:
		a.breakPoint(kind)
		return
	case ts > maxTimestamp || ts < minTimestamp:
		a.refusePoint(t, ReasonBadTimestamp, kind, ts, errBadTimestamp)
		return
	case ts > a.limits.maxTime:
		a.refusePoint(t, ReasonTooFarInFuture, kind, ts, errTooFarInFuture)
		return
	case !a.open(ctx):
		a.breakPoint(kind)
		return
	}
	a.ask(t)
	switch {
	case t.strict || t.hasLast && ts < t.last.t:
		// An appender does not compare the samples of one transaction with
		// each other: it would take this one and lose it silently.
		if a.needLabels(t, kind) {
			a.leave(t, st, ts, val)
		}
		return
	case t.hasLast && ts == t.last.t:
		if val.equal(t.last.val) {
			a.tx.samples[ReasonDuplicate][kind]++
			t.repeated = true
			return
		}
		a.refusePoint(t, ReasonConflict, kind, ts, errOtherInRequest)
		return
	}
	a.appendTo(ctx, t, st, ts, val)
}

func (a *appendRun) appendTo(ctx context.Context, t *appendTarget, st, ts int64, val sampleValue) {
	opts := t.opts
	if val.stale() {
		// The head takes no exemplars with a stale marker.
		opts.Exemplars = nil
	}
	if t.ref == 0 {
		if err := a.noMoreSeries(t); err != nil {
			a.refusePoint(t, ReasonActiveSeries, val.kind(), ts, err)
			return
		}
	}
	ref, err := a.give(ctx, t, t.ref, st, ts, val, opts)
	partial, stored := errorAs[*storage.AppendPartialError](err)
	if err != nil && !stored && !t.named {
		// The reference may be out of date, and with it all that is known by it.
		// Whatever else it is is told with the labels.
		if a.needLabels(t, val.kind()) {
			t.ref, t.id, t.asked = 0, 0, false
			a.appendPoint(ctx, t, st, ts, val)
		}
		return
	}
	if stored {
		a.countExemplarErrors(partial)
		a.tx.exemplars -= len(partial.ExemplarErrors)
		err = nil
	}
	if err == nil {
		t.ref = ref
		t.last = appendLast{ts, val}
		t.hasLast, t.stored = true, true
		a.tx.samples[ReasonStored][val.kind()]++
		a.tx.exemplars += len(opts.Exemplars)
		if opts.Exemplars != nil {
			t.opts.Exemplars = nil
		}
		return
	}
	if errors.Is(err, ErrSeriesUnlogged) && !a.second {
		a.postpone(t, st, ts, val)
		return
	}
	if a.tx.broken != 0 {
		a.breakPoint(val.kind())
		return
	}
	reason := ReasonOf(err)
	if reason.Class() == Retryable {
		a.fail(ctx, err)
		a.breakPoint(val.kind())
		return
	}
	if a.doubt(t, reason, ts, val, err) {
		return
	}
	a.refusePoint(t, reason, val.kind(), ts, err)
}

// give appends a sample to the series known to the storage as ref, or to that
// with the labels of t. What was left for later is given once more, with nothing
// open that others could be waiting for; the storage waits then.
func (a *appendRun) give(ctx context.Context, t *appendTarget, ref storage.SeriesRef, st, ts int64, val sampleValue, opts storage.AppendV2Options) (storage.SeriesRef, error) {
	given, err := a.tx.app.Append(ref, t.ls, st, ts, val.v, val.h, val.fh, opts)
	if !a.second || !errors.Is(err, ErrSeriesUnlogged) {
		return given, err
	}
	a.commit()
	if !a.open(ctx) {
		return 0, a.tally.failure
	}
	return a.tx.app.Append(ref, t.ls, st, ts, val.v, val.h, val.fh, opts)
}

// breakPoint gives a sample the verdict that broke the transaction.
func (a *appendRun) breakPoint(kind sampleKind) {
	a.tally.add(a.tx.broken, kind)
	a.settle(a.tx.broken)
}

func (a *appendRun) refusePoint(t *appendTarget, reason Reason, kind sampleKind, ts int64, err error) {
	a.settle(reason)
	var n tallyCounts
	n[kind] = 1
	if e := a.tally.refuse(reason, n); e != nil {
		e.series, e.t, e.hasT, e.err = a.describe(t), ts, true, err
	}
}

// describe returns the labels of t for a message.
func (a *appendRun) describe(t *appendTarget) string {
	if !t.named {
		if refusal := a.seriesLabels(t); refusal.err != nil {
			return "(" + refusal.err.Error() + ")"
		}
		// A known series is never asked for, so nothing else makes them last.
		t.ls = t.ls.Copy()
	}
	return t.ls.String()
}
