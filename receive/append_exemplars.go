package receive

import (
	"cmp"
	"errors"
	"slices"
	"unicode/utf8"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/varve-tsdb/varve/internal/writepb"
)

// exemplarOutcome is what became of an exemplar. None but invalid references
// shows in the status: exemplars are a help, and a repeated request must not
// fail over those it has stored before.
type exemplarOutcome uint8

const (
	exemplarStored     exemplarOutcome = iota // or recognised, or not kept by the storage
	exemplarOutOfOrder                        // older than the newest of its series
	exemplarInvalid                           // labels or references
	exemplarRefused                           // no sample was stored with it, or the storage does not want it
	exemplarFailed                            // went down with its transaction
	numExemplarOutcomes
)

var exemplarOutcomeNames = [numExemplarOutcomes]string{
	exemplarStored: "stored", exemplarOutOfOrder: "out_of_order", exemplarInvalid: "invalid",
	exemplarRefused: "refused", exemplarFailed: "storage_failed",
}

// seriesExemplars decodes the exemplars of a.series into the options of t, by
// time. An error means that the request is malformed.
func (a *appendRun) seriesExemplars(t *appendTarget) error {
	if len(a.series.Exemplars) == 0 {
		return nil
	}
	a.carried = slices.Grow(a.carried[:0], len(a.series.Exemplars))
	for _, raw := range a.series.Exemplars {
		var (
			e   writepb.DecodedExemplar
			err error
		)
		e, a.labels, err = a.series.Exemplar(raw, a.labels[:0])
		if errors.Is(err, errMalformed) {
			return err
		}
		if errors.Is(err, writepb.ErrLabels) {
			a.tally.exemplars[exemplarInvalid]++
			continue
		}
		if err != nil {
			a.tally.exemplars[exemplarInvalid]++
			if told := a.tally.refuse(ReasonBadExemplar, tallyCounts{}); told != nil {
				told.series, told.t, told.hasT, told.err = a.describe(t), e.Timestamp, e.Timestamp != 0, err
			}
			continue
		}
		ls, ok := a.exemplarLabels()
		if !ok || e.Timestamp > a.limits.maxTime {
			a.tally.exemplars[exemplarInvalid]++
			continue
		}
		a.carried = append(a.carried, exemplar.Exemplar{Labels: ls, Value: e.Value, Ts: e.Timestamp, HasTs: e.Timestamp != 0})
	}
	a.timeExemplars()
	t.opts.Exemplars = a.carried
	return nil
}

// exemplarLabels builds the labels of an exemplar from a.labels. The same rules
// hold as for series, except that there need be no label at all, and that they
// may be no longer than OpenMetrics allows.
func (a *appendRun) exemplarLabels() (labels.Labels, bool) {
	if a.chargeLabels() != nil || exemplarTooLong(a.labels) {
		return labels.Labels{}, false
	}
	if !slices.IsSortedFunc(a.labels, compareLabelNames) {
		slices.SortFunc(a.labels, compareLabelNames)
	}
	if reason, err := checkLabels(a.labels, false); err != nil && reason != ReasonNoMetricName {
		return labels.Labels{}, false
	}
	a.fillBuilder()
	return a.builder.Labels(), true
}

// exemplarTooLong reports whether the storage would refuse labels for their
// length, which is counted in characters.
func exemplarTooLong(ls []writepb.Label) bool {
	var size int
	for _, l := range ls {
		if len(l.Name)+len(l.Value) > utf8.UTFMax*exemplar.ExemplarMaxLabelSetLength {
			return true
		}
		if len(l.Value) > 0 {
			size += utf8.RuneCount(l.Name) + utf8.RuneCount(l.Value)
		}
		if size > exemplar.ExemplarMaxLabelSetLength {
			return true
		}
	}
	return false
}

// timeExemplars gives exemplars without a time that of the newest sample they
// came with, as a scrape does, and sorts them.
func (a *appendRun) timeExemplars() {
	var newest int64
	if points := a.seriesPoints(); len(points) > 0 {
		newest = points[len(points)-1].t
	}
	for i := range a.carried {
		if !a.carried[i].HasTs {
			a.carried[i].Ts = newest
		}
	}
	byTime := func(x, y exemplar.Exemplar) int { return cmp.Compare(x.Ts, y.Ts) }
	if !slices.IsSortedFunc(a.carried, byTime) {
		slices.SortStableFunc(a.carried, byTime)
	}
}

// exemplarsLeft deals with the exemplars that no sample of the series carried
// into the storage: they go with the last that waits for the next transaction.
func (a *appendRun) exemplarsLeft(t *appendTarget, waiting []appendLater) {
	left := t.opts.Exemplars
	if len(left) == 0 {
		return
	}
	if len(waiting) == 0 {
		a.tally.exemplars[exemplarRefused] += len(left)
		return
	}
	waiting[len(waiting)-1].opts.Exemplars = slices.Clone(left)
}

func withoutExemplars(opts storage.AppendV2Options) storage.AppendV2Options {
	opts.Exemplars = nil
	return opts
}

func (a *appendRun) countExemplarErrors(partial *storage.AppendPartialError) {
	for _, err := range partial.ExemplarErrors {
		switch {
		case errors.Is(err, storage.ErrOutOfOrderExemplar):
			a.tally.exemplars[exemplarOutOfOrder]++
		case errors.Is(err, storage.ErrExemplarLabelLength):
			a.tally.exemplars[exemplarInvalid]++
		default:
			a.tally.exemplars[exemplarRefused]++
		}
	}
}
