package receive

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sort"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
)

// StoredQuerier is an optional power of an Appendable: to read back what a
// tenant has stored, under the labels it was stored with, mint and maxt
// inclusive in milliseconds. With it the Handler recognises samples that the
// storage refuses only because it has them already: a TSDB head knows the
// newest sample of a series alone, so that a repeated request with several
// samples of one series would fail with out-of-order errors.
type StoredQuerier interface {
	StoredQuerier(ctx context.Context, tenant string, mint, maxt int64) (storage.ChunkQuerier, error)
}

// maxDoubts bounds how many refused samples of a request are looked up. A
// request over it is no repeated one, or a very large one whose sender can
// bear to hear a 400 for samples that are stored.
const maxDoubts = 20_000

// mostDoubts bounds them in any case: they are kept until the end of the request.
const mostDoubts = 10 * maxDoubts

const errTooManyDoubts = retryableError("another request with the same series was stored at the same time; send the same again")

// maxMisses is after how many series in a row of which nothing is found the
// others are not looked up: all of a repeated request is there, and two senders
// that write the same series by mistake must not cost a search for each sample,
// unless their requests come at the very same time.
const maxMisses = 64

// appendDoubt is a refused sample that may be stored already.
type appendDoubt struct {
	at     uint32 // the position of its series in the request
	ls     labels.Labels
	t      int64
	val    sampleValue
	reason Reason
	err    error
	found  bool
}

// doubt keeps a refusal back until it is known whether the sample is there
// already. It returns false if that cannot be.
func (a *appendRun) doubt(t *appendTarget, reason Reason, ts int64, val sampleValue, err error) bool {
	switch reason {
	case ReasonOutOfOrder, ReasonTooOld, ReasonOutOfBounds, ReasonConflict:
	default:
		return false
	}
	if _, ok := a.to.(StoredQuerier); !ok || !a.thorough && len(a.doubtful) >= maxDoubts {
		return false
	}
	if len(a.doubtful) >= mostDoubts {
		// Another request has stored the like in this very moment. It cannot be
		// told what of this one is there, but it can the next time.
		a.tally.failure = errTooManyDoubts
		a.refusePoint(t, ReasonUnavailable, val.kind(), ts, errTooManyDoubts)
		return true
	}
	a.doubtful = append(a.doubtful, appendDoubt{at: a.at, ls: t.ls, t: ts, val: val, reason: reason, err: err})
	return true
}

// resolveDoubts gives the refusals kept back their verdict.
func (a *appendRun) resolveDoubts(ctx context.Context) {
	if len(a.doubtful) == 0 {
		return
	}
	slices.SortStableFunc(a.doubtful, func(x, y appendDoubt) int {
		if c := labels.Compare(x.ls, y.ls); c != 0 {
			return c
		}
		return cmp.Compare(x.t, y.t)
	})
	// Failing to look is no reason to fail the request: the refusals stand.
	_ = a.lookUpDoubts(ctx)
	for _, d := range a.doubtful {
		if d.found {
			a.tally.add(ReasonDuplicate, d.val.kind())
			continue
		}
		a.at = d.at
		a.refusePoint(&appendTarget{ls: d.ls, named: true}, d.reason, d.val.kind(), d.t, d.err)
	}
}

func (a *appendRun) lookUpDoubts(ctx context.Context) error {
	from, ok := a.to.(StoredQuerier)
	if !ok || a.tx.broken != 0 {
		return nil
	}
	mint, maxt := a.doubtful[0].t, a.doubtful[0].t
	for _, d := range a.doubtful {
		mint, maxt = min(mint, d.t), max(maxt, d.t)
	}
	q, err := from.StoredQuerier(ctx, a.tenant, mint, maxt)
	if err != nil {
		return err
	}
	defer q.Close()
	var misses int
	for rest := a.doubtful; len(rest) > 0 && (misses < maxMisses || a.thorough); {
		n := 1
		for n < len(rest) && labels.Equal(rest[n].ls, rest[0].ls) {
			n++
		}
		if err := lookUpSeries(ctx, q, rest[:n]); err != nil {
			return err
		}
		misses++
		if slices.ContainsFunc(rest[:n], func(d appendDoubt) bool { return d.found }) {
			misses = 0
		}
		rest = rest[n:]
	}
	return nil
}

// lookUpSeries marks those of doubts that q has. They are of one series and
// sorted by time.
func lookUpSeries(ctx context.Context, q storage.ChunkQuerier, doubts []appendDoubt) error {
	ls := doubts[0].ls
	var matchers []*labels.Matcher
	var err error
	ls.Range(func(l labels.Label) {
		m, e := labels.NewMatcher(labels.MatchEqual, l.Name, l.Value)
		matchers, err = append(matchers, m), errors.Join(err, e)
	})
	if err != nil {
		return err
	}
	hints := &storage.SelectHints{Start: doubts[0].t, End: doubts[len(doubts)-1].t}
	set := q.Select(ctx, true, hints, matchers...)
	var it chunks.Iterator
	var samples chunkenc.Iterator
	for set.Next() {
		series := set.At()
		if !labels.Equal(series.Labels(), ls) {
			continue // It has more labels than these.
		}
		// Chunk by chunk: there may be very many that overlap, and to merge those
		// takes the square of their number.
		for it = series.Iterator(it); it.Next(); {
			chunk := it.At()
			some := doubtsBetween(doubts, chunk.MinTime, chunk.MaxTime)
			if len(some) == 0 {
				continue
			}
			if err := context.Cause(ctx); err != nil {
				return err
			}
			samples = chunk.Chunk.Iterator(samples)
			if err := markFound(samples, some); err != nil {
				return err
			}
		}
		if err := it.Err(); err != nil {
			return err
		}
	}
	return set.Err()
}

// doubtsBetween returns those of doubts, sorted by time, in the inclusive range.
func doubtsBetween(doubts []appendDoubt, mint, maxt int64) []appendDoubt {
	from, _ := slices.BinarySearchFunc(doubts, mint, func(d appendDoubt, t int64) int { return cmp.Compare(d.t, t) })
	to := from + sort.Search(len(doubts)-from, func(i int) bool { return doubts[from+i].t > maxt })
	return doubts[from:to]
}

// markFound marks those of doubts, sorted by time, that it has.
func markFound(it chunkenc.Iterator, doubts []appendDoubt) error {
	for typ := it.Next(); typ != chunkenc.ValNone && len(doubts) > 0; typ = it.Next() {
		t := it.AtT()
		for len(doubts) > 0 && doubts[0].t < t {
			doubts = doubts[1:]
		}
		for i := 0; i < len(doubts) && doubts[i].t == t; i++ {
			d := &doubts[i]
			d.found = d.found || storedValue(it, typ).compact().equal(d.val.compact())
		}
	}
	return it.Err()
}

func storedValue(it chunkenc.Iterator, typ chunkenc.ValueType) (val sampleValue) {
	switch typ {
	case chunkenc.ValFloat:
		_, val.v = it.At()
	case chunkenc.ValHistogram:
		_, val.h = it.AtHistogram(nil)
	case chunkenc.ValFloatHistogram:
		_, val.fh = it.AtFloatHistogram(nil)
	}
	return val
}
