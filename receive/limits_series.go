package receive

import (
	"fmt"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
)

// SeriesCounter is an optional power of the appenders that an Appendable opens:
// to say how many series the tenant has in memory, those included that were made
// in a transaction still open. With it, and with storage.GetRef, which tells a
// series that is there from a new one, Limits.ActiveSeries holds. It is called
// often and must be quick.
type SeriesCounter interface {
	storage.GetRef
	NumSeries() int
}

// NumSeries returns how many series the head has. A series that gets no more
// samples stays until the block of its last ones has been cut.
func (a *headAppender) NumSeries() int {
	if a.done || a.head.failure() != nil {
		return 0
	}
	return int(a.head.db.Head().NumSeries())
}

// check returns which limit labels are over. They are as they will be stored,
// and none if relabelling drops the series.
func (l labelLimits) check(ls labels.Labels) (refusal appendRefusal) {
	if l == (labelLimits{}) {
		return appendRefusal{}
	}
	if n := ls.Len(); l.count > 0 && n > l.count {
		return appendRefusal{ReasonLabelCount, fmt.Errorf("it has %d labels, more than the %d allowed", n, l.count)}
	}
	ls.Range(func(label labels.Label) {
		switch {
		case refusal.err != nil:
		case l.nameBytes > 0 && len(label.Name) > l.nameBytes:
			refusal = appendRefusal{ReasonLabelName, fmt.Errorf("the name of label %s is %d bytes long, more than the %d allowed", quoteClip([]byte(label.Name)), len(label.Name), l.nameBytes)}
		case l.valueBytes > 0 && len(label.Value) > l.valueBytes:
			refusal = appendRefusal{ReasonLabelValue, fmt.Errorf("the value of label %s is %d bytes long, more than the %d allowed", quoteClip([]byte(label.Name)), len(label.Value), l.valueBytes)}
		}
	})
	return refusal
}

// noMoreSeries returns the error that the series of t cannot be made because
// the tenant has as many as it may, or nil if it can or is there already.
func (a *appendRun) noMoreSeries(t *appendTarget) error {
	most := a.limits.activeSeries
	if most <= 0 {
		return nil
	}
	counter, ok := a.tx.app.(SeriesCounter)
	if !ok {
		return nil
	}
	n := counter.NumSeries()
	if n < most {
		return nil
	}
	hash := t.ls.Hash()
	if ref, _ := counter.GetRef(t.ls, hash); ref != 0 {
		return nil
	}
	if to, ok := counter.(seriesFinder); ok && to.findSeries(t.ls, hash) != 0 {
		return nil
	}
	return fmt.Errorf("it is new, and tenant %q has %d series in memory already, of %d allowed", a.tenant, n, most)
}
