package query

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
	"pgregory.net/rapid"

	"github.com/varve-tsdb/varve/query/querytest"
)

// chunkOf encodes floats at the given times, each with its time as value.
func chunkOf(t testing.TB, times ...int64) chunks.Meta {
	c := chunkenc.NewXORChunk()
	app, err := c.Appender()
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range times {
		app.Append(0, at, float64(at))
	}
	return chunks.Meta{MinTime: times[0], MaxTime: times[len(times)-1], Chunk: c}
}

// listed is a source of one series with these chunks.
type listed struct {
	storage.LabelQuerier
	chunks   []chunks.Meta
	err      error // of the chunk iterator, after the chunks
	warnings annotations.Annotations
}

func (l listed) ChunkQuerier(int64, int64) (storage.ChunkQuerier, error) { return l, nil }
func (l listed) Close() error                                            { return nil }

func (l listed) Select(context.Context, bool, *storage.SelectHints, ...*labels.Matcher) storage.ChunkSeriesSet {
	return &listedSet{l: l}
}

type listedSet struct {
	l    listed
	done bool
}

func (s *listedSet) Next() bool                        { done := s.done; s.done = true; return !done }
func (s *listedSet) Err() error                        { return nil }
func (s *listedSet) Warnings() annotations.Annotations { return s.l.warnings }
func (s *listedSet) At() storage.ChunkSeries {
	return &storage.ChunkSeriesEntry{Lset: labels.FromStrings("a", "b"), ChunkIteratorFn: func(chunks.Iterator) chunks.Iterator {
		return &failingChunks{storage.NewListChunkSeriesIterator(s.l.chunks...), s.l.err}
	}}
}

type failingChunks struct {
	chunks.Iterator
	err error
}

func (f *failingChunks) Err() error { return f.err }

// samplesOf selects the one series of a source.
func samplesOf(t testing.TB, source storage.ChunkQueryable, mint, maxt int64) storage.Series {
	t.Helper()
	q, err := Samples(source).Querier(mint, maxt)
	if err != nil {
		t.Fatal(err)
	}
	set := q.Select(t.Context(), true, nil)
	if !set.Next() {
		t.Fatalf("no series: %v", set.Err())
	}
	return set.At()
}

func times(t testing.TB, it chunkenc.Iterator) []int64 {
	t.Helper()
	list, err := querytest.ReadSamples(it)
	if err != nil {
		t.Fatal(err)
	}
	var all []int64
	for _, s := range list {
		if s.Float != float64(s.T) {
			t.Errorf("at %d the value is %v", s.T, s.Float)
		}
		all = append(all, s.T)
	}
	return all
}

func TestSamplesOfChunks(t *testing.T) {
	for name, c := range map[string]struct {
		chunks     [][]int64
		mint, maxt int64
		want       []int64
		layers     int
	}{
		"one":            {[][]int64{{1, 2, 3}}, 0, 9, []int64{1, 2, 3}, 1},
		"trimmed":        {[][]int64{{1, 2, 3}, {4, 5, 6}}, 2, 5, []int64{2, 3, 4, 5}, 1},
		"between two":    {[][]int64{{1, 9}}, 2, 8, nil, 1},
		"follow":         {[][]int64{{1, 2}, {3, 4}, {5, 6}}, 0, 9, []int64{1, 2, 3, 4, 5, 6}, 1},
		"equal twice":    {[][]int64{{1, 2}, {1, 2}}, 0, 9, []int64{1, 2}, 2},
		"share an end":   {[][]int64{{1, 2}, {2, 3}}, 0, 9, []int64{1, 2, 3}, 2},
		"overlap":        {[][]int64{{1, 3, 5}, {2, 3, 4, 6}, {7, 8}}, 0, 9, []int64{1, 2, 3, 4, 5, 6, 7, 8}, 2},
		"within another": {[][]int64{{1, 9}, {2, 3}, {4, 5}, {6, 7}}, 0, 9, []int64{1, 2, 3, 4, 5, 6, 7, 9}, 2},
		"out of order":   {[][]int64{{5, 6}, {1, 2}}, 0, 9, []int64{1, 2, 5, 6}, 1},
		"outside":        {[][]int64{{1, 2}, {5, 6}, {8, 9}}, 3, 7, []int64{5, 6}, 1},
		"all time":       {[][]int64{{1, 2}}, math.MinInt64, math.MaxInt64, []int64{1, 2}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			source := listed{}
			for _, times := range c.chunks {
				source.chunks = append(source.chunks, chunkOf(t, times...))
			}
			series := samplesOf(t, source, c.mint, c.maxt)
			if n := len(series.(*samplesSeries).layers); n != c.layers {
				t.Errorf("%d layers, want %d", n, c.layers)
			}
			var it chunkenc.Iterator
			for range 2 { // the second time with the used iterator
				it = series.Iterator(it)
				if got := times(t, it); !slices.Equal(got, c.want) {
					t.Errorf("got %v, want %v", got, c.want)
				}
				if it.Next() != chunkenc.ValNone || it.Seek(0) != chunkenc.ValNone {
					t.Error("there is more after the end")
				}
			}
		})
	}
}

// histogramChunkOf encodes histograms at the given times, each with its time as
// count.
func histogramChunkOf(t testing.TB, times ...int64) chunks.Meta {
	c := chunkenc.NewHistogramChunk()
	app, err := c.Appender()
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range times {
		h := &histogram.Histogram{
			CounterResetHint: histogram.GaugeType, Count: uint64(at), ZeroThreshold: 0.001,
			PositiveSpans: []histogram.Span{{Length: 1}}, PositiveBuckets: []int64{at},
		}
		if _, _, _, err := app.AppendHistogram(nil, 0, at, h, false); err != nil {
			t.Fatal(err)
		}
	}
	return chunks.Meta{MinTime: times[0], MaxTime: times[len(times)-1], Chunk: c}
}

// TestSamplesWalk walks by Next and Seek over chunks of floats and histograms cut
// at random from random sources, beside a plain list.
func TestSamplesWalk(t *testing.T) {
	rapid.Check(t, func(draw *rapid.T) {
		seen := map[int64]bool{}
		source := listed{}
		for range rapid.IntRange(1, 4).Draw(draw, "sources") {
			all := rapid.SliceOfNDistinct(rapid.Int64Range(0, 200), 0, 60, rapid.ID).Draw(draw, "times")
			slices.Sort(all)
			for len(all) > 0 {
				n := rapid.IntRange(1, len(all)).Draw(draw, "chunk")
				chunk := chunkOf
				if rapid.IntRange(0, 3).Draw(draw, "histograms") == 0 {
					chunk = histogramChunkOf
				}
				source.chunks = append(source.chunks, chunk(t, all[:n]...))
				for _, at := range all[:n] {
					seen[at] = true
				}
				all = all[n:]
			}
		}
		mint := rapid.Int64Range(-5, 205).Draw(draw, "mint")
		maxt := rapid.Int64Range(mint, 205).Draw(draw, "maxt")
		var want []int64
		for at := mint; at <= maxt; at++ {
			if seen[at] {
				want = append(want, at)
			}
		}
		it := samplesOf(t, source, mint, maxt).Iterator(nil)
		at := -1 // in want
		for at < len(want) {
			if rapid.Bool().Draw(draw, "next") {
				at++
				checkAt(draw, it, it.Next(), want, at)
				continue
			}
			to := rapid.Int64Range(-10, 210).Draw(draw, "seek")
			at = max(at, 0)
			for at < len(want) && want[at] < to {
				at++
			}
			checkAt(draw, it, it.Seek(to), want, at)
		}
	})
}

func checkAt(draw *rapid.T, it chunkenc.Iterator, typ chunkenc.ValueType, want []int64, at int) {
	if at >= len(want) {
		if typ != chunkenc.ValNone || it.Err() != nil {
			draw.Fatalf("a sample after the end, or an error: %v", it.Err())
		}
		return
	}
	var (
		got int64
		v   float64
	)
	switch typ {
	case chunkenc.ValFloat:
		got, v = it.At()
	case chunkenc.ValHistogram:
		var h *histogram.Histogram
		got, h = it.AtHistogram(nil)
		v = float64(h.Count)
	default:
		draw.Fatalf("the end before %d", want[at])
	}
	if got != want[at] || v != float64(got) || it.AtT() != got {
		draw.Fatalf("at %d, value %v, want %d", got, v, want[at])
	}
}

// TestSamplesSetShowsFailures: what goes wrong with chunks shows on the set,
// where the engine looks, and not only when a series is iterated.
func TestSamplesSetShowsFailures(t *testing.T) {
	broken := errors.New("broken chunk")
	q, err := Samples(listed{chunks: []chunks.Meta{chunkOf(t, 1)}, err: broken}).Querier(0, 9)
	if err != nil {
		t.Fatal(err)
	}
	set := q.Select(t.Context(), true, nil)
	if set.Next() || !errors.Is(set.Err(), broken) {
		t.Errorf("error of a chunk: %v", set.Err())
	}
	ws := annotations.New().Add(broken)
	q, err = Samples(listed{chunks: []chunks.Meta{chunkOf(t, 1)}, warnings: ws}).Querier(0, 9)
	if err != nil {
		t.Fatal(err)
	}
	if set := q.Select(t.Context(), true, nil); !set.Next() || set.Next() || len(set.Warnings()) != 1 {
		t.Errorf("warnings: %v", set.Warnings())
	}
}

// TestSamplesBadChunk: a chunk that is cut short is an error of the iterator.
func TestSamplesBadChunk(t *testing.T) {
	good := chunkOf(t, 1, 2, 3)
	bad, err := chunkenc.FromData(chunkenc.EncXOR, good.Chunk.Bytes()[:2])
	if err != nil {
		t.Fatal(err)
	}
	good.Chunk = bad
	it := samplesOf(t, listed{chunks: []chunks.Meta{good, chunkOf(t, 5, 6)}}, 0, 9).Iterator(nil)
	for it.Next() != chunkenc.ValNone {
	}
	if it.Err() == nil {
		t.Error("no error")
	}
}

// shown is a series that shows its samples itself, and has no chunks.
type shown struct {
	storage.ChunkSeries
	err        error
	mint, maxt int64
}

func (s *shown) Labels() labels.Labels { return labels.FromStrings("a", "b") }

func (s *shown) Samples(mint, maxt int64) (chunkenc.Iterable, error) {
	s.mint, s.maxt = mint, maxt
	if s.err != nil {
		return nil, s.err
	}
	return chunkIterable{}, nil
}

type chunkIterable struct{}

func (chunkIterable) Iterator(chunkenc.Iterator) chunkenc.Iterator { return chunkenc.NewNopIterator() }

type shownSet struct {
	storage.ChunkSeriesSet
	series *shown
	left   int
}

func (s *shownSet) Next() bool              { s.left--; return s.left >= 0 }
func (s *shownSet) At() storage.ChunkSeries { return s.series }

// A series that shows its samples is asked for those in the range, not for
// chunks, and its failure is that of the set.
func TestSamplesOfASeriesThatShowsThem(t *testing.T) {
	failed := errors.New("no such disk")
	for _, err := range []error{nil, failed} {
		series := &shown{err: err}
		set := &samplesSet{inner: &shownSet{ChunkSeriesSet: storage.EmptyChunkSeriesSet(), series: series, left: 1}, mint: 5, maxt: 9}
		if got := set.Next(); got != (err == nil) || !errors.Is(set.Err(), err) {
			t.Errorf("Next is %v with error %v, want the error %v", got, set.Err(), err)
		}
		if series.mint != 5 || series.maxt != 9 {
			t.Errorf("asked for [%d, %d]", series.mint, series.maxt)
		}
		if err == nil && set.At().Labels().Get("a") != "b" {
			t.Errorf("labels %v", set.At().Labels())
		}
	}
}
