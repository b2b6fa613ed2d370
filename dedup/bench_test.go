package dedup

import (
	"testing"
	"time"

	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
)

// drain reads all samples of a series as a query does: chunks, then samples.
func drain(b *testing.B, series storage.ChunkSeries, it chunks.Iterator, samples chunkenc.Iterator) (chunks.Iterator, chunkenc.Iterator, int) {
	it = series.Iterator(it)
	n := 0
	for it.Next() {
		samples = it.At().Chunk.Iterator(samples)
		for samples.Next() != chunkenc.ValNone {
			n++
		}
	}
	if it.Err() != nil {
		b.Fatal(it.Err())
	}
	return it, samples, n
}

// BenchmarkMerge reads a merged series of 24 h at 15 s, and prints how many
// times the cost of reading one replica that is.
func BenchmarkMerge(b *testing.B) {
	const n = 5760
	base, shifted := counterLine(0, n), counterLine(7_123, n)
	var gappy []point
	for i, p := range base {
		if i%200 < 190 {
			gappy = append(gappy, p)
		}
	}
	for _, bench := range []struct {
		name     string
		replicas [][]point
	}{
		{"identical copies", [][]point{base, base}},
		{"three identical copies", [][]point{base, base, base}},
		{"phase-shifted pair", [][]point{base, shifted}},
		{"phase-shifted pair with gaps", [][]point{gappy, shifted}},
		{"one after the other", [][]point{base[:n/2], shifted[n/2:]}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			var list []storage.ChunkSeries
			for _, points := range bench.replicas {
				list = append(list, replica(b, points))
			}
			merged, single := Merge(list...), replica(b, base)
			var (
				it, singleIt chunks.Iterator
				samples      chunkenc.Iterator
				floor        time.Duration
				total        int
			)
			b.ReportAllocs()
			for b.Loop() {
				var n int
				it, samples, n = drain(b, merged, it, samples)
				total += n
				b.StopTimer() // the floor is measured side by side
				start := time.Now()
				singleIt, samples, _ = drain(b, single, singleIt, samples)
				floor += time.Since(start)
				b.StartTimer()
			}
			b.ReportMetric(float64(b.Elapsed())/float64(floor), "x-one-replica")
			b.ReportMetric(float64(b.Elapsed())/float64(total), "ns/sample")
		})
	}
}

func counterLine(phase int64, n int) []point {
	list := make([]point, n)
	for i := range list {
		list[i] = point{t: phase + int64(i)*15_000, v: float64(i*37 + i%11)}
	}
	return list
}
