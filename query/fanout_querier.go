package query

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/varve-tsdb/varve/internal/aggrchunk"
	"github.com/varve-tsdb/varve/internal/readopts"
	"github.com/varve-tsdb/varve/internal/sortedsets"
)

// fanoutQuerier asks the sources of a Fanout, each when it is first needed.
type fanoutQuerier struct {
	mint, maxt int64
	merge      bool // make one series of equal label sets
	timeout    time.Duration
	sources    []*fanoutSource

	mu      sync.Mutex
	cancels []context.CancelCauseFunc // of the running Selects
}

// asked is a source that may have an answer, with the part it may have.
type asked struct {
	*fanoutSource
	streams []stream
}

// choose returns the sources that may have an answer.
func (q *fanoutQuerier) choose(mint, maxt int64, matchers []*labels.Matcher) []asked {
	var chosen []asked
	for _, s := range q.sources {
		if streams := prune(s.held, mint, maxt, matchers); len(streams) > 0 {
			chosen = append(chosen, asked{s, streams})
		}
	}
	return chosen
}

// failure makes err the failure of a source.
func (a asked) failure(err error, mint, maxt int64) *SourceError {
	if p, ok := errors.AsType[*panicError](err); ok {
		a.logger.Error("source of a fan-out panicked", "source", a.name, "panic", p.value, "stack", p.stack)
	}
	e := &SourceError{Source: a.name, Err: err}
	if told := missingOf(err); told != nil {
		e.Missing, e.told = missing(prune(told, mint, maxt, nil), mint, maxt), true
	} else if a.known {
		e.Missing = missing(a.streams, mint, maxt)
	}
	return e
}

// Select asks all sources that may have an answer, side by side, and returns
// without waiting for them. The series are always sorted. ctx must live until
// they are read.
func (q *fanoutQuerier) Select(ctx context.Context, _ bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.ChunkSeriesSet {
	mint, maxt := q.mint, q.maxt
	limit := 0
	if hints != nil {
		mint, maxt, limit = max(mint, hints.Start), min(maxt, hints.End), hints.Limit
	}
	chosen := q.choose(mint, maxt, matchers)
	if len(chosen) == 0 {
		return storage.EmptyChunkSeriesSet()
	}
	request := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	q.mu.Lock()
	q.cancels = append(q.cancels, cancel)
	q.mu.Unlock()

	joins := !q.merge && len(chosen) > 1
	if joins && limit > 0 {
		// Series are counted once their parts are joined, see replicaSet.
		all := *hints
		all.Limit = 0
		hints = &all
	}
	// What one source has downsampled others may have raw.
	resolve := func(set storage.ChunkSeriesSet) storage.ChunkSeriesSet { return set }
	if len(chosen) > 1 && !aggrchunk.IsAsStored(ctx) {
		resolve = aggrchunk.FinestFirst
		if hints != nil && aggrchunk.WantsCounters(hints.Func) {
			if resolve = aggrchunk.Counters; aggrchunk.KeepsCounters(ctx) {
				resolve = func(set storage.ChunkSeriesSet) storage.ChunkSeriesSet { return set }
			}
			ctx = aggrchunk.KeepCounters(ctx)
		}
	}
	var answers []storage.ChunkSeriesSet
	for _, a := range chosen {
		answer := &sourceSet{
			asked: a, mint: mint, maxt: maxt, timeout: q.timeout,
			request: request, partial: readopts.From(ctx).Partial,
		}
		answer.start(ctx, hints, matchers)
		answers = append(answers, answer)
	}
	set := &fanoutSet{cancel: cancel}
	if q.merge {
		set.ChunkSeriesSet = sortedsets.Merge(answers...)
	} else {
		set.ChunkSeriesSet = sortedsets.Join(answers...)
	}
	if joins {
		return resolve(&replicaSet{fanoutSet: set, limit: limit})
	}
	set.limit = limit
	return resolve(set)
}

// LabelValues merges the values that the sources have.
func (q *fanoutQuerier) LabelValues(ctx context.Context, name string, hints *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return q.labels(ctx, hints, matchers, func(ctx context.Context, source storage.ChunkQuerier) ([]string, annotations.Annotations, error) {
		return source.LabelValues(ctx, name, hints, matchers...)
	})
}

// LabelNames merges the names that the sources have.
func (q *fanoutQuerier) LabelNames(ctx context.Context, hints *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return q.labels(ctx, hints, matchers, func(ctx context.Context, source storage.ChunkQuerier) ([]string, annotations.Annotations, error) {
		return source.LabelNames(ctx, hints, matchers...)
	})
}

type (
	labelsCall func(context.Context, storage.ChunkQuerier) ([]string, annotations.Annotations, error)

	// labelsAnswer is what one source said.
	labelsAnswer struct {
		list     []string
		warnings annotations.Annotations
	}
)

func (q *fanoutQuerier) labels(ctx context.Context, hints *storage.LabelHints, matchers []*labels.Matcher, call labelsCall) ([]string, annotations.Annotations, error) {
	chosen := q.choose(q.mint, q.maxt, matchers)
	answers, warnings, err := gather(ctx, chosen, q.mint, q.maxt, q.timeout, func(ctx context.Context, a asked) *running[labelsAnswer] {
		return runQuerier(a.fanoutSource, func(source storage.ChunkQuerier) (labelsAnswer, error) {
			list, warnings, err := call(ctx, source)
			return labelsAnswer{list, warnings}, err
		})
	})
	if err != nil {
		return nil, nil, err
	}
	var all []string
	for _, a := range answers {
		all = append(all, a.list...)
		warnings.Merge(a.warnings)
	}
	if len(answers) > 1 {
		slices.Sort(all)
		all = slices.Compact(all)
	}
	if hints != nil && hints.Limit > 0 && len(all) > hints.Limit {
		all = all[:hints.Limit]
	}
	return all, warnings, nil
}

// Close ends all running Selects and closes the sources.
func (q *fanoutQuerier) Close() error {
	q.mu.Lock()
	cancels := q.cancels
	q.cancels = nil
	q.mu.Unlock()
	for _, cancel := range cancels {
		cancel(context.Canceled)
	}
	var errs []error
	for _, s := range q.sources {
		errs = append(errs, s.close())
	}
	return errors.Join(errs...)
}
