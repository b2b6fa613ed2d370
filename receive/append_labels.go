package receive

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
	"unsafe"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"

	"github.com/varve-tsdb/varve/internal/writepb"
)

// MaxLabelBytes bounds the names and values of one series together. Prometheus'
// label type breaks at 16 MiB a string, and an index is no place for a series
// that is larger than all its samples.
const MaxLabelBytes = 64 << 10

// appendRefusal is why a whole series is refused.
type appendRefusal struct {
	reason Reason
	err    error
}

var metricNameBytes = []byte(model.MetricNameLabel)

// seriesLabels builds the labels of a.series for t by the rules of Prometheus:
// sorted if they were not, no name twice, no empty name, valid UTF-8, a metric
// name. A label with an empty value is an absent one and is left out. Then the
// rules of relabelling are applied; if they drop the series there are no labels.
// The labels are overwritten by those of the next series unless ask has copied
// them.
func (a *appendRun) seriesLabels(t *appendTarget) appendRefusal {
	var err error
	a.labels, err = a.series.AppendLabels(a.labels[:0])
	if err != nil {
		if errors.Is(err, writepb.ErrLabels) {
			return appendRefusal{ReasonLabelsTooLong, err}
		}
		return appendRefusal{ReasonBadSymbol, err}
	}
	if err := a.chargeLabels(); err != nil {
		return appendRefusal{ReasonLabelsTooLong, err}
	}
	if !slices.IsSortedFunc(a.labels, compareLabelNames) {
		slices.SortFunc(a.labels, compareLabelNames)
	}
	if reason, err := checkLabels(a.labels, a.series.ASCII()); err != nil {
		return appendRefusal{reason, err}
	}
	a.fillBuilder()
	a.builder.Overwrite(&a.scratch)
	t.ls, t.named = a.scratch, true
	if len(a.limits.relabel) > 0 {
		if refusal := a.relabel(t); refusal.err != nil {
			return refusal
		}
	}
	return a.limits.labels.check(t.ls)
}

// relabel applies the rules to the labels of t.
func (a *appendRun) relabel(t *appendTarget) appendRefusal {
	builder := labels.NewBuilder(t.ls.Copy())
	if !relabel.ProcessBuilder(builder, a.limits.relabel...) {
		t.ls = labels.EmptyLabels()
		return appendRefusal{}
	}
	ls := builder.Labels()
	if !ls.Has(model.MetricNameLabel) {
		return appendRefusal{ReasonNoMetricName, errors.New("relabelling leaves it no metric name")}
	}
	t.ls = ls
	return appendRefusal{}
}

// needLabels sees to it that t has labels that last. It returns false if they
// cannot be had, and refuses the sample.
func (a *appendRun) needLabels(t *appendTarget, kind sampleKind) bool {
	if t.named {
		return true
	}
	refusal := a.seriesLabels(t)
	if refusal.err == nil {
		t.ls = t.ls.Copy()
		return true
	}
	var n tallyCounts
	n[kind] = 1
	a.refuseSeries(refusal, n)
	return false
}

// chargeLabels takes what a.labels need, written out, from what the request
// may use. In 2.0 a reference of two bytes stands for a text of any length, so
// that a small request could fill the memory, or keep a core busy with checks.
func (a *appendRun) chargeLabels() error {
	if a.expanded > a.limits.labelBytes {
		return a.overBudget()
	}
	var size int64
	for _, l := range a.labels {
		size += int64(len(l.Name) + len(l.Value))
	}
	if size > MaxLabelBytes {
		return fmt.Errorf("its labels are longer than %d bytes together", MaxLabelBytes)
	}
	if a.expanded += size; a.expanded > a.limits.labelBytes {
		return a.overBudget()
	}
	return nil
}

func (a *appendRun) overBudget() error {
	return fmt.Errorf("the labels of the request, written out, are longer than the %d bytes this receiver takes; send fewer samples a request", a.limits.labelBytes)
}

// fillBuilder hands a.labels, which are sorted and valid, to the builder.
func (a *appendRun) fillBuilder() {
	a.builder.Reset()
	a.builder.SetUnsafeAdd(true)
	for _, l := range a.labels {
		if len(l.Value) > 0 {
			a.builder.Add(viewString(l.Name), viewString(l.Value))
		}
	}
}

func compareLabelNames(x, y writepb.Label) int { return bytes.Compare(x.Name, y.Name) }

// checkLabels returns what is wrong with sorted labels. If they are known to be
// ASCII nobody need look at their bytes.
func checkLabels(ls []writepb.Label, ascii bool) (Reason, error) {
	var named bool
	for i, l := range ls {
		switch {
		case len(l.Name) == 0:
			return ReasonEmptyLabelName, errors.New("a label has an empty name")
		case i > 0 && bytes.Equal(l.Name, ls[i-1].Name):
			return ReasonDuplicateLabel, fmt.Errorf("label %s is given twice", quoteClip(l.Name))
		case !ascii && !utf8.Valid(l.Name):
			return ReasonLabelNotUTF8, fmt.Errorf("label name %s is not valid UTF-8", quoteClip(l.Name))
		case !ascii && !utf8.Valid(l.Value):
			return ReasonLabelNotUTF8, fmt.Errorf("the value of label %s is not valid UTF-8: %s", quoteClip(l.Name), quoteClip(l.Value))
		}
		named = named || len(l.Value) > 0 && bytes.Equal(l.Name, metricNameBytes)
	}
	if !named {
		return ReasonNoMetricName, fmt.Errorf("it has no metric name (label %s)", model.MetricNameLabel)
	}
	return ReasonStored, nil
}

// refuseSeries gives the series whose labels are in a.labels the verdict.
func (a *appendRun) refuseSeries(r appendRefusal, n tallyCounts) {
	a.settle(r.reason)
	if e := a.tally.refuse(r.reason, n); e != nil {
		e.series, e.err = describeLabels(a.labels), r.err
	}
}

// describeLabels makes labels, which may be anything, fit for a message.
func describeLabels(ls []writepb.Label) string {
	var b strings.Builder
	b.WriteByte('{')
	for i, l := range ls {
		if i > 0 {
			b.WriteString(", ")
		}
		if b.Len() > tallySeriesBytes {
			b.WriteString("...")
			break
		}
		fmt.Fprintf(&b, "%s=%s", quoteClip(l.Name), quoteClip(l.Value))
	}
	b.WriteByte('}')
	return b.String()
}

// quoteClip makes bytes of any kind fit for a message.
func quoteClip(b []byte) string {
	const most = 60
	if len(b) > most {
		return fmt.Sprintf("%q...", b[:most])
	}
	return fmt.Sprintf("%q", b)
}

// viewString returns b as a string without copying it. It must not be kept.
func viewString(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
