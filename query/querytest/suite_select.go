package querytest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"pgregory.net/rapid"
)

// expected is a series of the data, with all its samples.
type expected struct {
	labels  labels.Labels // as read
	full    labels.Labels // with the labels that are left out of labels
	id      string        // labels as text
	samples []Sample
}

// expect returns the series that match, whatever their time, ordered by full
// labels.
func (s *suite) expect(matchers []*labels.Matcher, without ...string) []expected {
	var list []expected
	for _, e := range s.all {
		if !matches(e.full, matchers) {
			continue
		}
		if len(without) > 0 {
			e.labels = labels.NewBuilder(e.full).Del(without...).Labels()
			e.id = e.labels.String()
		}
		list = append(list, e)
	}
	return list
}

// due says that the series must be in an answer for the inclusive range.
func (e expected) due(mint, maxt int64) bool {
	return len(within(e.samples, mint, maxt)) > 0
}

// possible says that the series may be: it could have a chunk in the range.
func (e expected) possible(mint, maxt int64) bool {
	return len(e.samples) > 0 && mint <= maxt && e.samples[0].T <= maxt && mint <= e.samples[len(e.samples)-1].T
}

// answer is one series as the backend gave it.
type answer struct {
	labels labels.Labels
	series storage.ChunkSeries
}

// drain reads a set to its end, keeping the series without iterating them.
func drain(set storage.ChunkSeriesSet) ([]answer, error) {
	var all []answer
	for set.Next() {
		series := set.At()
		all = append(all, answer{labels: series.Labels(), series: series})
	}
	if set.Next() {
		return nil, errors.New("Next returned true after it had returned false")
	}
	if ws := set.Warnings(); len(ws) > 0 && set.Err() == nil {
		return nil, fmt.Errorf("unexpected warnings: %v", ws.AsErrors())
	}
	return all, set.Err()
}

func (s *suite) selects(draw *rapid.T) error {
	q := s.drawQuestion(draw)
	sorted := rapid.Bool().Draw(draw, "sorted")
	return s.ask(q, sorted)
}

// ask opens a querier, puts the question and checks the answer.
func (s *suite) ask(q question, sorted bool) error {
	return s.querier(q.mint, q.maxt, func(querier storage.ChunkQuerier) error {
		got, err := drain(querier.Select(context.Background(), sorted, q.hints, q.matchers...))
		if err == nil {
			err = s.checkSelect(q, got)
		}
		if err != nil {
			return fmt.Errorf("Select %s: %w", q, err)
		}
		return nil
	})
}

// checkSelect compares an answer with the data.
func (s *suite) checkSelect(q question, got []answer) error {
	want := map[string]expected{}
	for _, e := range s.expect(q.matchers) {
		want[e.id] = e
	}
	if err := checkOrder(got, true); err != nil {
		return err
	}
	lo, hi := q.narrowed()
	seen := map[string]bool{}
	for _, g := range got {
		id := g.labels.String()
		e, known := want[id]
		switch {
		case !known:
			return fmt.Errorf("series %s is not in the data or does not match", g.labels)
		case !e.possible(q.mint, q.maxt):
			return fmt.Errorf("series %s has no sample near the range, its own is [%d, %d]", g.labels, e.samples[0].T, e.samples[len(e.samples)-1].T)
		}
		seen[id] = true
		if q.hints != nil && q.hints.Func == "series" {
			continue
		}
		if err := checkSeries(g, e, q, lo, hi); err != nil {
			return err
		}
	}
	for name, e := range want {
		if !seen[name] && e.due(lo, hi) {
			return fmt.Errorf("series %s is missing", name)
		}
	}
	return nil
}

// checkSeries reads a series twice, the second time with the used iterator.
func checkSeries(g answer, e expected, q question, lo, hi int64) error {
	it := g.series.Iterator(nil)
	metas, list, err := readChunks(it, q.mint, q.maxt)
	if err == nil {
		err = compareSamples(list, e.samples, lo, hi)
	}
	if err != nil {
		return fmt.Errorf("series %s: %w", g.labels, err)
	}
	if err := sameChunks(g.series.Iterator(it), metas); err != nil {
		return fmt.Errorf("series %s, second iteration: %w", g.labels, err)
	}
	if !labels.Equal(g.labels, g.series.Labels()) {
		return fmt.Errorf("series %s changed its labels to %s", g.labels, g.series.Labels())
	}
	return nil
}

// checkOrder by labels, each set once if unique.
func checkOrder(got []answer, unique bool) error {
	for i := 1; i < len(got); i++ {
		switch c := labels.Compare(got[i-1].labels, got[i].labels); {
		case c > 0:
			return fmt.Errorf("series %s comes after %s", got[i].labels, got[i-1].labels)
		case c == 0 && unique:
			return fmt.Errorf("series %s comes twice", got[i].labels)
		}
	}
	return nil
}

func (s *suite) namedSelects(t *testing.T) {
	for name, q := range s.namedQuestions() {
		t.Run(name, func(t *testing.T) {
			if err := s.ask(q, true); err != nil {
				t.Error(err)
			}
		})
	}
}

// namedQuestions are those that matter most, so that each is asked whatever the
// dice say.
func (s *suite) namedQuestions() map[string]question {
	equal := func(n, v string) *labels.Matcher { return labels.MustNewMatcher(labels.MatchEqual, n, v) }
	like := func(n, v string) *labels.Matcher { return labels.MustNewMatcher(labels.MatchRegexp, n, v) }
	cases := map[string]question{
		"everything":             {mint: math.MinInt64, maxt: math.MaxInt64, matchers: []*labels.Matcher{like("__name__", ".+")}},
		"everything by absence":  {mint: Start, maxt: End, matchers: []*labels.Matcher{equal("missing", "")}},
		"nothing by presence":    {mint: Start, maxt: End, matchers: []*labels.Matcher{like("missing", ".+")}},
		"first millisecond":      {mint: Start, maxt: Start, matchers: []*labels.Matcher{like("__name__", ".+")}},
		"within a gap":           {mint: Start + 2*hour, maxt: Start + 4*hour, matchers: []*labels.Matcher{equal("__name__", "gap")}},
		"mint after maxt":        {mint: End, maxt: Start, matchers: []*labels.Matcher{like("__name__", ".+")}},
		"hints outside":          {mint: Start, maxt: Start + hour, hints: &storage.SelectHints{Start: End - hour, End: End}, matchers: []*labels.Matcher{like("__name__", ".+")}},
		"labels only":            {mint: Start, maxt: End, hints: &storage.SelectHints{Start: Start, End: End, Func: "series"}, matchers: []*labels.Matcher{like("__name__", ".+")}},
		"contradiction":          {mint: Start, maxt: End, matchers: []*labels.Matcher{equal("job", "api"), equal("job", "sensor")}},
		"same matcher twice":     {mint: Start, maxt: End, matchers: []*labels.Matcher{equal("job", "api"), equal("job", "api")}},
		"a value and its regexp": {mint: Start, maxt: End, matchers: []*labels.Matcher{like("job", "a.*"), equal("job", "api"), like("job", ".+")}},
	}
	for _, ext := range s.opts.External {
		ext.Range(func(l labels.Label) {
			cases["external "+l.Name+" "+l.Value] = question{mint: Start, maxt: End, matchers: []*labels.Matcher{equal(l.Name, l.Value)}}
			cases["no external "+l.Name] = question{mint: Start, maxt: End, matchers: []*labels.Matcher{equal(l.Name, "")}}
			cases["exported "+l.Name] = question{mint: Start, maxt: End, matchers: []*labels.Matcher{equal(l.Name, "exported")}}
		})
	}
	return cases
}

// twoSelects of one querier are read in turns, as the engine may do for a query
// with two selectors.
func (s *suite) twoSelects(draw *rapid.T) error {
	q := s.drawQuestion(draw)
	other := q
	other.matchers = s.drawMatchers(draw)
	return s.querier(q.mint, q.maxt, func(querier storage.ChunkQuerier) error {
		ctx := context.Background()
		sets := []storage.ChunkSeriesSet{
			querier.Select(ctx, true, q.hints, q.matchers...),
			querier.Select(ctx, true, q.hints, other.matchers...),
		}
		got := make([][]answer, len(sets))
		for more := true; more; {
			more = false
			for i, set := range sets {
				if set.Next() {
					got[i] = append(got[i], answer{labels: set.At().Labels(), series: set.At()})
					more = true
				}
			}
		}
		for i, q := range []question{q, other} {
			err := sets[i].Err()
			if err == nil {
				err = s.checkSelect(q, got[i])
			}
			if err != nil {
				return fmt.Errorf("Select %d of two, %s: %w", i+1, q, err)
			}
		}
		return nil
	})
}
