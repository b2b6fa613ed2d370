package dedup

import (
	"testing"

	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/varve-tsdb/varve/internal/aggrchunk"
)

// windows are the counts of raw samples in windows of five minutes, as a
// downsampled block has them: at the end of each window, but of a block's last at
// its last raw sample, which is the replica's own.
func windows(n int, lastRaw int64, lacks func(window int) bool) (list []point) {
	const (
		resolution = 300_000
		perBlock   = 24
	)
	for i := range n {
		t := int64(i+1)*resolution - 1
		if i%perBlock == perBlock-1 {
			t -= lastRaw
		}
		if !lacks(i) {
			list = append(list, point{t: t, v: float64(20 + i%3)})
		}
	}
	return list
}

// What a store makes of the counts and sums of downsampled blocks comes out once
// for each window, whatever replica it is from.
func TestMergeCountsNoAggregateTwice(t *testing.T) {
	const n = 240
	lacks := func(from, to int) func(int) bool {
		return func(window int) bool { return window >= from && window < to }
	}
	for _, gap := range []struct{ from, to int }{{50, 60}, {47, 48}, {48, 50}, {71, 73}, {23, 24}} {
		first := windows(n, 4_000, lacks(gap.from, gap.to))
		second := windows(n, 11_000, lacks(100, 130))
		orders([][]point{first, second}, func(replicas ...[]point) {
			seen := map[int64]float64{}
			for _, p := range merged(t, replicas...) {
				window := p.t / 300_000
				if _, twice := seen[window]; twice {
					t.Errorf("with %v missing, window %d is there twice", gap, window)
				}
				seen[window] = p.v
			}
			for i := range int64(n) {
				if want := float64(20 + i%3); seen[i] != want {
					t.Errorf("with %v missing, window %d counts %g, want %g", gap, i, seen[i], want)
				}
			}
		})
	}
}

// One replica is downsampled and the other, which has a gap now and then, is not
// yet. What falls into a window counts once, give or take half a window at either
// end of a gap.
func TestMergeCountsNoWindowBesideItsRawSamples(t *testing.T) {
	const n, every = 144, 3_600_000 // windows, and ms between gaps
	for missed := int64(15_000); missed < 1_800_000; missed += 95_000 {
		var raw []point
		for at := int64(0); at < n*300_000; at += 15_000 {
			if from := at % every; from < 1_700_000 || from >= 1_700_000+missed {
				raw = append(raw, point{t: at, v: 1})
			}
		}
		sums := encode(t, windows(n, 0, func(int) bool { return false }), 120)
		for i := range sums {
			sums[i].Chunk = aggrchunk.Mark(sums[i].Chunk, 300_000)
		}
		for name, replicas := range map[string][]storage.ChunkSeries{
			"raw first":     {replica(t, raw), seriesOf(testLabels, sums...)},
			"windows first": {seriesOf(testLabels, sums...), replica(t, raw)},
		} {
			got, err := readPoints(Merge(replicas...))
			if err != nil {
				t.Fatal(err)
			}
			sameMarks(t, Merge(replicas...))
			covered := int64(-150_000)
			for _, p := range got {
				if p.v > 1 && covered > p.t-150_000 {
					t.Errorf("%s, %d ms missing: the window up to %d is there beside samples up to %d", name, missed, p.t, covered)
				}
				covered = p.t
			}
		}
	}
}

// sameMarks checks that chunks are marked if they hold sums of windows, which here
// are more than 1, and else are not.
func sameMarks(t *testing.T, series storage.ChunkSeries) {
	t.Helper()
	metas, err := readChunks(series)
	if err != nil {
		t.Fatal(err)
	}
	for _, meta := range metas {
		marked := aggrchunk.Resolution(meta.Chunk) > 0
		it := meta.Chunk.Iterator(nil)
		for typ := it.Next(); typ != chunkenc.ValNone; typ = it.Next() {
			if p := pointAt(it, typ); (p.v > 1) != marked {
				t.Errorf("the chunk at %d..%d, marked %v, holds %v", meta.MinTime, meta.MaxTime, marked, p)
				break
			}
		}
	}
}
