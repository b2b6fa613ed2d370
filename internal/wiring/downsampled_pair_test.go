package wiring

import (
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/varve-tsdb/varve/dedup"
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

// Each aggregate of a downsampled block is read and deduplicated by itself. Those
// of one window are of one replica all the same, and once: an average made of the
// sum of one and the count of another would be of nothing.
func TestAggregatesOfAPairBelongTogether(t *testing.T) {
	const minute = int64(60_000)
	bkt := objstoretest.NewMemory()
	for replica, series := range map[string][]blocktest.Series{
		"1": gappySeries(2*dayMillis, 1_000, 0, []span{{100 * minute, 117 * minute}, {9*60*minute + 3*minute, 14 * 60 * minute}, {1503 * minute, 1507 * minute}}),
		"2": gappySeries(2*dayMillis, 8_000, 1e6, []span{{114 * minute, 122 * minute}, {16 * 60 * minute, 20*60*minute + 2*minute}, {1501 * minute, 1503 * minute}}),
	} {
		blocktest.PutDownsampled(t, bkt, blocktest.Block{
			MinTime: 0, MaxTime: 2 * dayMillis, Resolution: blocktest.FiveMinutes, SamplesPerChunk: 120,
			External: labels.FromStrings("zzz_replica", replica), Series: series,
		})
	}
	hist, err := store.Open(bkt, t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { hist.Close() })
	if err := hist.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
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
	matchers := []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, "__name__", metric)}
	if replica != "" {
		matchers = append(matchers, labels.MustNewMatcher(labels.MatchEqual, "zzz_replica", replica))
	}
	ctx := query.WithReadOptions(t.Context(), query.ReadOptions{MaxResolution: 5 * time.Minute})
	q, err := one.Querier(0, 2*dayMillis)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	found := map[int64]aggregates{}
	for i, function := range []string{"count_over_time", "sum_over_time", "min_over_time", "max_over_time", "avg_over_time"} {
		seen := map[int64]bool{}
		set := q.Select(ctx, true, &storage.SelectHints{Start: 0, End: 2 * dayMillis, Func: function}, matchers...)
		for set.Next() {
			it := set.At().Iterator(nil)
			for it.Next() != chunkenc.ValNone {
				at, v := it.At()
				window := at / blocktest.FiveMinutes
				if seen[window] {
					t.Errorf("%s of %s has window %d twice", function, metric, window)
				}
				seen[window] = true
				tuple := found[window]
				tuple[i] = v
				found[window] = tuple
			}
			if it.Err() != nil {
				t.Fatal(it.Err())
			}
		}
		if set.Err() != nil {
			t.Fatal(set.Err())
		}
	}
	return found
}
