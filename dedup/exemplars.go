package dedup

import (
	"context"
	"encoding/binary"
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/varve-tsdb/varve/internal/exemplarsets"
	"github.com/varve-tsdb/varve/internal/readopts"
)

// sameExemplar is how far apart, in milliseconds, two replicas may have the same
// exemplar: one that has no timestamp of its own gets that of each scrape.
const sameExemplar = 60_000

// ExemplarQuerier returns a querier of the source's exemplars, with replicas
// merged as ctx asks: of those of several replicas that have the same labels and
// value within a minute, the first. A source without exemplars has none.
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
	replicas := map[string]int{} // by the labels that are left
	key := func(r exemplar.QueryResult) string { return string(r.SeriesLabels.Bytes(nil)) }
	for i := range results {
		b.Reset(results[i].SeriesLabels)
		results[i].SeriesLabels = b.Del(q.replicas...).Labels()
		replicas[key(results[i])]++
	}
	merged := exemplarsets.Merge(results)
	for i, r := range merged {
		if replicas[key(r)] > 1 {
			merged[i].Exemplars = firsts(r.Exemplars)
		}
	}
	return merged, nil
}

// firsts leaves out of exemplars in order of time those that are there already. It
// uses their memory.
func firsts(list []exemplar.Exemplar) []exemplar.Exemplar {
	kept := list[:0]
	last := map[string]int64{} // when one was kept, by value and labels
	var buf []byte
	for _, e := range list {
		buf = append(e.Labels.Bytes(buf), 0)
		buf = binary.BigEndian.AppendUint64(buf, math.Float64bits(e.Value))
		if at, ok := last[string(buf)]; ok && e.Ts-at < sameExemplar {
			continue
		}
		last[string(buf)] = e.Ts
		kept = append(kept, e)
	}
	return kept
}
