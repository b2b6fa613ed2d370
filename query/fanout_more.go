package query

import (
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/varve-tsdb/varve/internal/exemplarsets"
)

// metadataSource is the optional interface of a source that has metadata of
// metrics: of one, or of all if metric is empty, and of at most limit unless
// that is 0.
type metadataSource interface {
	MetricMetadata(ctx context.Context, metric string, limit int) (map[string][]metadata.Metadata, error)
}

// having returns the sources for which has says so. They count as holding
// everything: exemplars and metadata are not pruned by time.
func (f *Fanout) having(has func(storage.ChunkQueryable) bool) []asked {
	var list []asked
	for i, source := range f.Sources() {
		if has(source) {
			list = append(list, asked{fanoutSource: &fanoutSource{source: source, name: sourceName(source, i), logger: f.opts.Logger}})
		}
	}
	return list
}

// MetricMetadata merges the metadata of the sources that have any: of one
// metric, or of all if metric is empty, and of at most limit metrics unless
// that is 0, in order of their names. In a partial read both results may be
// there: the metadata of the rest, and the *SourceErrors of those that failed.
func (f *Fanout) MetricMetadata(ctx context.Context, metric string, limit int) (map[string][]metadata.Metadata, error) {
	sources := f.having(func(s storage.ChunkQueryable) bool { _, ok := s.(metadataSource); return ok })
	answers, warnings, err := gather(ctx, sources, math.MinInt64, math.MaxInt64, f.opts.SourceTimeout,
		func(ctx context.Context, a asked) *running[map[string][]metadata.Metadata] {
			return run(func() (map[string][]metadata.Metadata, error) {
				return a.source.(metadataSource).MetricMetadata(ctx, metric, limit)
			})
		})
	if err != nil {
		return nil, err
	}
	merged := map[string][]metadata.Metadata{}
	for _, answer := range answers {
		for name, list := range answer {
			for _, md := range list {
				if !slices.Contains(merged[name], md) {
					merged[name] = append(merged[name], md)
				}
			}
		}
	}
	if limit > 0 && len(merged) > limit {
		for _, name := range slices.Sorted(maps.Keys(merged))[limit:] {
			delete(merged, name)
		}
	}
	return merged, errors.Join(warnings.AsErrors()...)
}

// ExemplarQuerier returns a querier for the exemplars of the sources that have
// any. Warnings of a partial read are what its method Warnings returns after
// Select.
func (f *Fanout) ExemplarQuerier(ctx context.Context) (storage.ExemplarQuerier, error) {
	return &fanoutExemplars{
		ctx:     ctx,
		timeout: f.opts.SourceTimeout,
		sources: f.having(func(s storage.ChunkQueryable) bool { _, ok := s.(storage.ExemplarQueryable); return ok }),
	}, nil
}

type fanoutExemplars struct {
	ctx      context.Context // the interface wants it kept
	timeout  time.Duration
	sources  []asked
	warnings annotations.Annotations
}

// Warnings of the last Select.
func (q *fanoutExemplars) Warnings() annotations.Annotations { return q.warnings }

// Select asks all sources side by side and merges what they have: series in
// label order, exemplars in order of time, each once.
func (q *fanoutExemplars) Select(start, end int64, selectors ...[]*labels.Matcher) ([]exemplar.QueryResult, error) {
	answers, warnings, err := gather(q.ctx, q.sources, start, end, q.timeout,
		func(ctx context.Context, a asked) *running[[]exemplar.QueryResult] {
			return run(func() ([]exemplar.QueryResult, error) {
				source, err := a.source.(storage.ExemplarQueryable).ExemplarQuerier(ctx)
				if err != nil {
					return nil, err
				}
				return source.Select(start, end, selectors...)
			})
		})
	q.warnings = warnings
	if err != nil {
		return nil, err
	}
	return exemplarsets.Merge(slices.Concat(answers...)), nil
}
