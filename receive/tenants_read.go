package receive

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/varve-tsdb/varve/internal/extlabels"
	"github.com/varve-tsdb/varve/internal/readopts"
	"github.com/varve-tsdb/varve/internal/sortedsets"
)

// ChunkQuerier returns a querier over all tenants for the time from mint to
// maxt in ms, both inclusive. A tenant is touched only if its external labels
// can satisfy a read's matchers, if it has data in the range, and if the read
// options in the context name no other.
//
// A tenant that is not available fails the reads that need it, or, where the
// read options allow partial answers, is named in a warning.
//
// All reads of one querier see the same in-order samples of a tenant: those that
// were committed when the first of them came to that tenant.
//
// The querier is safe for concurrent use. It must be closed, since Close waits
// for that.
func (t *Tenants) ChunkQuerier(mint, maxt int64) (storage.ChunkQuerier, error) {
	return t.ChunkQuerierWithout(mint, maxt, nil)
}

// ChunkQuerierWithout is like ChunkQuerier, but the labels named in without are
// absent from all results, which are in the order of what is left. Label sets
// that are equal without them follow each other unmerged.
func (t *Tenants) ChunkQuerierWithout(mint, maxt int64, without []string) (storage.ChunkQuerier, error) {
	if _, err := t.all(); err != nil {
		return nil, err
	}
	return &tenantsQuerier{tenants: t, mint: mint, maxt: maxt, without: slices.Clone(without), open: map[*slot]storage.ChunkQuerier{}, labels: map[*slot]labels.Labels{}}, nil
}

// StoredQuerier returns a querier over one tenant's samples under the labels
// they were appended with, without external labels, for the time from mint to
// maxt in ms, both inclusive. It is empty if there is no such tenant. It must be
// closed. With SyncOnCommit all that it shows is on the disk: who finds a sample
// there may acknowledge it.
func (t *Tenants) StoredQuerier(ctx context.Context, tenant string, mint, maxt int64) (storage.ChunkQuerier, error) {
	t.mu.RLock()
	s, closed := t.slots[tenant], t.closed
	t.mu.RUnlock()
	switch {
	case closed:
		return nil, ErrClosed
	case s == nil:
		return storage.NoopChunkedQuerier(), nil
	}
	q, err := s.querier(ctx, mint, maxt)
	if err != nil {
		return nil, err
	}
	if q == nil {
		return storage.NoopChunkedQuerier(), nil
	}
	if err := q.from.settled(); err != nil {
		return nil, errors.Join(err, q.Close())
	}
	return q, nil
}

// tenantsQuerier opens a querier on a tenant when the first read needs it.
type tenantsQuerier struct {
	tenants    *Tenants
	mint, maxt int64
	without    []string

	mu     sync.Mutex // guards what follows
	open   map[*slot]storage.ChunkQuerier
	labels map[*slot]labels.Labels // external, as they were when first looked at
	closed bool
}

var errQuerierClosed = errors.New("the querier has been closed")

// queriers returns the queriers on the tenants that a read concerns.
func (q *tenantsQuerier) queriers(ctx context.Context, matchers []*labels.Matcher) (qs []storage.ChunkQuerier, warnings annotations.Annotations, err error) {
	slots, err := q.tenants.all()
	if err != nil {
		return nil, nil, err
	}
	opts := readopts.From(ctx)
	for _, s := range slots {
		if opts.Tenant != "" && s.name != opts.Tenant {
			continue
		}
		external := q.external(s)
		if _, ok := extlabels.Consume(external, matchers); !ok {
			continue
		}
		one, err := q.querier(ctx, s, external)
		switch {
		case err == nil && one != nil:
			qs = append(qs, one)
		case err != nil && opts.Partial && !errors.Is(err, errQuerierClosed):
			warnings.Add(err)
		case err != nil:
			return nil, nil, err
		}
	}
	return qs, warnings, nil
}

// external returns the external labels of a tenant, the same for all reads.
func (q *tenantsQuerier) external(s *slot) labels.Labels {
	q.mu.Lock()
	defer q.mu.Unlock()
	external, ok := q.labels[s]
	if !ok {
		external = s.labels()
		q.labels[s] = external
	}
	return external
}

// querier returns the querier on one tenant, or nil if that has no data in the
// range.
func (q *tenantsQuerier) querier(ctx context.Context, s *slot, external labels.Labels) (storage.ChunkQuerier, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil, errQuerierClosed
	}
	if one, ok := q.open[s]; ok {
		return one, nil
	}
	inner, err := s.querier(ctx, q.mint, q.maxt)
	if inner == nil || err != nil {
		return nil, err
	}
	one := extlabels.NewChunkQuerier(inner, external, q.without)
	q.open[s] = one
	return one, nil
}

// Select returns the matching series of all tenants in the order of their
// labels.
func (q *tenantsQuerier) Select(ctx context.Context, _ bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.ChunkSeriesSet {
	qs, warnings, err := q.queriers(ctx, matchers)
	if err != nil {
		return storage.ErrChunkSeriesSet(err)
	}
	sets := make([]storage.ChunkSeriesSet, 0, len(qs))
	for _, one := range qs {
		sets = append(sets, one.Select(ctx, true, hints, matchers...))
	}
	// Equal label sets, which without some of their labels two tenants may
	// have, are not for us to merge.
	return sortedsets.Warned(sortedsets.Join(sets...), warnings)
}

// LabelNames returns the names of the labels of the matching series.
func (q *tenantsQuerier) LabelNames(ctx context.Context, hints *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return q.union(ctx, hints, matchers, func(one storage.ChunkQuerier) ([]string, annotations.Annotations, error) {
		return one.LabelNames(ctx, hints, matchers...)
	})
}

// LabelValues returns the values of a label of the matching series.
func (q *tenantsQuerier) LabelValues(ctx context.Context, name string, hints *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return q.union(ctx, hints, matchers, func(one storage.ChunkQuerier) ([]string, annotations.Annotations, error) {
		return one.LabelValues(ctx, name, hints, matchers...)
	})
}

func (q *tenantsQuerier) union(ctx context.Context, hints *storage.LabelHints, matchers []*labels.Matcher, read func(storage.ChunkQuerier) ([]string, annotations.Annotations, error)) ([]string, annotations.Annotations, error) {
	qs, warnings, err := q.queriers(ctx, matchers)
	if err != nil {
		return nil, nil, err
	}
	var all []string
	for _, one := range qs {
		found, more, err := read(one)
		warnings.Merge(more)
		if err != nil {
			return nil, warnings, err
		}
		all = append(all, found...)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	if hints != nil && hints.Limit > 0 && len(all) > hints.Limit {
		all = all[:hints.Limit]
	}
	return all, warnings, nil
}

// Close closes the queriers on all tenants. Closing again does nothing.
func (q *tenantsQuerier) Close() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	var errs []error
	for _, one := range q.open {
		errs = append(errs, one.Close())
	}
	q.open = nil
	return errors.Join(errs...)
}
