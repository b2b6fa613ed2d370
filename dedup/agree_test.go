package dedup

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"pgregory.net/rapid"

	"github.com/varve-tsdb/varve/internal/readopts"
	"github.com/varve-tsdb/varve/query/querytest"
)

// TestReadsAgreeWithCompaction merges the same replicas as a compaction does,
// one block a replica, and as a read does.
func TestReadsAgreeWithCompaction(t *testing.T) {
	property(t, func(draw *rapid.T) {
		var data querytest.Data
		var scenarios []*scenario
		for range rapid.IntRange(1, 3).Draw(draw, "series") {
			scenarios = append(scenarios, drawScenario(draw, scenarioOptions{replicas: 2, resets: 2, gaps: 3, skew: 10, mixed: true}))
		}
		for r, name := range []string{"a", "b"} {
			stream := querytest.Stream{External: labels.FromStrings("replica", name)}
			for i, s := range scenarios {
				series := querytest.Series{Labels: labels.FromStrings(model.MetricNameLabel, "x", "n", fmt.Sprint(i))}
				for _, p := range s.points[r] {
					series.Samples = append(series.Samples, querytest.Sample{T: p.t, Float: p.v})
				}
				if len(series.Samples) > 0 {
					stream.Series = append(stream.Series, series)
				}
			}
			data.Streams = append(data.Streams, stream)
		}
		one := New(querytest.NewModel(data), Options{ReplicaLabels: []string{"replica"}})
		q, err := one.ChunkQuerier(math.MinInt64, math.MaxInt64)
		if err != nil {
			draw.Fatal(err)
		}
		defer q.Close()
		all := labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, "x")
		read := answers(draw, q.Select(context.Background(), true, nil, all))

		var replicas []storage.ChunkSeries
		for _, name := range []string{"a", "b"} {
			raw := readopts.With(context.Background(), readopts.Options{NoDedup: true})
			replica := labels.MustNewMatcher(labels.MatchEqual, "replica", name)
			for block := (&stripped{q.Select(raw, true, nil, all, replica)}); block.Next(); {
				replicas = append(replicas, block.At())
			}
		}
		// A stable order, which storage.NewMergeChunkSeriesSet does not keep.
		slices.SortStableFunc(replicas, func(a, b storage.ChunkSeries) int { return labels.Compare(a.Labels(), b.Labels()) })
		var merged []storage.ChunkSeries
		for len(replicas) > 0 {
			n := 1
			for n < len(replicas) && labels.Equal(replicas[0].Labels(), replicas[n].Labels()) {
				n++
			}
			merged = append(merged, Merge(replicas[:n]...))
			replicas = replicas[n:]
		}
		compacted := answers(draw, &listSet{list: merged})
		if !slices.Equal(read, compacted) {
			draw.Fatalf("read      %v\ncompacted %v", read, compacted)
		}
	})
}

// stripped removes the replica label, as the blocks of a compaction have it in
// their meta and not in their series.
type stripped struct{ storage.ChunkSeriesSet }

func (s *stripped) At() storage.ChunkSeries {
	series := s.ChunkSeriesSet.At()
	lset := labels.NewBuilder(series.Labels()).Del("replica").Labels()
	return &storage.ChunkSeriesEntry{Lset: lset, ChunkIteratorFn: series.Iterator}
}

func answers(tb rapid.TB, set storage.ChunkSeriesSet) []string {
	tb.Helper()
	var list []string
	for set.Next() {
		points, err := readPoints(set.At())
		if err != nil {
			tb.Fatal(err)
		}
		list = append(list, fmt.Sprintln(set.At().Labels(), points))
	}
	if set.Err() != nil {
		tb.Fatal(set.Err())
	}
	return list
}

func TestPropertyIdempotent(t *testing.T) {
	property(t, func(draw *rapid.T) {
		s := drawScenario(draw, scenarioOptions{replicas: 3, resets: 3, gaps: 3, skew: 5, mixed: true})
		draw.Log(s)
		got := mergedScenario(draw, t, s)
		again := merged(t, got, got)
		if fmt.Sprint(got) != fmt.Sprint(again) {
			draw.Fatalf("once  %v\ntwice %v", got, again)
		}
	})
}

// Replicas that are split over sources, and cut into other chunks there, are
// merged like whole ones: a head and a bucket hold the same samples for a while.
// Chunks are long enough to know intervals by: of some that hold a sample or two
// each, the first of a series may lie so far apart that a gap is not known for one.
func TestPropertySplitSources(t *testing.T) {
	property(t, func(draw *rapid.T) {
		s := drawScenario(draw, scenarioOptions{replicas: 2, resets: 2, gaps: 3})
		draw.Log(s)
		var list []storage.ChunkSeries
		for _, points := range s.points {
			from := rapid.IntRange(0, len(points)).Draw(draw, "head from")
			to := rapid.IntRange(from, len(points)).Draw(draw, "bucket to")
			list = append(list,
				seriesOf(testLabels, encode(t, points[:to], 120)...),
				seriesOf(testLabels, encode(t, points[from:], rapid.IntRange(8, 120).Draw(draw, "size"))...))
		}
		got, err := readPoints(Merge(list...))
		if err != nil {
			draw.Fatal(err)
		}
		if err := s.checkOrigins(got); err != nil {
			draw.Fatal(err)
		}
		if err := s.checkHoles(got, 1); err != nil {
			draw.Fatal(err)
		}
	})
}

// Chunks whose metas lie, and whose bytes are anything, must not hang or panic.
func TestMergeOfGarbageEnds(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var list []storage.ChunkSeries
		for range 1 + rng.IntN(4) {
			var metas []chunks.Meta
			for range rng.IntN(6) {
				meta := encode(t, line(rng.Float64()*1000, 1+rng.Float64()*30, 1+rng.IntN(50)), 120)[0]
				switch rng.IntN(4) {
				case 0:
					meta.MinTime = rng.Int64N(1e6)
					meta.MaxTime = meta.MinTime + rng.Int64N(1e6)
				case 1:
					noise := make([]byte, 2+rng.IntN(200))
					for i := range noise {
						noise[i] = byte(rng.Uint32())
					}
					chunk := chunkenc.NewXORChunk()
					chunk.Reset(noise)
					meta.Chunk = chunk
				case 2:
					meta.MaxTime = math.MaxInt64
				}
				metas = append(metas, meta)
			}
			sortMetas(metas)
			list = append(list, seriesOf(testLabels, metas...))
		}
		it := Merge(list...).Iterator(nil)
		for n := 0; it.Next(); n++ {
			if n > 10_000 {
				t.Fatal("does not end")
			}
		}
	}
}
