package dedup_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/varve-tsdb/varve/dedup"
	"github.com/varve-tsdb/varve/internal/readopts"
	"github.com/varve-tsdb/varve/query/querytest"
)

// pair returns n series, each stored by two replicas of one cluster, the second
// of which scrapes 7 s later.
func pair(n int) querytest.Data {
	var data querytest.Data
	for i, name := range []string{"a", "b"} {
		stream := querytest.Stream{External: labels.FromStrings("cluster", "eu", "replica", name)}
		for j := range n {
			s := querytest.Series{
				Labels: labels.FromStrings(model.MetricNameLabel, "x", "n", fmt.Sprintf("%04d", j), "zone", fmt.Sprint(j%2)),
				Exemplars: []exemplar.Exemplar{
					{Labels: labels.FromStrings("trace", "common"), Value: 1, Ts: 20_000, HasTs: true},
					{Labels: labels.FromStrings("trace", name), Value: 2, Ts: 30_000 + int64(i), HasTs: true},
					{Labels: labels.FromStrings("trace", "scraped"), Value: 3, Ts: 40_000 + 7_000*int64(i)},
					{Labels: labels.FromStrings("trace", "scraped"), Value: 3, Ts: 240_000 + 7_000*int64(i)},
				},
			}
			for k := range int64(10) {
				s.Samples = append(s.Samples, querytest.Sample{T: k*15_000 + int64(i)*7_000, Float: float64(k)})
			}
			stream.Series = append(stream.Series, s)
		}
		data.Streams = append(data.Streams, stream)
	}
	return data
}

func matcher(typ labels.MatchType, name, value string) *labels.Matcher {
	return labels.MustNewMatcher(typ, name, value)
}

var all = matcher(labels.MatchEqual, model.MetricNameLabel, "x")

// selected returns the labels of what is selected with the times of the first
// two samples of each.
func selected(t *testing.T, q storage.ChunkQuerier, ctx context.Context, hints *storage.SelectHints, matchers ...*labels.Matcher) []string {
	t.Helper()
	var list []string
	set := storage.NewSeriesSetFromChunkSeriesSet(q.Select(ctx, true, hints, matchers...))
	for set.Next() {
		samples, err := querytest.ReadSamples(set.At().Iterator(nil))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, fmt.Sprintf("%s %d %d", set.At().Labels(), samples[0].T, samples[1].T))
	}
	if set.Err() != nil {
		t.Fatal(set.Err())
	}
	return list
}

func openQuerier(t *testing.T, q storage.ChunkQueryable) storage.ChunkQuerier {
	t.Helper()
	querier, err := q.ChunkQuerier(0, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := querier.Close(); err != nil {
			t.Error(err)
		}
	})
	return querier
}

func TestReadOptions(t *testing.T) {
	one := dedup.New(querytest.NewModel(pair(1)), dedup.Options{ReplicaLabels: []string{"replica"}})
	q := openQuerier(t, one)
	ctx := context.Background()
	for _, tc := range []struct {
		name     string
		opts     readopts.Options
		matchers []*labels.Matcher
		want     []string
		names    []string
		replicas []string
	}{
		{
			name:     "default",
			matchers: []*labels.Matcher{all},
			want:     []string{`{__name__="x", cluster="eu", n="0000", zone="0"} 0 15000`},
			names:    []string{"__name__", "cluster", "n", "zone"},
		},
		{
			name:     "no dedup",
			opts:     readopts.Options{NoDedup: true},
			matchers: []*labels.Matcher{all},
			want: []string{
				`{__name__="x", cluster="eu", n="0000", replica="a", zone="0"} 0 15000`,
				`{__name__="x", cluster="eu", n="0000", replica="b", zone="0"} 7000 22000`,
			},
			names:    []string{"__name__", "cluster", "n", "replica", "zone"},
			replicas: []string{"a", "b"},
		},
		{
			name:     "other labels",
			opts:     readopts.Options{ReplicaLabels: []string{"replica", "cluster", "replica", ""}},
			matchers: []*labels.Matcher{all},
			want:     []string{`{__name__="x", n="0000", zone="0"} 0 15000`},
			names:    []string{"__name__", "n", "zone"},
		},
		{
			name:     "no labels",
			opts:     readopts.Options{ReplicaLabels: []string{}},
			matchers: []*labels.Matcher{all},
			want: []string{
				`{__name__="x", cluster="eu", n="0000", replica="a", zone="0"} 0 15000`,
				`{__name__="x", cluster="eu", n="0000", replica="b", zone="0"} 7000 22000`,
			},
			names:    []string{"__name__", "cluster", "n", "replica", "zone"},
			replicas: []string{"a", "b"},
		},
		{
			name:     "a matcher chooses a replica",
			matchers: []*labels.Matcher{all, matcher(labels.MatchEqual, "replica", "b")},
			want:     []string{`{__name__="x", cluster="eu", n="0000", zone="0"} 7000 22000`},
			names:    []string{"__name__", "cluster", "n", "zone"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ctx := readopts.With(ctx, tc.opts)
			if diff := cmp.Diff(tc.want, selected(t, q, ctx, nil, tc.matchers...)); diff != "" {
				t.Errorf("series (-want +got):\n%s", diff)
			}
			names, _, err := q.LabelNames(ctx, nil, tc.matchers...)
			if diff := cmp.Diff(tc.names, names); diff != "" || err != nil {
				t.Errorf("names (-want +got), error %v:\n%s", err, diff)
			}
			values, _, err := q.LabelValues(ctx, "replica", nil, tc.matchers...)
			if !slices.Equal(values, tc.replicas) || err != nil {
				t.Errorf("values of replica: %v, error %v, want %v", values, err, tc.replicas)
			}
		})
	}
}

func TestLimitCountsMergedSeries(t *testing.T) {
	one := dedup.New(querytest.NewModel(pair(20)), dedup.Options{ReplicaLabels: []string{"replica"}})
	q := openQuerier(t, one)
	whole := selected(t, q, context.Background(), nil, all)
	got := selected(t, q, context.Background(), &storage.SelectHints{Start: 0, End: math.MaxInt64, Limit: 7}, all)
	if diff := cmp.Diff(whole[:7], got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestShardsHoldMergedSeries(t *testing.T) {
	one := dedup.New(querytest.NewModel(pair(50)), dedup.Options{ReplicaLabels: []string{"replica"}})
	q := openQuerier(t, one)
	whole := selected(t, q, context.Background(), nil, all)
	var got []string
	for i := range uint64(3) {
		got = append(got, selected(t, q, context.Background(), &storage.SelectHints{Start: 0, End: math.MaxInt64, ShardCount: 3, ShardIndex: i}, all)...)
	}
	slices.Sort(got)
	if diff := cmp.Diff(whole, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// hinted notes the hints that a source gets.
type hinted struct {
	storage.ChunkQueryable
	got storage.SelectHints
}

type hintedQuerier struct {
	storage.ChunkQuerier
	h *hinted
}

func (h *hinted) ChunkQuerier(mint, maxt int64) (storage.ChunkQuerier, error) {
	q, err := h.ChunkQueryable.ChunkQuerier(mint, maxt)
	return hintedQuerier{q, h}, err
}

func (q hintedQuerier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.ChunkSeriesSet {
	q.h.got = *hints
	return q.ChunkQuerier.Select(ctx, sorted, hints, matchers...)
}

// A source that heeds all hints must not apply to replicas what is about merged
// series.
func TestHintsAboutMergedSeriesStay(t *testing.T) {
	source := &hinted{ChunkQueryable: querytest.NewModel(pair(3))}
	one := dedup.New(source, dedup.Options{ReplicaLabels: []string{"replica"}})
	hints := storage.SelectHints{
		Start: 0, End: math.MaxInt64, Func: "rate", Limit: 7,
		ShardCount: 3, ShardIndex: 1, ProjectionLabels: []string{"n"}, ProjectionInclude: true,
	}
	asked := hints
	selected(t, openQuerier(t, one), context.Background(), &asked, all)
	want := storage.SelectHints{Start: 0, End: math.MaxInt64, Func: "rate"}
	if diff := cmp.Diff(want, source.got); diff != "" {
		t.Errorf("the source got (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(hints, asked); diff != "" {
		t.Errorf("the caller's hints changed (-before +after):\n%s", diff)
	}
}

func TestSeriesOutliveNext(t *testing.T) {
	const n = 700 // several blocks of replicas
	one := dedup.New(querytest.NewModel(pair(n)), dedup.Options{ReplicaLabels: []string{"replica"}})
	q := openQuerier(t, one)
	var list []storage.ChunkSeries
	set := q.Select(context.Background(), true, nil, all)
	for set.Next() {
		list = append(list, set.At())
	}
	if set.Err() != nil || len(list) != n {
		t.Fatalf("%d series, error %v", len(list), set.Err())
	}
	for i, s := range list {
		if got, want := s.Labels().Get("n"), fmt.Sprintf("%04d", i); got != want {
			t.Fatalf("series %d is %s", i, s.Labels())
		}
		metas, err := storage.ExpandChunks(s.Iterator(nil))
		if err != nil || len(metas) != 1 || metas[0].Chunk.NumSamples() != 10 {
			t.Fatalf("series %d has chunks %v, error %v", i, metas, err)
		}
	}
}

func TestWithoutAfterDedup(t *testing.T) {
	one := dedup.New(querytest.NewModel(pair(3)), dedup.Options{ReplicaLabels: []string{"replica"}})
	q, err := one.ChunkQuerierWithout(0, math.MaxInt64, []string{"n", "replica"})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	want := []string{
		`{__name__="x", cluster="eu", zone="0"} 0 15000`,
		`{__name__="x", cluster="eu", zone="0"} 0 15000`,
		`{__name__="x", cluster="eu", zone="1"} 0 15000`,
	}
	if diff := cmp.Diff(want, selected(t, q, context.Background(), nil, all)); diff != "" {
		t.Errorf("series that are not replicas of each other (-want +got):\n%s", diff)
	}
}

func TestStreams(t *testing.T) {
	type stream struct {
		external   string
		mint, maxt int64
	}
	streams := func(q *dedup.Queryable) []stream {
		var list []stream
		q.Streams(func(external labels.Labels, mint, maxt int64) bool {
			list = append(list, stream{external.String(), mint, maxt})
			return true
		})
		return list
	}
	model := querytest.NewModel(pair(1))
	opts := dedup.Options{ReplicaLabels: []string{"replica"}}
	if got, want := streams(dedup.New(model, opts)), []stream{{`{cluster="eu"}`, 0, 142_000}}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got, want := streams(dedup.New(plain{model}, opts)), []stream{{`{}`, math.MinInt64, math.MaxInt64}}; !slices.Equal(got, want) {
		t.Errorf("of a source that does not tell: got %v, want %v", got, want)
	}
	if got := streams(dedup.New(querytest.NewModel(querytest.Data{}), opts)); got != nil {
		t.Errorf("of an empty source: got %v", got)
	}
}

func TestExemplars(t *testing.T) {
	model := querytest.NewModel(pair(1))
	one := dedup.New(model, dedup.Options{ReplicaLabels: []string{"replica"}})
	ask := func(ctx context.Context, q storage.ExemplarQueryable) []string {
		t.Helper()
		querier, err := q.ExemplarQuerier(ctx)
		if err != nil {
			t.Fatal(err)
		}
		results, err := querier.Select(0, math.MaxInt64, []*labels.Matcher{all})
		if err != nil {
			t.Fatal(err)
		}
		var list []string
		for _, r := range results {
			for _, e := range r.Exemplars {
				list = append(list, fmt.Sprint(r.SeriesLabels.Get("replica"), e.Labels.Get("trace"), e.Ts))
			}
		}
		return list
	}
	ctx := context.Background()
	if got, want := ask(ctx, one), []string{"common20000", "a30000", "b30001", "scraped40000", "scraped240000"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	apart := []string{
		"acommon20000", "aa30000", "ascraped40000", "ascraped240000",
		"bcommon20000", "bb30001", "bscraped47000", "bscraped247000",
	}
	raw := readopts.With(ctx, readopts.Options{NoDedup: true})
	if got, want := ask(raw, one), apart; !slices.Equal(got, want) {
		t.Errorf("without dedup: got %v, want %v", got, want)
	}
	others := readopts.With(ctx, readopts.Options{ReplicaLabels: []string{"cluster"}})
	if got, want := ask(others, one), apart; !slices.Equal(got, want) {
		t.Errorf("with other replica labels: got %v, want %v", got, want)
	}
	if got := ask(ctx, dedup.New(plain{model}, dedup.Options{})); got != nil {
		t.Errorf("of a source without exemplars: got %v", got)
	}
}

func TestMetadataOfASourceWithout(t *testing.T) {
	one := dedup.New(plain{querytest.NewModel(querytest.Data{})}, dedup.Options{})
	got, err := one.MetricMetadata(context.Background(), "", 0)
	if err != nil || len(got) != 0 {
		t.Errorf("got %v, error %v", got, err)
	}
}

// tracked counts what is open of a source, which may fail to open.
type tracked struct {
	storage.ChunkQueryable
	opened, closed int
	fail           error
}

type trackedQuerier struct {
	storage.ChunkQuerier
	t *tracked
}

func (t *tracked) ChunkQuerier(mint, maxt int64) (storage.ChunkQuerier, error) {
	if t.fail != nil {
		return nil, t.fail
	}
	q, err := t.ChunkQueryable.ChunkQuerier(mint, maxt)
	t.opened++
	return trackedQuerier{q, t}, err
}

func (t *tracked) String() string { return "tracked" }

func (q trackedQuerier) Close() error { q.t.closed++; return q.ChunkQuerier.Close() }

func TestQuerierLife(t *testing.T) {
	source := &tracked{ChunkQueryable: querytest.NewModel(pair(1))}
	one := dedup.New(source, dedup.Options{ReplicaLabels: []string{"replica"}})
	q, err := one.ChunkQuerier(0, 1_000_000)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	for range 3 {
		selected(t, q, ctx, nil, all)
		selected(t, q, readopts.With(ctx, readopts.Options{NoDedup: true}), nil, all)
	}
	if source.opened != 2 {
		t.Errorf("%d queriers opened for two ways to read", source.opened)
	}
	for range 2 {
		if err := q.Close(); err != nil {
			t.Error(err)
		}
	}
	if source.closed != source.opened {
		t.Errorf("%d of %d queriers closed", source.closed, source.opened)
	}
	set := q.Select(ctx, true, nil, all)
	if set.Next() || set.Err() == nil {
		t.Error("a closed querier answers")
	}
}

func TestSourceThatFailsToOpen(t *testing.T) {
	failed := errors.New("no such disk")
	one := dedup.New(&tracked{fail: failed}, dedup.Options{ReplicaLabels: []string{"replica"}})
	q := openQuerier(t, one)
	ctx := context.Background()
	if set := q.Select(ctx, true, nil, all); set.Next() || !errors.Is(set.Err(), failed) {
		t.Errorf("Select: %v", set.Err())
	}
	if _, _, err := q.LabelNames(ctx, nil); !errors.Is(err, failed) {
		t.Errorf("LabelNames: %v", err)
	}
	if _, _, err := q.LabelValues(ctx, "n", nil); !errors.Is(err, failed) {
		t.Errorf("LabelValues: %v", err)
	}
}

func TestString(t *testing.T) {
	if got := dedup.New(&tracked{}, dedup.Options{}).String(); got != "dedup(tracked)" {
		t.Errorf("got %q", got)
	}
	if got := dedup.New(plain{}, dedup.Options{}).String(); !strings.Contains(got, "plain") {
		t.Errorf("got %q", got)
	}
}
