package querytest

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/storage"
	"pgregory.net/rapid"
)

// streams checks that Streams yields each set of external labels once, with a
// range that holds all its samples.
func (s *suite) streams(t *testing.T) {
	backend, ok := s.backend.(streamer)
	if !ok {
		t.Skip("no Streams")
	}
	type bounds struct{ mint, maxt int64 }
	got := map[string]bounds{}
	backend.Streams(func(external labels.Labels, mint, maxt int64) bool {
		if _, twice := got[external.String()]; twice {
			t.Errorf("stream %s comes twice", external)
		}
		if mint > maxt {
			t.Errorf("stream %s ends before it starts: [%d, %d]", external, mint, maxt)
		}
		got[external.String()] = bounds{mint, maxt}
		return true
	})
	for _, stream := range s.data.Streams {
		mint, maxt := stream.Range()
		b, ok := got[stream.External.String()]
		if !ok {
			t.Errorf("stream %s is missing from %v", stream.External, got)
			continue
		}
		if b.mint > mint || b.maxt < maxt {
			t.Errorf("stream %s: range [%d, %d] does not hold its samples in [%d, %d]", stream.External, b.mint, b.maxt, mint, maxt)
		}
		delete(got, stream.External.String())
	}
	for external := range got {
		t.Errorf("stream %s is not in the data", external)
	}
	calls := 0
	backend.Streams(func(labels.Labels, int64, int64) bool { calls++; return false })
	if calls > 1 {
		t.Errorf("Streams went on %d times after yield had returned false", calls-1)
	}
}

// without asks a querier that leaves out some labels.
func (s *suite) without(draw *rapid.T) error {
	q := s.drawQuestion(draw)
	names := rapid.SliceOfNDistinct(rapid.SampledFrom(s.names), 0, 3, rapid.ID).Draw(draw, "without")
	querier, err := s.backend.(stripper).ChunkQuerierWithout(q.mint, q.maxt, names)
	if err != nil {
		return fmt.Errorf("open querier without %q: %w", names, err)
	}
	got, err := drain(querier.Select(context.Background(), true, q.hints, q.matchers...))
	if err == nil {
		err = s.checkWithout(q, got, names)
	}
	if err == nil {
		err = s.checkLabelsWithout(querier, q, names)
	}
	if err != nil {
		querier.Close()
		return fmt.Errorf("without %q, Select %s: %w", names, q, err)
	}
	return querier.Close()
}

func (s *suite) checkWithout(q question, got []answer, names []string) error {
	if err := checkOrder(got, false); err != nil {
		return err
	}
	want := map[string][]expected{}
	for _, e := range s.expect(q.matchers, names...) {
		want[e.id] = append(want[e.id], e)
	}
	lo, hi := q.narrowed()
	read := map[string][]Sample{}
	for _, g := range got {
		id := g.labels.String()
		possible := slices.ContainsFunc(want[id], func(e expected) bool { return e.possible(q.mint, q.maxt) })
		if !possible {
			return fmt.Errorf("series %s is not in the data, does not match, or has no sample near the range", id)
		}
		_, list, err := readChunks(g.series.Iterator(nil), q.mint, q.maxt)
		if err != nil && (q.hints == nil || q.hints.Func != "series") {
			return fmt.Errorf("series %s: %w", id, err)
		}
		read[id] = append(read[id], list...)
	}
	for id, group := range want {
		list, there := read[id]
		if !there && slices.ContainsFunc(group, func(e expected) bool { return e.due(lo, hi) }) {
			return fmt.Errorf("series %s is missing", id)
		}
		if q.hints != nil && q.hints.Func == "series" {
			continue
		}
		for _, e := range group {
			// Every sample of each must be there; others at the same time
			// belong to another of the group.
			if err := compareGroup(list, e, group, lo, hi); err != nil {
				return fmt.Errorf("series %s, once %s: %w", id, e.full, err)
			}
		}
	}
	return nil
}

// compareGroup checks that got holds all samples of e in the inclusive range,
// and nothing that is in none of the group.
func compareGroup(got []Sample, e expected, group []expected, mint, maxt int64) error {
	stored := map[int64][]Sample{}
	for _, g := range group {
		for _, s := range g.samples {
			stored[s.T] = append(stored[s.T], s)
		}
	}
	read := map[int64][]Sample{}
	for _, s := range got {
		if s.T < mint || s.T > maxt {
			continue
		}
		if !slices.ContainsFunc(stored[s.T], s.Equal) {
			return fmt.Errorf("sample %s was never stored", s)
		}
		read[s.T] = append(read[s.T], s)
	}
	for _, s := range e.samples {
		if mint <= s.T && s.T <= maxt && !slices.ContainsFunc(read[s.T], s.Equal) {
			return fmt.Errorf("sample %s is missing", s)
		}
	}
	return nil
}

func (s *suite) checkLabelsWithout(querier storage.ChunkQuerier, q question, names []string) error {
	got, _, err := querier.LabelNames(context.Background(), nil, q.matchers...)
	if err != nil {
		return fmt.Errorf("LabelNames: %w", err)
	}
	for _, name := range names {
		if slices.Contains(got, name) {
			return fmt.Errorf("LabelNames has %q: %q", name, got)
		}
		values, _, err := querier.LabelValues(context.Background(), name, nil, q.matchers...)
		if err != nil || len(values) > 0 {
			return fmt.Errorf("LabelValues of %q, which is left out: %q, %v", name, values, err)
		}
	}
	return nil
}

func (s *suite) exemplars(t *testing.T) {
	backend, ok := s.backend.(storage.ExemplarQueryable)
	if !ok {
		t.Fatal("no ExemplarQuerier")
	}
	ctx := t.Context()
	q, err := backend.ExemplarQuerier(ctx)
	if err != nil {
		t.Fatal(err)
	}
	model, _ := s.model.ExemplarQuerier(ctx)
	name := labels.MustNewMatcher(labels.MatchEqual, "__name__", "requests_total")
	for _, r := range [][2]int64{{Start, End}, {Start, Start}, {Start + 1, Start + hour}, {End, End + hour}} {
		for _, selectors := range [][][]*labels.Matcher{
			{{name}},
			{{name, labels.MustNewMatcher(labels.MatchEqual, "cluster", "us")}, {labels.MustNewMatcher(labels.MatchEqual, "job", "nothing")}},
			{{labels.MustNewMatcher(labels.MatchEqual, "__name__", "missing")}},
		} {
			got, err := q.Select(r[0], r[1], selectors...)
			if err != nil {
				t.Errorf("exemplars of %v in %v: %v", selectors, r, err)
			}
			want, _ := model.Select(r[0], r[1], selectors...)
			if diff := cmp.Diff(exemplarText(want), exemplarText(got)); diff != "" {
				t.Errorf("exemplars of %v in %v (-want +got):\n%s", selectors, r, diff)
			}
		}
	}
}

// exemplarText gives each series' exemplars as lines; series in any order.
func exemplarText(results []exemplar.QueryResult) map[string][]string {
	text := map[string][]string{}
	for _, r := range results {
		for _, e := range r.Exemplars {
			id := r.SeriesLabels.String()
			text[id] = append(text[id], fmt.Sprint(e.Labels, e.Value, e.Ts))
		}
	}
	return text
}

func (s *suite) metadata(t *testing.T) {
	backend, ok := s.backend.(interface {
		MetricMetadata(ctx context.Context, metric string, limit int) (map[string][]metadata.Metadata, error)
	})
	if !ok {
		t.Fatal("no MetricMetadata")
	}
	for _, metric := range []string{"", "requests_total", "missing"} {
		got, err := backend.MetricMetadata(t.Context(), metric, 0)
		if err != nil {
			t.Errorf("metadata of %q: %v", metric, err)
		}
		want, _ := s.model.MetricMetadata(t.Context(), metric, 0)
		for family, list := range want {
			for _, md := range list {
				if !slices.Contains(got[family], md) {
					t.Errorf("metadata of %q: %+v is missing from %+v", family, md, got[family])
				}
			}
		}
		if len(got) > len(want) {
			t.Errorf("metadata of %q has %d families, want %d: %v", metric, len(got), len(want), got)
		}
	}
	if got, err := backend.MetricMetadata(t.Context(), "", 1); err != nil || len(got) > 1 {
		t.Errorf("limit 1: %v, %v", got, err)
	}
}
