package querytest

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
	"pgregory.net/rapid"
)

func (s *suite) labelNames(draw *rapid.T) error {
	return s.askLabels(draw, "LabelNames",
		func(ctx context.Context, q storage.ChunkQuerier, hints *storage.LabelHints, ms []*labels.Matcher) ([]string, annotations.Annotations, error) {
			return q.LabelNames(ctx, hints, ms...)
		},
		func(lset labels.Labels, add func(string)) { lset.Range(func(l labels.Label) { add(l.Name) }) },
	)
}

func (s *suite) labelValues(draw *rapid.T) error {
	name := rapid.SampledFrom(s.names).Draw(draw, "label")
	return s.askLabels(draw, "LabelValues "+name,
		func(ctx context.Context, q storage.ChunkQuerier, hints *storage.LabelHints, ms []*labels.Matcher) ([]string, annotations.Annotations, error) {
			return q.LabelValues(ctx, name, hints, ms...)
		},
		func(lset labels.Labels, add func(string)) {
			if v := lset.Get(name); v != "" {
				add(v)
			}
		},
	)
}

type (
	labelCall func(context.Context, storage.ChunkQuerier, *storage.LabelHints, []*labels.Matcher) ([]string, annotations.Annotations, error)
	labelPick func(lset labels.Labels, add func(string))
)

// askLabels draws a question about label names or values. Time is only coarsely
// kept by indexes, so an answer may hold more than the range alone would give,
// but not more than the matchers allow, and never less than is due.
func (s *suite) askLabels(draw *rapid.T, what string, call labelCall, each labelPick) error {
	q := question{}
	q.mint, q.maxt = s.drawRange(draw, "range")
	if rapid.Bool().Draw(draw, "with matchers") {
		q.matchers = s.drawMatchers(draw)
	}
	hints := &storage.LabelHints{Limit: rapid.SampledFrom([]int{0, 0, 1, 3, 1000}).Draw(draw, "limit")}
	if hints.Limit == 0 && rapid.Bool().Draw(draw, "no hints") {
		hints = nil
	}
	due, possible := s.labelBounds(q, each)
	return s.querier(q.mint, q.maxt, func(querier storage.ChunkQuerier) error {
		got, warnings, err := call(context.Background(), querier, hints, q.matchers)
		if err == nil && len(warnings) > 0 {
			err = fmt.Errorf("unexpected warnings: %v", warnings.AsErrors())
		}
		if err == nil {
			err = checkLabels(got, due, possible, hints, q.whole())
		}
		if err != nil {
			return fmt.Errorf("%s %s, label hints %+v: %w", what, q, hints, err)
		}
		return nil
	})
}

func (s *suite) labelBounds(q question, each labelPick) (due, possible map[string]bool) {
	due, possible = map[string]bool{}, map[string]bool{}
	for _, e := range s.expect(q.matchers) {
		if len(e.samples) == 0 {
			continue
		}
		each(e.labels, func(v string) { possible[strings.Clone(v)] = true })
		if e.due(q.mint, q.maxt) {
			each(e.labels, func(v string) { due[strings.Clone(v)] = true })
		}
	}
	return due, possible
}

func checkLabels(got []string, due, possible map[string]bool, hints *storage.LabelHints, whole bool) error {
	if !slices.IsSorted(got) {
		return fmt.Errorf("not sorted: %q", got)
	}
	if len(slices.Compact(slices.Clone(got))) != len(got) {
		return fmt.Errorf("not unique: %q", got)
	}
	for _, v := range got {
		if !possible[v] {
			return fmt.Errorf("%q is in no matching series", v)
		}
	}
	if hints != nil && hints.Limit > 0 {
		if whole && len(got) < min(hints.Limit, len(due)) {
			return fmt.Errorf("%d of %d, less than the limit allows: %q", len(got), len(due), got)
		}
		return nil
	}
	for v := range due {
		if _, found := slices.BinarySearch(got, v); !found {
			return fmt.Errorf("%q is missing from %q", v, got)
		}
	}
	return nil
}
