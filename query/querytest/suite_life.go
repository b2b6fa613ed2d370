package querytest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
)

// sideBySide asks several queriers at the same time, each to its end.
func (s *suite) sideBySide(t *testing.T) {
	questions := []question{
		{mint: math.MinInt64, maxt: math.MaxInt64, matchers: []*labels.Matcher{labels.MustNewMatcher(labels.MatchRegexp, "__name__", ".+")}},
		{mint: Start + hour, maxt: Start + 2*hour, matchers: []*labels.Matcher{labels.MustNewMatcher(labels.MatchNotEqual, "job", "api")}},
		{mint: Start, maxt: End, matchers: []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, "job", "a")}},
	}
	errs := make([]error, 8)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			for range 2 {
				errs[i] = errors.Join(errs[i], s.ask(questions[i%len(questions)], true))
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
}

// canceled asks with a context that is done before, or gets done on the way. A
// backend may not notice, but if it stops early it has to say so.
func (s *suite) canceled(t *testing.T) {
	q := question{mint: Start, maxt: End, matchers: []*labels.Matcher{labels.MustNewMatcher(labels.MatchRegexp, "__name__", ".+")}}
	for _, after := range []int{0, 1, 5} {
		t.Run(fmt.Sprintf("after %d series", after), func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			if after == 0 {
				cancel()
			}
			err := inTime(ctx, func() error {
				return s.querier(q.mint, q.maxt, func(querier storage.ChunkQuerier) error {
					return s.readCanceled(ctx, cancel, querier, q, after)
				})
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

func (s *suite) readCanceled(ctx context.Context, cancel func(), querier storage.ChunkQuerier, q question, after int) error {
	var got []answer
	set := querier.Select(ctx, true, nil, q.matchers...)
	for set.Next() {
		got = append(got, answer{labels: set.At().Labels(), series: set.At()})
		if len(got) == after {
			cancel()
		}
	}
	if err := set.Err(); err != nil {
		if !errors.Is(err, context.Canceled) {
			return fmt.Errorf("the error is not context.Canceled: %w", err)
		}
		return nil
	}
	seen := map[string]bool{}
	for _, g := range got {
		seen[g.labels.String()] = true
	}
	for _, e := range s.expect(q.matchers) {
		if e.due(q.mint, q.maxt) && !seen[e.id] {
			return fmt.Errorf("no error, but series %s is missing", e.labels)
		}
	}
	return nil
}
