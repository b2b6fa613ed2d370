package querytest

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
)

// ChunkQuerier returns a querier for the inclusive range [mint, maxt].
func (m *Model) ChunkQuerier(mint, maxt int64) (storage.ChunkQuerier, error) {
	return &modelQuerier{m: m, mint: mint, maxt: maxt}, nil
}

// ChunkQuerierWithout is like ChunkQuerier, but the named labels are absent
// from all results, series are ordered by what is left, and equal label sets
// may follow each other. Matchers still see the named labels.
func (m *Model) ChunkQuerierWithout(mint, maxt int64, without []string) (storage.ChunkQuerier, error) {
	return &modelQuerier{m: m, mint: mint, maxt: maxt, without: without}, nil
}

type modelQuerier struct {
	m          *Model
	mint, maxt int64
	without    []string
}

// found is one series of an answer, together with what it held before.
type found struct {
	labels labels.Labels // without the labels to leave out
	full   labels.Labels
	chunks []chunks.Meta
}

func (q *modelQuerier) Close() error { return nil }

func (q *modelQuerier) Select(ctx context.Context, _ bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.ChunkSeriesSet {
	if err := ctx.Err(); err != nil {
		return storage.ErrChunkSeriesSet(err)
	}
	mint, maxt := q.mint, q.maxt
	if hints != nil {
		mint, maxt = max(mint, hints.Start), min(maxt, hints.End)
	}
	all, err := q.find(mint, maxt, matchers)
	if err != nil {
		return storage.ErrChunkSeriesSet(err)
	}
	return &modelSet{series: all, at: -1}
}

// find returns the matching series that have a chunk in the range, in order.
func (q *modelQuerier) find(mint, maxt int64, matchers []*labels.Matcher) ([]found, error) {
	q.m.mu.Lock()
	defer q.m.mu.Unlock()
	var all []found
	for _, stream := range q.m.streams {
		for _, same := range stream.series {
			for _, series := range same {
				if !matches(series.labels, matchers) {
					continue
				}
				metas, err := series.chunks()
				if err != nil {
					return nil, err
				}
				if metas = overlapping(metas, mint, maxt); len(metas) > 0 {
					all = append(all, found{labels: q.strip(series.labels), full: series.labels, chunks: metas})
				}
			}
		}
	}
	slices.SortStableFunc(all, func(a, b found) int {
		return cmp.Or(labels.Compare(a.labels, b.labels), labels.Compare(a.full, b.full))
	})
	return mergeSame(all), nil
}

// mergeSame joins what has the same full labels in several streams.
func mergeSame(all []found) []found {
	out := all[:0]
	for _, f := range all {
		if n := len(out); n > 0 && labels.Equal(out[n-1].full, f.full) {
			joined := append(slices.Clone(out[n-1].chunks), f.chunks...)
			slices.SortStableFunc(joined, func(a, b chunks.Meta) int { return cmp.Compare(a.MinTime, b.MinTime) })
			out[n-1].chunks = joined
			continue
		}
		out = append(out, f)
	}
	return out
}

func (q *modelQuerier) strip(lset labels.Labels) labels.Labels {
	if len(q.without) == 0 {
		return lset
	}
	return labels.NewBuilder(lset).Del(q.without...).Labels()
}

func matches(lset labels.Labels, matchers []*labels.Matcher) bool {
	for _, m := range matchers {
		if !m.Matches(lset.Get(m.Name)) {
			return false
		}
	}
	return true
}

func overlapping(metas []chunks.Meta, mint, maxt int64) []chunks.Meta {
	var kept []chunks.Meta
	for _, c := range metas {
		if c.MinTime <= maxt && mint <= c.MaxTime {
			kept = append(kept, c)
		}
	}
	return kept
}

func (q *modelQuerier) LabelValues(ctx context.Context, name string, hints *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return q.distinct(ctx, hints, matchers, func(lset labels.Labels, add func(string)) {
		if v := lset.Get(name); v != "" {
			add(v)
		}
	})
}

func (q *modelQuerier) LabelNames(ctx context.Context, hints *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return q.distinct(ctx, hints, matchers, func(lset labels.Labels, add func(string)) {
		lset.Range(func(l labels.Label) { add(l.Name) })
	})
}

func (q *modelQuerier) distinct(ctx context.Context, hints *storage.LabelHints, matchers []*labels.Matcher, each func(labels.Labels, func(string))) ([]string, annotations.Annotations, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	all, err := q.find(q.mint, q.maxt, matchers)
	if err != nil {
		return nil, nil, err
	}
	seen := map[string]struct{}{}
	for _, f := range all {
		each(f.labels, func(v string) { seen[v] = struct{}{} })
	}
	list := slices.Sorted(maps.Keys(seen))
	if hints != nil && hints.Limit > 0 && len(list) > hints.Limit {
		list = list[:hints.Limit]
	}
	return list, nil, nil
}

// modelSet walks over a ready answer.
type modelSet struct {
	series []found
	at     int
}

func (s *modelSet) Next() bool {
	if s.at < len(s.series) {
		s.at++
	}
	return s.at < len(s.series)
}

func (s *modelSet) At() storage.ChunkSeries {
	f := s.series[s.at]
	return &storage.ChunkSeriesEntry{
		Lset: f.labels,
		ChunkIteratorFn: func(chunks.Iterator) chunks.Iterator {
			return storage.NewListChunkSeriesIterator(f.chunks...)
		},
	}
}

func (*modelSet) Err() error                        { return nil }
func (*modelSet) Warnings() annotations.Annotations { return nil }

// ExemplarQuerier returns a querier for the exemplars of the model.
func (m *Model) ExemplarQuerier(context.Context) (storage.ExemplarQuerier, error) {
	return modelExemplars{m}, nil
}

type modelExemplars struct{ m *Model }

// Select returns the exemplars within the inclusive range [start, end] of the
// series that match one of the selectors, ordered by labels.
func (q modelExemplars) Select(start, end int64, selectors ...[]*labels.Matcher) ([]exemplar.QueryResult, error) {
	q.m.mu.Lock()
	defer q.m.mu.Unlock()
	results := []exemplar.QueryResult{} // as Prometheus, never nil
	for _, stream := range q.m.streams {
		for _, same := range stream.series {
			for _, series := range same {
				if !slices.ContainsFunc(selectors, func(ms []*labels.Matcher) bool { return matches(series.labels, ms) }) {
					continue
				}
				var list []exemplar.Exemplar
				for _, e := range series.exemplars {
					if start <= e.Ts && e.Ts <= end {
						list = append(list, e)
					}
				}
				if len(list) > 0 {
					results = append(results, exemplar.QueryResult{SeriesLabels: series.labels, Exemplars: list})
				}
			}
		}
	}
	slices.SortFunc(results, func(a, b exemplar.QueryResult) int { return labels.Compare(a.SeriesLabels, b.SeriesLabels) })
	return results, nil
}
