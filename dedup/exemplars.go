package dedup

import (
	"context"
	"slices"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/varve-tsdb/varve/internal/exemplarsets"
	"github.com/varve-tsdb/varve/internal/readopts"
)

// ExemplarQuerier returns a querier of the source's exemplars, with replicas
// merged as ctx asks: equal exemplars, by labels, value and timestamp, once. A
// source without exemplars has none.
func (q *Queryable) ExemplarQuerier(ctx context.Context) (storage.ExemplarQuerier, error) {
	source, ok := q.inner.(storage.ExemplarQueryable)
	if !ok {
		return noExemplars{}, nil
	}
	inner, err := source.ExemplarQuerier(ctx)
	if err != nil {
		return nil, err
	}
	opts := readopts.From(ctx)
	if opts.NoDedup {
		return inner, nil
	}
	replicas := q.replicas
	if opts.ReplicaLabels != nil {
		replicas = cleanNames(opts.ReplicaLabels)
	}
	return &exemplarQuerier{inner: inner, replicas: replicas}, nil
}

type noExemplars struct{}

func (noExemplars) Select(int64, int64, ...[]*labels.Matcher) ([]exemplar.QueryResult, error) {
	return nil, nil
}

type exemplarQuerier struct {
	inner    storage.ExemplarQuerier
	replicas []string
}

// Select returns the exemplars between start and end, both inclusive, in
// milliseconds, by series in order of labels and within it in order of time.
func (q *exemplarQuerier) Select(start, end int64, matchers ...[]*labels.Matcher) ([]exemplar.QueryResult, error) {
	results, err := q.inner.Select(start, end, matchers...)
	if err != nil {
		return nil, err
	}
	results = slices.Clone(results)
	b := labels.NewBuilder(labels.EmptyLabels())
	for i := range results {
		b.Reset(results[i].SeriesLabels)
		results[i].SeriesLabels = b.Del(q.replicas...).Labels()
	}
	return exemplarsets.Merge(results), nil
}
