package extlabels

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"sync"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/varve-tsdb/varve/internal/readcost"
)

// matchAll selects every series. It stands in when matchers on external labels
// were all there was, because not every querier takes an empty list as "all".
var matchAll = labels.MustNewMatcher(labels.MatchRegexp, model.MetricNameLabel, ".*")

// NewChunkQuerier returns q with the external labels of its stream added to
// each series, an external label winning over a stored one of the same name,
// which makes one series of those that only differed in that, and then the
// labels named in without removed. Matchers see the labels before
// that removal. Series come sorted by their final labels; where the removal
// made label sets equal they follow each other unmerged, and the method
// Removed() (labels.Labels, bool) of a series tells which labels it has lost.
//
// With no external labels it strips any source of the labels in without, at
// the price of collecting the series of each Select.
//
// The querier is as safe for concurrent use as q. Closing it closes q.
func NewChunkQuerier(q storage.ChunkQuerier, external labels.Labels, without []string) storage.ChunkQuerier {
	external = external.WithoutEmpty()
	if external.IsEmpty() && len(without) == 0 {
		return q
	}
	added := labels.NewBuilder(external).Del(without...).Labels()
	return &chunkQuerier{q: q, external: external, added: added, without: without}
}

type chunkQuerier struct {
	q        storage.ChunkQuerier
	external labels.Labels // of the stream
	added    labels.Labels // external without the labels in without
	without  []string

	namesOnce sync.Once
	rewrites  bool // whether stored series have labels that get replaced or removed
}

// Select returns the series that match. They are always sorted.
func (c *chunkQuerier) Select(ctx context.Context, _ bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.ChunkSeriesSet {
	rest, ok := c.consume(matchers)
	if !ok {
		return storage.EmptyChunkSeriesSet()
	}
	set := c.q.Select(ctx, true, hints, rest...)
	// Asked only now, so that a series that appeared meanwhile is known of.
	if c.rewritesSeries(ctx) {
		return &sortedSet{set: set, final: c.finalLabels(), removed: c.removedLabels(), cost: readcost.From(ctx)}
	}
	set = &keptSet{ChunkSeriesSet: set, c: c}
	switch removed := labels.NewBuilder(c.external).Keep(c.without...).Labels(); {
	case c.added.IsEmpty():
		return &taggedSet{ChunkSeriesSet: set, removed: removed}
	default:
		return &streamedSet{set: set, final: c.finalLabels(), removed: removed, last: lastName(c.added)}
	}
}

// LabelNames returns the names of the final labels of the matching series. The
// external names are among them only if some series matches.
func (c *chunkQuerier) LabelNames(ctx context.Context, hints *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	rest, ok := c.consume(matchers)
	if !ok {
		return nil, nil, nil
	}
	inner, limit := hints, 0
	if hints != nil && hints.Limit > 0 {
		limit = hints.Limit
		inner = &storage.LabelHints{Limit: limit + len(c.without)}
	}
	names, warnings, err := c.q.LabelNames(ctx, inner, rest...)
	if err != nil || len(names) == 0 {
		return nil, warnings, err
	}
	final := make([]string, 0, len(names)+c.added.Len())
	for _, name := range names {
		if !slices.Contains(c.without, name) {
			final = append(final, name)
		}
	}
	c.added.Range(func(l labels.Label) { final = append(final, l.Name) })
	sort.Strings(final)
	final = slices.Compact(final)
	if limit > 0 && len(final) > limit {
		final = final[:limit]
	}
	return final, warnings, nil
}

// LabelValues returns the values of a final label among the matching series.
func (c *chunkQuerier) LabelValues(ctx context.Context, name string, hints *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	rest, ok := c.consume(matchers)
	if !ok || slices.Contains(c.without, name) {
		return nil, nil, nil
	}
	if !c.external.Has(name) {
		return c.q.LabelValues(ctx, name, hints, rest...)
	}
	names, warnings, err := c.q.LabelNames(ctx, &storage.LabelHints{Limit: 1}, rest...)
	if err != nil || len(names) == 0 {
		return nil, warnings, err
	}
	return []string{c.external.Get(name)}, warnings, nil
}

// Close closes the inner querier.
func (c *chunkQuerier) Close() error { return c.q.Close() }

// consume drops the matchers that the external labels satisfy, and reports
// false if they fail one.
func (c *chunkQuerier) consume(matchers []*labels.Matcher) (rest []*labels.Matcher, ok bool) {
	rest, ok = Consume(c.external, matchers)
	if ok && len(rest) == 0 && len(matchers) > 0 {
		rest = []*labels.Matcher{matchAll}
	}
	return rest, ok
}

// Consume splits matchers by the external labels of a stream: it returns those
// that its stored series have to satisfy, or false if an external label fails
// one, so that the stream has nothing to offer. The result may be empty.
func Consume(external labels.Labels, matchers []*labels.Matcher) (rest []*labels.Matcher, ok bool) {
	rest = make([]*labels.Matcher, 0, len(matchers))
	for _, m := range matchers {
		value := external.Get(m.Name)
		switch {
		case value == "":
			rest = append(rest, m)
		case !m.Matches(value):
			return nil, false
		}
	}
	return rest, true
}

// rewritesSeries tells whether the stored series have labels that will be
// replaced or removed. Without external labels the caller has to strip a
// foreign source, whose answer would cost a round trip and be yes anyway. An
// error counts as yes: sorting is always right, only dearer.
func (c *chunkQuerier) rewritesSeries(ctx context.Context) bool {
	if c.external.IsEmpty() {
		return true
	}
	c.namesOnce.Do(func() {
		names, _, err := c.q.LabelNames(ctx, nil)
		c.rewrites = err != nil || slices.ContainsFunc(names, func(name string) bool {
			return c.external.Has(name) || slices.Contains(c.without, name)
		})
	})
	return c.rewrites
}

// rewrittenError is a series that appeared since rewritesSeries looked, with a
// label that would be replaced or removed. The order is lost; a querier that is
// opened now knows.
type rewrittenError struct{ series labels.Labels }

func (e *rewrittenError) Error() string {
	return fmt.Sprintf("series %s appeared while its source was read, the first with a label that is also an external one or left out: read again", e.series)
}

// Unavailable reports that the same read will succeed later.
func (*rewrittenError) Unavailable() bool { return true }

// keptSet is a set of series none of whose labels get replaced or removed.
// Another one ends it.
type keptSet struct {
	storage.ChunkSeriesSet
	c   *chunkQuerier
	err error
}

func (s *keptSet) Next() bool {
	if s.err != nil || !s.ChunkSeriesSet.Next() {
		return false
	}
	stored := s.At().Labels()
	rewritten := slices.ContainsFunc(s.c.without, stored.Has)
	s.c.external.Range(func(l labels.Label) { rewritten = rewritten || stored.Has(l.Name) })
	if rewritten {
		s.err = &rewrittenError{stored}
	}
	return !rewritten
}

func (s *keptSet) Err() error {
	if s.err != nil {
		return s.err
	}
	return s.ChunkSeriesSet.Err()
}

// finalLabels returns a function that turns stored labels into final ones. It
// reuses memory and must not be called concurrently; its results are the
// caller's.
func (c *chunkQuerier) finalLabels() func(labels.Labels) labels.Labels {
	builder := labels.NewBuilder(labels.EmptyLabels())
	return func(stored labels.Labels) labels.Labels {
		builder.Reset(stored)
		c.added.Range(func(l labels.Label) { builder.Set(l.Name, l.Value) })
		builder.Del(c.without...)
		return builder.Labels()
	}
}

// removedLabels returns a function that turns stored labels into those that
// get removed. The rules of finalLabels apply.
func (c *chunkQuerier) removedLabels() func(labels.Labels) labels.Labels {
	builder := labels.NewBuilder(labels.EmptyLabels())
	return func(stored labels.Labels) labels.Labels {
		builder.Reset(stored)
		c.external.Range(func(l labels.Label) { builder.Set(l.Name, l.Value) })
		return builder.Keep(c.without...).Labels()
	}
}

func lastName(ls labels.Labels) (name string) {
	ls.Range(func(l labels.Label) { name = l.Name })
	return name
}
