package wiring

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/varve-tsdb/varve/dedup"
	"github.com/varve-tsdb/varve/internal/aggrchunk"
	"github.com/varve-tsdb/varve/internal/blocktest"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
	"github.com/varve-tsdb/varve/query"
	"github.com/varve-tsdb/varve/store"
)

// span is a half-open range of time in ms.
type span struct{ from, to int64 }

// gappySeries is a gauge and a counter of one replica, scraped each minute at a
// phase of its own, but for the gaps. The level tells the replica's gauge.
func gappySeries(to, phase int64, level float64, gaps []span) []blocktest.Series {
	var gauge, counter []blocktest.Sample
	for t := phase; t < to; t += 60_000 {
		missed := false
		for _, gap := range gaps {
			missed = missed || gap.from <= t && t < gap.to
		}
		if i := t / 60_000; !missed {
			gauge = append(gauge, blocktest.Float(t, level+float64(i*7919%1000)))
			counter = append(counter, blocktest.Float(t, float64(t/100)))
		}
	}
	return []blocktest.Series{
		{Labels: labels.FromStrings("__name__", "gauge"), Samples: gauge},
		{Labels: labels.FromStrings("__name__", "counter"), Samples: counter},
	}
}

// gappyReplicas are the series of a pair over two days, each with gaps that the other
// fills, mostly.
func gappyReplicas() [2][]blocktest.Series {
	const minute = int64(60_000)
	return [2][]blocktest.Series{
		gappySeries(2*dayMillis, 1_000, 0, []span{{100 * minute, 117 * minute}, {9*60*minute + 3*minute, 14 * 60 * minute}, {1503 * minute, 1507 * minute}}),
		gappySeries(2*dayMillis, 8_000, 1e6, []span{{114 * minute, 122 * minute}, {16 * 60 * minute, 20*60*minute + 2*minute}, {1501 * minute, 1503 * minute}}),
	}
}

// gappyPair is a bucket with the downsampled blocks of a pair, of which each
// replica has gaps.
func gappyPair(t *testing.T) *store.Bucket {
	t.Helper()
	bkt := objstoretest.NewMemory()
	for i, series := range gappyReplicas() {
		blocktest.PutDownsampled(t, bkt, blocktest.Block{
			MinTime: 0, MaxTime: 2 * dayMillis, Resolution: blocktest.FiveMinutes, SamplesPerChunk: 120,
			External: labels.FromStrings("zzz_replica", strconv.Itoa(i+1)), Series: series,
		})
	}
	return bucketOf(t, bkt)
}

// Each aggregate of a downsampled block is read and deduplicated by itself. Those
// of one window are of one replica all the same, and once: an average made of the
// sum of one and the count of another would be of nothing.
func TestAggregatesOfAPairBelongTogether(t *testing.T) {
	hist := gappyPair(t)
	far, end := remoteOf(t, hist, false)
	t.Cleanup(end)
	for name, source := range map[string]storage.ChunkQueryable{"bucket": hist, "over gRPC": far} {
		t.Run(name, func(t *testing.T) {
			aggregatesBelongTogether(t, query.Samples(dedup.New(source, dedup.Options{ReplicaLabels: []string{"zzz_replica"}})))
		})
	}
}

// aggregatesBelongTogether reads each aggregate as a query does.
func aggregatesBelongTogether(t *testing.T, one storage.Queryable) {
	for _, metric := range []string{"gauge", "counter"} {
		pair := windowsOf(t, one, metric, "")
		first, second := windowsOf(t, one, metric, "1"), windowsOf(t, one, metric, "2")
		if len(first) >= len(pair) || len(second) >= len(pair) {
			t.Errorf("%s: no gap was filled", metric)
		}
		for window := range 2 * dayMillis / blocktest.FiveMinutes {
			got := pair[window]
			a, inFirst := first[window]
			b, inSecond := second[window]
			switch {
			case !inFirst && !inSecond && got == aggregates{}:
			case inFirst && got == a, inSecond && got == b:
			default:
				t.Errorf("%s in window %d: count, sum, min, max and avg are %v, of the replicas %v and %v", metric, window, got, a, b)
			}
		}
	}
}

// aggregates are the count, sum, minimum, maximum and average of a window.
type aggregates [5]float64

// windowsOf returns all aggregates of each window, of one replica if it is named.
func windowsOf(t *testing.T, one storage.Queryable, metric, replica string) map[int64]aggregates {
	t.Helper()
	found := map[int64]aggregates{}
	for i, function := range []string{"count_over_time", "sum_over_time", "min_over_time", "max_over_time", "avg_over_time"} {
		seen := map[int64]bool{}
		for _, p := range aggregatesRead(t, one, function, pairMatchers(metric, replica)...) {
			window := p.T / blocktest.FiveMinutes
			if seen[window] {
				t.Errorf("%s of %s has window %d twice", function, metric, window)
			}
			seen[window] = true
			tuple := found[window]
			tuple[i] = p.F
			found[window] = tuple
		}
	}
	return found
}

func pairMatchers(metric, replica string) []*labels.Matcher {
	matchers := []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, "__name__", metric)}
	if replica != "" {
		matchers = append(matchers, labels.MustNewMatcher(labels.MatchEqual, "zzz_replica", replica))
	}
	return matchers
}

// aggregatesRead returns what the function sees.
func aggregatesRead(t *testing.T, one storage.Queryable, function string, matchers ...*labels.Matcher) (list []promql.FPoint) {
	t.Helper()
	q, err := one.Querier(0, 2*dayMillis)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	ctx := query.WithReadOptions(t.Context(), query.ReadOptions{MaxResolution: 5 * time.Minute})
	set := q.Select(ctx, true, &storage.SelectHints{Start: 0, End: 2 * dayMillis, Func: function}, matchers...)
	for set.Next() {
		list = append(list, floatsOf(t, set.At().Iterator(nil))...)
	}
	if set.Err() != nil {
		t.Fatal(set.Err())
	}
	return list
}

func floatsOf(t *testing.T, it chunkenc.Iterator) (list []promql.FPoint) {
	t.Helper()
	for it.Next() != chunkenc.ValNone {
		at, v := it.At()
		list = append(list, promql.FPoint{T: at, F: v})
	}
	if it.Err() != nil {
		t.Fatal(it.Err())
	}
	return list
}

// What a compaction of downsampled blocks makes of a pair, by taking their chunks
// apart and merging each aggregate, is what a read of both shows.
func TestAggregatesAreMergedAsTheyAreRead(t *testing.T) {
	hist := gappyPair(t)
	one := query.Samples(dedup.New(hist, dedup.Options{ReplicaLabels: []string{"zzz_replica"}}))
	for _, metric := range []string{"gauge", "counter"} {
		for _, function := range []string{"count_over_time", "sum_over_time", "min_over_time", "max_over_time", "avg_over_time", "rate"} {
			var replicas []storage.ChunkSeries
			for _, replica := range []string{"1", "2"} {
				replicas = append(replicas, aggregateOf(t, hist, function, pairMatchers(metric, replica)...))
			}
			var merged []promql.FPoint
			it := dedup.Merge(replicas...).Iterator(nil)
			for it.Next() {
				merged = append(merged, floatsOf(t, it.At().Chunk.Iterator(nil))...)
			}
			if it.Err() != nil {
				t.Fatal(it.Err())
			}
			read := aggregatesRead(t, one, function, pairMatchers(metric, "")...)
			if len(read) < 500 || !slices.Equal(read, merged) {
				t.Errorf("%s of %s: read %v\nmerged %v", function, metric, read, merged)
			}
		}
	}
}

// aggregateOf takes one aggregate out of the stored chunks of a series.
func aggregateOf(t *testing.T, hist *store.Bucket, function string, matchers ...*labels.Matcher) storage.ChunkSeries {
	t.Helper()
	q, err := hist.ChunkQuerier(0, 2*dayMillis)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	ctx := query.WithReadOptions(aggrchunk.AsStored(t.Context()), query.ReadOptions{MaxResolution: 5 * time.Minute})
	var (
		list []chunks.Meta
		lset = labels.FromStrings("__name__", matchers[0].Value)
		set  = q.Select(ctx, true, nil, matchers...)
	)
	for set.Next() {
		for it := set.At().Iterator(nil); it.Next(); {
			m := it.At()
			some, err := aggrchunk.Ordinary(m, m.Chunk.(*aggrchunk.Chunk), aggrchunk.ForFunc(function), chunkenc.FromData)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range some {
				m.Chunk = aggrchunk.Mark(m.Chunk, blocktest.FiveMinutes)
				list = append(list, m)
			}
		}
	}
	if set.Err() != nil {
		t.Fatal(set.Err())
	}
	series := &storage.ChunkSeriesEntry{Lset: lset, ChunkIteratorFn: func(chunks.Iterator) chunks.Iterator {
		return storage.NewListChunkSeriesIterator(list...)
	}}
	if !aggrchunk.WantsCounters(function) {
		return series
	}
	counters := aggrchunk.Counters(&oneSeries{ChunkSeriesSet: storage.EmptyChunkSeriesSet(), series: series})
	if !counters.Next() {
		t.Fatal("no counter")
	}
	return counters.At()
}

// oneSeries is a set of one.
type oneSeries struct {
	storage.ChunkSeriesSet
	series storage.ChunkSeries
	read   bool
}

func (s *oneSeries) Next() bool              { first := !s.read; s.read = true; return first }
func (s *oneSeries) At() storage.ChunkSeries { return s.series }
