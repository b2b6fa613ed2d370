package extlabels

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
	"pgregory.net/rapid"
)

// listQuerier answers from a list of label sets without external labels.
type listQuerier struct {
	series []labels.Labels
	err    error
	closed bool
}

func (q *listQuerier) matching(ms []*labels.Matcher) (out []labels.Labels) {
	for _, ls := range q.series {
		if !slices.ContainsFunc(ms, func(m *labels.Matcher) bool { return !m.Matches(ls.Get(m.Name)) }) {
			out = append(out, ls)
		}
	}
	slices.SortFunc(out, labels.Compare)
	return out
}

func (q *listQuerier) Select(_ context.Context, _ bool, _ *storage.SelectHints, ms ...*labels.Matcher) storage.ChunkSeriesSet {
	return &listSet{series: q.matching(ms), err: q.err, at: -1}
}

func (q *listQuerier) LabelNames(_ context.Context, hints *storage.LabelHints, ms ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	var names []string
	for _, ls := range q.matching(ms) {
		ls.Range(func(l labels.Label) { names = append(names, l.Name) })
	}
	return limited(names, hints), nil, nil
}

func (q *listQuerier) LabelValues(_ context.Context, name string, hints *storage.LabelHints, ms ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	var values []string
	for _, ls := range q.matching(ms) {
		if v := ls.Get(name); v != "" {
			values = append(values, v)
		}
	}
	return limited(values, hints), nil, nil
}

func (q *listQuerier) Close() error { q.closed = true; return nil }

func limited(in []string, hints *storage.LabelHints) []string {
	in = slices.Compact(slices.Sorted(slices.Values(in)))
	if hints != nil && hints.Limit > 0 && len(in) > hints.Limit {
		in = in[:hints.Limit]
	}
	return in
}

type listSet struct {
	series []labels.Labels
	at     int
	err    error
}

func (s *listSet) Next() bool { s.at++; return s.at < len(s.series) }
func (s *listSet) At() storage.ChunkSeries {
	return storage.NewListChunkSeriesFromSamples(s.series[s.at], []chunks.Sample{})
}

func (s *listSet) Err() error {
	if s.at >= len(s.series) {
		return s.err
	}
	return nil
}
func (s *listSet) Warnings() annotations.Annotations { return nil }

// removed tells what a series has lost.
func removed(series storage.ChunkSeries) labels.Labels {
	lost, _ := series.(interface{ Removed() (labels.Labels, bool) }).Removed()
	return lost
}

func selected(t interface{ Fatalf(string, ...any) }, q storage.ChunkQuerier, ms ...*labels.Matcher) []string {
	set := q.Select(context.Background(), true, nil, ms...)
	out := []string{}
	for set.Next() {
		text := set.At().Labels().String()
		if lost := removed(set.At()); !lost.IsEmpty() {
			text += " without " + lost.String()
		}
		out = append(out, text)
	}
	if err := set.Err(); err != nil {
		t.Fatalf("select: %v", err)
	}
	return out
}

// final is the definition that the package has to agree with.
func final(stored, external labels.Labels, without []string) labels.Labels {
	b := labels.NewBuilder(stored)
	external.Range(func(l labels.Label) { b.Set(l.Name, l.Value) })
	return b.Del(without...).Labels()
}

func TestSelectAgreesWithItsDefinition(t *testing.T) {
	// Few names and values make prefixes, clashes and equal sets common.
	genLabels := func(names []string, minLen, maxLen int) *rapid.Generator[labels.Labels] {
		return rapid.Custom(func(t *rapid.T) labels.Labels {
			m := rapid.MapOfN(rapid.SampledFrom(names), rapid.SampledFrom([]string{"1", "2"}), minLen, maxLen).Draw(t, "labels")
			return labels.FromMap(m)
		})
	}
	stored := []string{"b", "d", "f", "h", "j"}
	rapid.Check(t, func(t *rapid.T) {
		outside := []string{"a", "c", "e", "g", "i", "k"}
		if rapid.Bool().Draw(t, "clash") {
			outside = append(outside, "d", "h")
		}
		series := rapid.SliceOfNDistinct(genLabels(stored, 1, 5), 0, 30, func(l labels.Labels) string { return l.String() }).Draw(t, "series")
		external := genLabels(outside, 0, 3).Draw(t, "external")
		without := rapid.SliceOfNDistinct(rapid.SampledFrom(append(outside, "b")), 0, 2, rapid.ID[string]).Draw(t, "without")
		matcher := labels.MustNewMatcher(
			rapid.SampledFrom([]labels.MatchType{labels.MatchEqual, labels.MatchNotEqual}).Draw(t, "type"),
			rapid.SampledFrom(append(outside, stored...)).Draw(t, "name"),
			rapid.SampledFrom([]string{"", "1", "2"}).Draw(t, "value"))

		var want, wholes []labels.Labels
		var names []string
		values := map[string][]string{}
		for _, ls := range series {
			whole := final(ls, external, nil)
			if !matcher.Matches(whole.Get(matcher.Name)) || slices.ContainsFunc(wholes, func(w labels.Labels) bool { return labels.Equal(w, whole) }) {
				continue // not asked for, or the same series as an earlier one
			}
			wholes = append(wholes, whole)
			want = append(want, final(ls, external, without))
			want[len(want)-1].Range(func(l labels.Label) {
				names = append(names, l.Name)
				values[l.Name] = append(values[l.Name], l.Value)
			})
		}
		slices.SortFunc(want, labels.Compare)
		q := NewChunkQuerier(&listQuerier{series: series}, external, without)
		if external.IsEmpty() && len(without) == 0 {
			return // q is the inner querier.
		}
		set := q.Select(t.Context(), true, nil, matcher)
		for _, ls := range want {
			if !set.Next() || !labels.Equal(set.At().Labels(), ls) {
				t.Fatalf("want %s next", ls)
			}
			// Put together again it is a series that was there.
			whole := labels.NewBuilder(set.At().Labels())
			removed(set.At()).Range(func(l labels.Label) { whole.Set(l.Name, l.Value) })
			if !slices.ContainsFunc(series, func(stored labels.Labels) bool {
				return labels.Equal(final(stored, external, nil), whole.Labels())
			}) {
				t.Fatalf("%s has lost %s, but there is no such series", ls, removed(set.At()))
			}
		}
		if set.Next() || set.Err() != nil {
			t.Fatalf("more than %d series, or %v", len(want), set.Err())
		}
		limit := rapid.IntRange(0, 4).Draw(t, "limit")
		hints := &storage.LabelHints{Limit: limit}
		gotNames, _, err := q.LabelNames(t.Context(), hints, matcher)
		if err != nil || !slices.Equal(gotNames, limited(names, hints)) {
			t.Fatalf("label names %v, %v; want %v", gotNames, err, limited(names, hints))
		}
		for _, name := range append(outside, stored...) {
			got, _, err := q.LabelValues(t.Context(), name, nil, matcher)
			if err != nil || !slices.Equal(got, limited(values[name], nil)) {
				t.Fatalf("values of %s: %v, %v; want %v", name, got, err, limited(values[name], nil))
			}
		}
	})
}

// chunksQuerier answers with series that have chunks and differ in a label.
type chunksQuerier struct {
	listQuerier
	label string
	metas [][]chunks.Meta
	err   error // of the chunks
}

func (q *chunksQuerier) Select(context.Context, bool, *storage.SelectHints, ...*labels.Matcher) storage.ChunkSeriesSet {
	set := &chunksSet{}
	for i, metas := range q.metas {
		set.series = append(set.series, &storage.ChunkSeriesEntry{
			Lset: labels.FromStrings("__name__", "up", q.label, fmt.Sprint(i)),
			ChunkIteratorFn: func(chunks.Iterator) chunks.Iterator {
				return &brokenChunks{storage.NewListChunkSeriesIterator(metas...), q.err}
			},
		})
	}
	return set
}

type chunksSet struct {
	listSet
	series []storage.ChunkSeries
	next   int
}

func (s *chunksSet) Next() bool              { s.next++; return s.next <= len(s.series) }
func (s *chunksSet) At() storage.ChunkSeries { return s.series[s.next-1] }

type brokenChunks struct {
	chunks.Iterator
	err error
}

func (b *brokenChunks) Err() error { return b.err }

// A stored label gives way to an external one of its name. What it told apart
// then is one series, with all that was stored.
func TestSeriesThatBecomeEqualAreOne(t *testing.T) {
	chunk := func(mint, maxt int64) chunks.Meta {
		return chunks.Meta{MinTime: mint, MaxTime: maxt, Chunk: chunkenc.NewXORChunk()}
	}
	external := labels.FromStrings("cluster", "eu", "replica", "1")
	for name, without := range map[string][]string{"all labels": nil, "without another": {"replica"}, "without it": {"cluster"}} {
		t.Run(name, func(t *testing.T) {
			inner := &chunksQuerier{label: "cluster", metas: [][]chunks.Meta{{chunk(1, 4)}, {chunk(2, 3)}, {chunk(1, 4), chunk(5, 6)}}}
			inner.listQuerier.series = []labels.Labels{labels.FromStrings("cluster", "0")}
			q := NewChunkQuerier(inner, external, without)
			for _, broken := range []error{nil, errors.New("broken")} {
				inner.err = broken
				set := q.Select(t.Context(), true, nil)
				if !set.Next() {
					t.Fatalf("no series, %v", set.Err())
				}
				var times []string
				it := set.At().Iterator(nil)
				for it.Next() {
					times = append(times, fmt.Sprint(it.At().MinTime, "-", it.At().MaxTime))
				}
				if want := []string{"1-4", "2-3", "5-6"}; broken == nil && !slices.Equal(times, want) {
					t.Errorf("chunks %v, want %v", times, want)
				}
				if !errors.Is(it.Err(), broken) {
					t.Errorf("error of the chunks %v, want %v", it.Err(), broken)
				}
				if set.Next() || set.Err() != nil {
					t.Errorf("a second series, or %v", set.Err())
				}
			}
		})
	}
}

func TestSelectStreamsWhatNeedsNoSorting(t *testing.T) {
	inner := &listQuerier{}
	for i := range 1000 {
		inner.series = append(inner.series, labels.FromStrings("__name__", "up", "instance", fmt.Sprintf("%04d", i)))
	}
	q := NewChunkQuerier(inner, labels.FromStrings("cluster", "eu", "zone", "1"), []string{"replica"})
	set := q.Select(t.Context(), true, nil).(*streamedSet)
	for set.Next() {
		if n := len(set.stack) + len(set.ready); n > 2 {
			t.Fatalf("%d series held back, want at most 2", n)
		}
	}
}

// growingQuerier gets a series with each Select, as a head may.
type growingQuerier struct {
	listQuerier
	coming []labels.Labels
}

func (q *growingQuerier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, ms ...*labels.Matcher) storage.ChunkSeriesSet {
	if len(q.coming) > 0 {
		q.series, q.coming = append(q.series, q.coming[0]), q.coming[1:]
	}
	return q.listQuerier.Select(ctx, sorted, hints, ms...)
}

// A series that is the first with a label of an external label's name, or one to
// be left out, may appear at any time. The order must not suffer.
func TestSeriesThatAppearWhileOneReads(t *testing.T) {
	a, b := labels.FromStrings("__name__", "up", "a", "1"), labels.FromStrings("__name__", "up", "b", "1")
	for name, without := range map[string][]string{"streamed": nil, "as stored": {"cluster"}} {
		clash := labels.FromStrings("__name__", "up", "cluster", "a")
		q := func(coming ...labels.Labels) storage.ChunkQuerier {
			inner := &growingQuerier{listQuerier: listQuerier{series: []labels.Labels{a, b}}, coming: coming}
			return NewChunkQuerier(inner, labels.FromStrings("cluster", "eu"), without)
		}
		var got []labels.Labels
		once := q(clash).Select(t.Context(), true, nil)
		for once.Next() {
			got = append(got, once.At().Labels())
		}
		if len(got) != 3 || !slices.IsSortedFunc(got, labels.Compare) || once.Err() != nil {
			t.Errorf("%s: got %v, %v; want three series in order", name, got, once.Err())
		}

		twice := q(labels.FromStrings("__name__", "up", "c", "1"), clash)
		selected(t, twice)
		set := twice.Select(t.Context(), true, nil)
		for set.Next() {
		}
		var later interface{ Unavailable() bool }
		if !errors.As(set.Err(), &later) || !later.Unavailable() || !strings.Contains(set.Err().Error(), clash.String()) {
			t.Errorf("%s: got %v, want the series to be named and the read to be repeated", name, set.Err())
		}
	}
}

func TestAllMatchersOnExternalLabelsSelectAll(t *testing.T) {
	inner := &listQuerier{series: []labels.Labels{labels.FromStrings("a", "1"), labels.FromStrings("b", "1")}}
	q := NewChunkQuerier(inner, labels.FromStrings("cluster", "eu"), nil)
	got := selected(t, q, labels.MustNewMatcher(labels.MatchEqual, "cluster", "eu"))
	if diff := cmp.Diff([]string{`{a="1", cluster="eu"}`, `{b="1", cluster="eu"}`}, got); diff != "" {
		t.Fatal(diff)
	}
	if got := selected(t, q, labels.MustNewMatcher(labels.MatchEqual, "cluster", "us")); len(got) != 0 {
		t.Fatalf("got %v from another cluster", got)
	}
}

func TestErrorsPassThrough(t *testing.T) {
	broken := errors.New("broken")
	for name, stored := range map[string]string{"streamed": "a", "sorted": "cluster"} {
		t.Run(name, func(t *testing.T) {
			inner := &listQuerier{series: []labels.Labels{labels.FromStrings(stored, "1"), labels.FromStrings(stored, "2")}, err: broken}
			q := NewChunkQuerier(inner, labels.FromStrings("cluster", "eu"), nil)
			set := q.Select(t.Context(), true, nil)
			for set.Next() {
			}
			if !errors.Is(set.Err(), broken) {
				t.Fatalf("error %v, want %v", set.Err(), broken)
			}
			if err := q.Close(); err != nil || !inner.closed {
				t.Fatalf("close: %v, inner closed: %v", err, inner.closed)
			}
		})
	}
}
