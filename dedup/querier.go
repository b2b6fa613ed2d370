package dedup

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/varve-tsdb/varve/internal/aggrchunk"
	"github.com/varve-tsdb/varve/internal/extlabels"
	"github.com/varve-tsdb/varve/internal/readopts"
)

// withoutQueryable is a source that removes labels and sorts without them
// itself, which spares collecting its series.
type withoutQueryable interface {
	ChunkQuerierWithout(mint, maxt int64, without []string) (storage.ChunkQuerier, error)
}

// querier opens a querier of the source for each way it is read, which is
// nearly always one.
type querier struct {
	q          *Queryable
	mint, maxt int64
	without    []string // removed after deduplication

	mu     sync.Mutex
	closed bool                            // guarded by mu
	opened map[string]storage.ChunkQuerier // guarded by mu
}

// plan is how one read is made.
type plan struct {
	dedup  bool
	remove []string // by the source, before deduplication
	strip  []string // after it
}

func (q *querier) plan(ctx context.Context) plan {
	opts := readopts.From(ctx)
	if opts.NoDedup {
		return plan{remove: q.without}
	}
	p := plan{dedup: true, remove: q.q.replicas}
	if opts.ReplicaLabels != nil {
		p.remove = cleanNames(opts.ReplicaLabels)
	}
	for _, name := range q.without {
		if !slices.Contains(p.remove, name) {
			p.strip = append(p.strip, name)
		}
	}
	return p
}

// open returns the querier for the read that ctx belongs to.
func (q *querier) open(ctx context.Context) (storage.ChunkQuerier, error) {
	p := q.plan(ctx)
	key := p.key()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil, errClosed
	}
	if got, ok := q.opened[key]; ok {
		return got, nil
	}
	got, err := q.openSource(p.remove)
	if err != nil {
		return nil, err
	}
	if p.dedup {
		got = &mergingQuerier{ChunkQuerier: got}
	}
	got = extlabels.NewChunkQuerier(got, labels.EmptyLabels(), p.strip)
	if q.opened == nil {
		q.opened = map[string]storage.ChunkQuerier{}
	}
	q.opened[key] = got
	return got, nil
}

func (p plan) key() string {
	if !p.dedup {
		return ""
	}
	return "dedup\xff" + strings.Join(p.remove, "\xff") // no label name contains 0xff
}

func (q *querier) openSource(remove []string) (storage.ChunkQuerier, error) {
	if len(remove) == 0 {
		return q.q.inner.ChunkQuerier(q.mint, q.maxt)
	}
	if w, ok := q.q.inner.(withoutQueryable); ok {
		return w.ChunkQuerierWithout(q.mint, q.maxt, remove)
	}
	inner, err := q.q.inner.ChunkQuerier(q.mint, q.maxt)
	if err != nil {
		return nil, err
	}
	return extlabels.NewChunkQuerier(inner, labels.EmptyLabels(), remove), nil
}

// Select returns the deduplicated series that match, always sorted. Matchers
// see the series before replica labels are removed, so that a matcher on a
// replica label chooses replicas.
func (q *querier) Select(ctx context.Context, _ bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.ChunkSeriesSet {
	inner, err := q.open(ctx)
	if err != nil {
		return storage.ErrChunkSeriesSet(err)
	}
	return inner.Select(ctx, true, hints, matchers...)
}

// LabelNames returns the names of the labels of matching series, without those
// of replicas.
func (q *querier) LabelNames(ctx context.Context, hints *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	inner, err := q.open(ctx)
	if err != nil {
		return nil, nil, err
	}
	return inner.LabelNames(ctx, hints, matchers...)
}

// LabelValues returns the values of a label among matching series; none for a
// replica label.
func (q *querier) LabelValues(ctx context.Context, name string, hints *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	inner, err := q.open(ctx)
	if err != nil {
		return nil, nil, err
	}
	return inner.LabelValues(ctx, name, hints, matchers...)
}

// Close closes what was opened. A second Close does nothing.
func (q *querier) Close() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	var errs []error
	for _, inner := range q.opened {
		errs = append(errs, inner.Close())
	}
	q.opened = nil
	return errors.Join(errs...)
}

// mergingQuerier merges series that follow each other with equal labels.
type mergingQuerier struct {
	storage.ChunkQuerier
}

func (q *mergingQuerier) Select(ctx context.Context, _ bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.ChunkSeriesSet {
	set := &seriesSet{}
	if hints != nil {
		// A limit counts merged series, a shard holds merged series, and a
		// projection may drop what tells series apart: none of them is for the
		// source to apply.
		inner := *hints
		inner.Limit = 0
		inner.ShardCount, inner.ShardIndex = 0, 0
		inner.ProjectionLabels, inner.ProjectionInclude = nil, false
		set.limit, set.shards, set.shard = hints.Limit, hints.ShardCount, hints.ShardIndex
		hints = &inner
	}
	set.inner = q.ChunkQuerier.Select(aggrchunk.AsOrdinary(ctx), true, hints, matchers...)
	return set
}
