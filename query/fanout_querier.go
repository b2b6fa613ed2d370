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
	mint, maxt, limit := q.mint, q.maxt, 0
	if hints != nil {
		mint, maxt, limit = max(mint, hints.Start), min(maxt, hints.End), hints.Limit
	}
	chosen := q.choose(mint, maxt, matchers)
	if len(chosen) == 0 {
		return storage.EmptyChunkSeriesSet()
	}
	joins := !q.merge && len(chosen) > 1
	sourceHints := hints
	if joins {
		sourceHints = withoutLimit(hints)
	}
	sourceCtx, resolve := ctx, asItIs
	if len(chosen) > 1 {
		sourceCtx, resolve = resolving(ctx, hints)
	}
	sourceCtx, cancel := q.cancelable(sourceCtx)
	var answers []storage.ChunkSeriesSet
	for _, a := range chosen {
		answer := &sourceSet{
			asked: a, mint: mint, maxt: maxt, timeout: q.timeout,
			request: ctx, partial: readopts.From(ctx).Partial,
		}
		answer.start(sourceCtx, sourceHints, matchers)
		answers = append(answers, answer)
	}
	set := &fanoutSet{sources: chosen, cancel: cancel}
	switch {
	case q.merge:
		set.ChunkSeriesSet, set.limit = sortedsets.Merge(answers...), limit
	case joins:
		set.ChunkSeriesSet = sortedsets.Join(answers...)
		return resolve(&replicaSet{fanoutSet: set, limit: limit})
	default:
		set.ChunkSeriesSet, set.limit = answers[0], limit
	}
	return resolve(set)
}

// cancelable returns a context that ends with the querier at the latest.
func (q *fanoutQuerier) cancelable(ctx context.Context) (context.Context, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.cancels = append(q.cancels, cancel)
	return ctx, cancel
}

// withoutLimit returns the hints for sources whose series are counted only once
// their parts are joined, see replicaSet.
func withoutLimit(hints *storage.SelectHints) *storage.SelectHints {
	if hints == nil || hints.Limit == 0 {
		return hints
	}
	all := *hints
	all.Limit = 0
	return &all
}

// asItIs returns the set.
func asItIs(set storage.ChunkSeriesSet) storage.ChunkSeriesSet { return set }

// resolving returns what makes one of the series of several sources, since what one
// has downsampled others may have raw, and the context for them.
func resolving(ctx context.Context, hints *storage.SelectHints) (_ context.Context, resolve func(storage.ChunkSeriesSet) storage.ChunkSeriesSet) {
	switch {
	case aggrchunk.IsAsStored(ctx):
		return ctx, asItIs
	case hints == nil || !aggrchunk.WantsCounters(hints.Func):
		return ctx, aggrchunk.FinestFirst
	case aggrchunk.KeepsCounters(ctx): // so that who reads this makes one of them
		return ctx, asItIs
	default:
		return aggrchunk.KeepCounters(ctx), aggrchunk.Counters
	}
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
	request := ctx
	answers, warnings, err := gather(ctx, chosen, q.mint, q.maxt, q.timeout, func(ctx context.Context, a asked) *running[labelsAnswer] {
		return runQuerier(request, a.fanoutSource, func(source storage.ChunkQuerier) (labelsAnswer, error) {
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

// Close ends all running Selects and closes the sources. It waits for what they still
// do, but neither beyond the end of a request or the source timeout nor after a
// failure: those that go on then are closed once they have returned.
func (q *fanoutQuerier) Close() error {
	q.mu.Lock()
	cancels := q.cancels
	q.cancels = nil
	q.mu.Unlock()
	for _, cancel := range cancels {
		cancel(context.Canceled)
	}
	patience := context.Background()
	if q.timeout > 0 {
		var cancel context.CancelFunc
		patience, cancel = context.WithTimeout(patience, q.timeout)
		defer cancel()
	}
	var errs []error
	for _, s := range q.sources {
		errs = append(errs, s.close(patience))
	}
	return errors.Join(errs...)
}
