package receive

import (
	"cmp"
	"context"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
)

// appendLater is a sample that was not newer than one of its series in the
// same transaction. Once that is committed the storage itself can say what it
// thinks of this one.
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
	later := a.later
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
