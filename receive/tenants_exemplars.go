package receive

import (
	"context"
	"fmt"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/varve-tsdb/varve/internal/exemplarsets"
	"github.com/varve-tsdb/varve/internal/extlabels"
	"github.com/varve-tsdb/varve/internal/readopts"
)

// ExemplarQuerier returns a querier over the exemplars that are in memory, of
// all tenants or of the one that the read options in ctx name. Its series carry
// the external labels, and matchers see them. A tenant that is not available
// fails the read, or is left out where partial answers are allowed: the
// interface has no place for a warning.
func (t *Tenants) ExemplarQuerier(ctx context.Context) (storage.ExemplarQuerier, error) {
	if _, err := t.all(); err != nil {
		return nil, err
	}
	return &exemplarQuerier{tenants: t, opts: readopts.From(ctx), read: func(s *slot) (*head, error) { return s.openReader(ctx) }}, nil
}

type exemplarQuerier struct {
	tenants *Tenants
	opts    readopts.Options
	read    func(*slot) (*head, error)
}

// Select returns the exemplars from start to end in ms, both inclusive, of the
// series that satisfy all matchers of one of the lists, in the order of their
// labels.
func (q *exemplarQuerier) Select(start, end int64, matchers ...[]*labels.Matcher) ([]exemplar.QueryResult, error) {
	slots, err := q.tenants.all()
	if err != nil {
		return nil, err
	}
	var out []exemplar.QueryResult
	for _, s := range slots {
		if q.opts.Tenant != "" && s.name != q.opts.Tenant {
			continue
		}
		external := s.labels()
		inner := consumeAny(external, matchers)
		if len(inner) == 0 {
			continue
		}
		found, err := q.one(s, external, start, end, inner)
		if err != nil && !q.opts.Partial {
			return nil, err
		}
		out = append(out, found...)
	}
	return exemplarsets.Merge(out), nil // also of series that the external labels made equal
}

// consumeAny consumes the external labels in each list of matchers and leaves
// out the lists that they fail.
func consumeAny(external labels.Labels, matchers [][]*labels.Matcher) (inner [][]*labels.Matcher) {
	for _, list := range matchers {
		if rest, ok := extlabels.Consume(external, list); ok {
			inner = append(inner, rest)
		}
	}
	return inner
}

func (q *exemplarQuerier) one(s *slot, external labels.Labels, start, end int64, matchers [][]*labels.Matcher) (out []exemplar.QueryResult, err error) {
	h, err := q.read(s)
	if h == nil || err != nil {
		return nil, err
	}
	defer h.readers.leave()
	if h.opts.MaxExemplars <= 0 {
		return nil, nil
	}
	defer h.readFence("read exemplars", &err)
	inner, err := h.db.ExemplarQuerier(context.Background())
	if err != nil {
		return nil, fmt.Errorf("tenant %q: read exemplars: %w", s.name, err)
	}
	if out, err = inner.Select(start, end, matchers...); err != nil {
		return nil, fmt.Errorf("tenant %q: read exemplars: %w", s.name, err)
	}
	builder := labels.NewBuilder(labels.EmptyLabels())
	for i := range out {
		builder.Reset(out[i].SeriesLabels)
		external.Range(func(l labels.Label) { builder.Set(l.Name, l.Value) })
		out[i].SeriesLabels = builder.Labels()
	}
	return out, nil
}
