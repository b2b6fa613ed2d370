package store

import (
	"context"
	"errors"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
	"golang.org/x/sync/errgroup"

	"github.com/varve-tsdb/varve/internal/aggrchunk"
	"github.com/varve-tsdb/varve/internal/readcost"
	"github.com/varve-tsdb/varve/internal/readopts"
	"github.com/varve-tsdb/varve/internal/sortedsets"
)

// streamQuerier reads the blocks of one stream, without their external labels,
// for one querier.
type streamQuerier struct {
	querier *querier
	blocks  []*blockReader
}

// Select returns the matching series of all blocks, sorted. All blocks are
// read at once from now on.
func (s *streamQuerier) Select(ctx context.Context, _ bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.ChunkSeriesSet {
	want := s.querier.selection(ctx, hints)
	most := acceptable(ctx, hints)
	picked := s.choose(want.mint, want.maxt, most)
	cost := readcost.From(ctx)
	cost.Skipped(readcost.SkippedResolution, s.notPicked(want.mint, want.maxt, picked))
	outcomes := tallies(cost, picked)
	var sets []storage.ChunkSeriesSet
	for _, p := range picked {
		set := p.start(ctx, want.within(p), s.querier.readAhead, matchers, enter(ctx, s), outcomes[p.blockReader], s.querier.background)
		set.failed = func(err error) error { return tolerate(ctx, err) }
		sets = append(sets, set)
	}
	all := sortedsets.Merge(sets...)
	if want.form.counters && slices.ContainsFunc(picked, chosen.downsampled) {
		all = aggrchunk.Counters(all)
	}
	return sortedsets.Warned(all, coarser(picked, most))
}

// tolerate returns nil if the failure of a block is to be a warning.
func tolerate(ctx context.Context, err error) error {
	if readopts.From(ctx).Partial && ctx.Err() == nil && errors.As(err, new(*BlockError)) {
		return nil
	}
	return err
}

// LabelNames returns the names of the stored labels.
func (s *streamQuerier) LabelNames(ctx context.Context, hints *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return s.union(ctx, hints, func(ctx context.Context, r *blockReader, limit int) ([]string, error) {
		return r.labelNames(ctx, limit, matchers)
	})
}

// LabelValues returns the values of a stored label.
func (s *streamQuerier) LabelValues(ctx context.Context, name string, hints *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return s.union(ctx, hints, func(ctx context.Context, r *blockReader, limit int) ([]string, error) {
		return r.labelValues(ctx, name, limit, matchers)
	})
}

// union asks all blocks at once and joins their sorted answers.
func (s *streamQuerier) union(ctx context.Context, hints *storage.LabelHints, ask func(context.Context, *blockReader, int) ([]string, error)) ([]string, annotations.Annotations, error) {
	limit := 0
	if hints != nil {
		limit = max(hints.Limit, 0)
	}
	pieces := s.choose(s.querier.mint, s.querier.maxt, acceptable(ctx, nil))
	picked := blocksOf(pieces)
	cost := readcost.From(ctx)
	if !isQuestion(ctx) {
		cost = nil // the Select it is a part of counts the blocks
	}
	cost.Skipped(readcost.SkippedResolution, s.notPicked(s.querier.mint, s.querier.maxt, pieces))
	answers := make([][]string, len(picked))
	missing := make([]error, len(picked))
	group, groupCtx := errgroup.WithContext(ctx)
	for i, r := range picked {
		group.Go(func() error {
			answer, err := ask(groupCtx, r, limit)
			if isKnown(err) {
				cost.Skipped(readcost.SkippedQuarantined, 1)
			}
			if err != nil && tolerate(groupCtx, err) == nil {
				missing[i], err = err, nil
			}
			answers[i] = answer
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, nil, err
	}
	var warnings annotations.Annotations
	for _, err := range missing {
		if err != nil {
			warnings.Add(err)
		}
	}
	return joinSorted(answers, limit), warnings, nil
}

type questionKey struct{}

// asQuestion returns a context for a read of labels that somebody has asked for,
// rather than one that is a part of a Select.
func asQuestion(ctx context.Context) context.Context {
	return context.WithValue(ctx, questionKey{}, true)
}

func isQuestion(ctx context.Context) bool { return ctx.Value(questionKey{}) != nil }

// joinSorted returns each string of the answers once, in order, the first
// limit of them if that is not 0.
func joinSorted(answers [][]string, limit int) []string {
	all := slices.Concat(answers...)
	slices.Sort(all)
	all = slices.Compact(all)
	if limit > 0 && len(all) > limit {
		all = all[:limit]
	}
	return all
}

// Close does nothing: the querier has a Close for all of its streams.
func (s *streamQuerier) Close() error { return nil }
