package indexheader

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Whatever the series of an index say, there is an answer or a *CorruptError.
func TestStatsOfDamagedIndex(t *testing.T) {
	b := realIndex(t, 50)
	sections, err := ReadSections(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if stats, err := ReadStats(bytes.NewReader(b), int64(len(b)), nil); err != nil || stats.SeriesMaxSize == 0 {
		t.Errorf("%+v, %v of a good index", stats, err)
	}
	rapid.Check(t, func(t *rapid.T) {
		damaged := slices.Clone(b)
		for range rapid.IntRange(1, 5).Draw(t, "damages") {
			damaged[rapid.IntRange(int(sections.Series), int(sections.PostingsTable)-1).Draw(t, "at")] = rapid.Byte().Draw(t, "byte")
		}
		segments := rapid.SliceOfN(rapid.Int64(), 0, 3).Draw(t, "segments")
		stats, err := ReadStats(bytes.NewReader(damaged), int64(len(b)), segments)
		if err != nil && !errors.As(err, new(*CorruptError)) || stats.SeriesMaxSize < 0 || stats.ChunkMaxSize < 0 || stats.SeriesMaxSize > int64(len(b)) {
			t.Errorf("%+v, %v", stats, err)
		}
	})
}

// Where chunks are in another order than their series nobody knows where one ends.
func TestChunkSizes(t *testing.T) {
	for _, c := range []struct {
		refs []uint64
		most int64
	}{
		{nil, 0},
		{[]uint64{8, 50, 60}, 42},
		{[]uint64{8, 20}, 80},
		{[]uint64{8, 50, 20}, 0},
		{[]uint64{8, 8}, 0},
		{[]uint64{8, 1<<32 | 8, 1<<32 | 40}, 160},
		{[]uint64{8, 2<<32 | 8}, 0},
		{[]uint64{100}, 0},
	} {
		sizes := chunkSizes{segments: []int64{100, 200}}
		for _, ref := range c.refs {
			sizes.chunk(ref)
		}
		sizes.end()
		if got := sizes.most(); got != c.most {
			t.Errorf("of chunks at %x: %d, want %d", c.refs, got, c.most)
		}
	}
}

// BenchmarkReadStats prints what a series costs.
func BenchmarkReadStats(b *testing.B) {
	const series = 100_000
	index := realIndex(b, series)
	b.SetBytes(int64(len(index)))
	var took time.Duration
	for b.Loop() {
		begin := time.Now()
		if _, err := ReadStats(bytes.NewReader(index), int64(len(index)), nil); err != nil {
			b.Fatal(err)
		}
		took += time.Since(begin)
	}
	b.ReportMetric(float64(took.Nanoseconds())/float64(b.N)/series, "ns/series")
}
