package receive

import (
	"cmp"
	"context"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
)

// appendLater is a sample that was not newer than one of its series in the
// same transaction, or whose series another transaction was making. Once the
// first is committed the storage itself can say what it thinks of this one.
type appendLater struct {
	at   uint32 // the position of its series in the request
	ls   labels.Labels
	st   int64
	t    int64
	val  sampleValue
	opts storage.AppendV2Options
}

// appendLater appends what was left over, in a transaction of its own. Sorted
// by series and time nothing can be left over again.
func (a *appendRun) appendLater(ctx context.Context) {
	if len(a.later) == 0 {
		return
	}
	slices.SortStableFunc(a.later, func(x, y appendLater) int {
		if c := labels.Compare(x.ls, y.ls); c != 0 {
			return c
		}
		return cmp.Compare(x.t, y.t)
	})
	a.second = true
	_ = a.transact(func() error { // which fails no request
		a.appendSorted(ctx, a.later)
		return nil
	})
}

func (a *appendRun) appendSorted(ctx context.Context, later []appendLater) {
	for i, p := range later {
		if i == 0 || !labels.Equal(p.ls, later[i-1].ls) {
			a.target = appendTarget{ls: p.ls, named: true, asked: true}
		}
		a.at, a.target.opts = p.at, p.opts
		a.appendPoint(ctx, &a.target, p.st, p.t, p.val)
		a.exemplarsLeft(&a.target, nil)
	}
	a.commit()
}

// postpone leaves a sample of t for the next transaction, since another is making
// the series, and with it all that comes of the series from now on.
func (a *appendRun) postpone(t *appendTarget, st, ts int64, val sampleValue) {
	t.strict = true
	if t.entry > 0 {
		a.named.series[t.entry-1].postponed = true
	}
	a.leave(t, st, ts, val)
}

// leave puts a sample of t, which has labels, aside for the next transaction.
func (a *appendRun) leave(t *appendTarget, st, ts int64, val sampleValue) {
	a.later = append(a.later, appendLater{at: a.at, ls: t.ls, st: st, t: ts, val: val, opts: withoutExemplars(t.opts)})
}
