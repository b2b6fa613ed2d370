package dedup

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"pgregory.net/rapid"

	"github.com/varve-tsdb/varve/internal/aggrchunk"
)

// windowed are the aggregates of a replica: the same windows with a value of each
// aggregate.
type windowed [5][]point // count, sum, min, max, and a sum of histograms

// drawWindows draws the windows of a replica of a downsampled block after the
// other. Where the replica misses scrapes, windows lack samples or are missing.
func drawWindows(draw *rapid.T, n int) (w windowed) {
	rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(draw, "seed"), 1))
	lastRaw := rapid.Int64Range(0, 15_000).Draw(draw, "last raw")
	lacks := make([]bool, n)
	for range rapid.IntRange(0, 6).Draw(draw, "gaps") {
		from := rapid.IntRange(0, n).Draw(draw, "from")
		for i := from; i < min(from+rapid.IntRange(1, 20).Draw(draw, "windows"), n); i++ {
			lacks[i] = true
		}
	}
	for _, at := range windows(n, lastRaw, func(i int) bool { return lacks[i] }) {
		count := 20.0
		if i := int(at.t / 300_000); i+1 < n && lacks[i+1] || i > 0 && lacks[i-1] {
			count = float64(1 + rng.IntN(19))
		}
		low := rng.Float64() * 1000
		for i, v := range []float64{count, count * (low + 1), low, low + 2} {
			w[i] = append(w[i], point{t: at.t, v: v})
		}
		w[4] = append(w[4], point{t: at.t, fh: &histogram.FloatHistogram{
			CounterResetHint: histogram.GaugeType, Count: low, Sum: low * count,
			PositiveSpans: []histogram.Span{{Length: 1}}, PositiveBuckets: []float64{low},
		}})
	}
	return w
}

// series has one of the aggregates, as a store makes it of stored chunks.
func (w windowed) series(tb testing.TB, lset labels.Labels, aggregate, size int) storage.ChunkSeries {
	metas := encode(tb, w[aggregate], size)
	for i := range metas {
		metas[i].Chunk = aggrchunk.Mark(metas[i].Chunk, 300_000)
	}
	return seriesOf(lset, metas...)
}

// Each aggregate is read and compacted by itself; of one window all are of the
// same replica, so that sums belong to counts.
func TestPropertyAggregatesOfAWindowAreOfOneReplica(t *testing.T) {
	property(t, func(draw *rapid.T) {
		n := rapid.IntRange(20, 400).Draw(draw, "n")
		size := rapid.IntRange(10, maxChunkSamples).Draw(draw, "size")
		lset := labels.FromStrings(model.MetricNameLabel, rapid.SampledFrom([]string{"x", "x_total"}).Draw(draw, "name"))
		var replicas []windowed
		for range rapid.IntRange(2, 3).Draw(draw, "replicas") {
			replicas = append(replicas, drawWindows(draw, n))
		}
		var got [5][]point
		for aggregate := range got {
			var list []storage.ChunkSeries
			for _, w := range replicas {
				list = append(list, w.series(t, lset, aggregate, size))
			}
			var err error
			if got[aggregate], err = readPoints(Merge(list...)); err != nil {
				draw.Fatal(err)
			}
		}
		for i, count := range got[0] {
			if !slices.ContainsFunc(replicas, func(w windowed) bool { return w.has(got, i) }) {
				draw.Fatalf("the aggregates at %d are not those of any replica: %s", count.t, at(got, i))
			}
		}
		for _, list := range got {
			if len(list) != len(got[0]) {
				draw.Fatalf("%d counts, %d sums, %d minima, %d maxima, %d sums of histograms",
					len(got[0]), len(got[1]), len(got[2]), len(got[3]), len(got[4]))
			}
		}
	})
}

// has reports whether the i-th of each aggregate is the replica's own.
func (w windowed) has(got [5][]point, i int) bool {
	for aggregate, list := range got {
		if i >= len(list) {
			return false
		}
		p := list[i]
		j, ok := slices.BinarySearchFunc(w[aggregate], p.t, func(q point, t int64) int { return cmp.Compare(q.t, t) })
		if !ok || !samePoint(w[aggregate][j], p) {
			return false
		}
	}
	return true
}

func at(got [5][]point, i int) (text string) {
	for _, list := range got {
		text += fmt.Sprint(list[min(i, len(list)):min(i+1, len(list))])
	}
	return text
}
