package dedup

import (
	"context"
	"math"
	"runtime"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"

	"github.com/varve-tsdb/varve/query"
)

// benchSeries is how many series a benchmark reads at once, so that what a query
// does once does not count.
const benchSeries = 20

// cost is what reading took, and how much was read.
type cost struct {
	took    time.Duration
	samples int
}

func (c cost) perSample() float64 { return float64(c.took) / float64(c.samples) }

// BenchmarkMerge reads merged series of 24 h at 15 s, and prints how many times
// the cost of reading one replica that is: as a query reads, sample by sample,
// and chunk by chunk with the samples decoded afterwards, as a reader does that
// knows nothing but Prometheus' interfaces. Beside it is how many times as often
// and as many bytes it allocates.
//
// Reading should cost no more than 1.3 times as much for a phase-shifted pair, and
// 1.05 times for copies. By samples it is 1.25 and 1.03 of floats and 1.2 of
// histograms; by chunks 1.3 and 1.02 of floats. What is beyond it, and why:
//
//   - Three copies by samples, 1.06: each further one is compared byte by byte.
//   - Histograms by chunks, 1.9: whether the followed replica has a gap within a
//     chunk takes the time of each sample, to which there is no way but past all
//     buckets. Two thirds of what reading one replica costs are chunkenc's
//     Next, which then runs twice.
//   - Gaps by samples, 1.75 with 29 in 24 h in one of a pair, and 2.4 with 18 more
//     in the other: around a gap the other replica is decoded, and after it until
//     the first has proved itself; so nearly all of both is.
//   - Gaps by chunks, 2.5 to 8: chunks in which replicas take turns are encoded
//     anew, and encoding takes several times as long as decoding. With a gap in
//     each chunk, all are.
//
// By chunks one replica takes a single allocation, which all ratios of them are
// relative to.
func BenchmarkMerge(b *testing.B) {
	const n = 5760
	base, shifted := counterLine(0, n), counterLine(7_123, n)
	var gappy, other []point
	for i := range base {
		if i%200 < 190 {
			gappy = append(gappy, base[i])
		}
		if i%330 > 7 {
			other = append(other, shifted[i])
		}
	}
	for _, bench := range []struct {
		name     string
		replicas [][]point
	}{
		{"identical copies", [][]point{base, base}},
		{"three identical copies", [][]point{base, base, base}},
		{"phase-shifted pair", [][]point{base, shifted}},
		{"phase-shifted pair with gaps in one", [][]point{gappy, shifted}},
		{"phase-shifted pair with gaps in both", [][]point{gappy, other}},
		{"one after the other", [][]point{base[:n/2], shifted[n/2:]}},
		{"pair of BenchmarkRateAgainstTruth", newTruth(b, 1).replicas},
		{"phase-shifted pair of histograms", [][]point{histogramLine(0, n/4), histogramLine(7_123, n/4)}},
	} {
		var list []storage.ChunkSeries
		for _, points := range bench.replicas {
			list = append(list, replica(b, points))
		}
		single := list[0]
		if len(bench.replicas[0]) < n && bench.replicas[0][0].h == nil {
			single = replica(b, base)
		}
		merged := Merge(list...)
		for _, way := range []struct {
			name string
			read func(*testing.B, storage.ChunkSeries) cost
		}{{"by samples", readAsQuery()}, {"by chunks", readByChunks()}} {
			b.Run(bench.name+"/"+way.name, func(b *testing.B) {
				benchmarkRead(b, way.read, merged, single)
			})
		}
	}
}

// benchmarkRead reads merged and single by turns, and compares the shortest
// times of both: what else the machine does makes the others longer.
func benchmarkRead(b *testing.B, read func(*testing.B, storage.ChunkSeries) cost, merged, single storage.ChunkSeries) {
	least, floor := math.Inf(1), math.Inf(1)
	b.ReportAllocs()
	for b.Loop() {
		least = min(least, read(b, merged).perSample())
		b.StopTimer()
		floor = min(floor, read(b, single).perSample())
		b.StartTimer()
	}
	b.ReportMetric(least, "ns/sample")
	b.ReportMetric(least/floor, "x-one-replica")
	allocs, size := memory(b, read, merged)
	floorAllocs, floorSize := memory(b, read, single)
	b.ReportMetric(allocs/floorAllocs, "x-allocs")
	b.ReportMetric(size/floorSize, "x-bytes")
}

// memory returns how often and how many bytes a read allocates.
func memory(b *testing.B, read func(*testing.B, storage.ChunkSeries) cost, series storage.ChunkSeries) (allocs, size float64) {
	const reads = 3
	var before, after runtime.MemStats
	read(b, series) // what is reused is there then
	runtime.ReadMemStats(&before)
	for range reads {
		read(b, series)
	}
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / reads, float64(after.TotalAlloc-before.TotalAlloc) / reads
}

// readAsQuery reads as a PromQL engine does over this module's query.Samples.
func readAsQuery() func(*testing.B, storage.ChunkSeries) cost {
	var it chunkenc.Iterator
	return func(b *testing.B, series storage.ChunkSeries) (c cost) {
		start := time.Now()
		set := selectSamples(b, series)
		for set.Next() {
			it = set.At().Iterator(it)
			c.samples += countSamples(b, it)
		}
		c.took = time.Since(start)
		if set.Err() != nil {
			b.Fatal(set.Err())
		}
		return c
	}
}

// selectSamples returns the series benchSeries times, as a query sees it.
func selectSamples(tb testing.TB, series storage.ChunkSeries) storage.SeriesSet {
	tb.Helper()
	list := make([]storage.ChunkSeries, benchSeries)
	for i := range list {
		list[i] = series
	}
	q, err := query.Samples(seriesList(list)).Querier(0, 1<<60)
	if err != nil {
		tb.Fatal(err)
	}
	return q.Select(tb.Context(), true, nil)
}

// seriesList is a source that has the same series whatever is asked.
type seriesList []storage.ChunkSeries

type listQuerier struct {
	storage.ChunkQuerier
	list []storage.ChunkSeries
}

func (l seriesList) ChunkQuerier(int64, int64) (storage.ChunkQuerier, error) {
	return &listQuerier{storage.NoopChunkedQuerier(), l}, nil
}

func (q *listQuerier) Select(context.Context, bool, *storage.SelectHints, ...*labels.Matcher) storage.ChunkSeriesSet {
	return &listSet{list: q.list}
}

func readByChunks() func(*testing.B, storage.ChunkSeries) cost {
	var (
		it      chunks.Iterator
		samples chunkenc.Iterator
	)
	return func(b *testing.B, series storage.ChunkSeries) (c cost) {
		start := time.Now()
		for range benchSeries {
			for it = series.Iterator(it); it.Next(); {
				samples = it.At().Chunk.Iterator(samples)
				c.samples += countSamples(b, samples)
			}
			if it.Err() != nil {
				b.Fatal(it.Err())
			}
		}
		c.took = time.Since(start)
		return c
	}
}

// countSamples reads samples with their values.
func countSamples(b *testing.B, it chunkenc.Iterator) (n int) {
	var (
		sum float64
		h   *histogram.FloatHistogram
	)
	for typ := it.Next(); typ != chunkenc.ValNone; typ = it.Next() {
		if typ == chunkenc.ValFloat {
			_, v := it.At()
			sum += v
		} else {
			_, h = it.AtFloatHistogram(h) // as the engine asks
			sum += h.Count
		}
		n++
	}
	if it.Err() != nil || sum < 0 {
		b.Fatal(it.Err())
	}
	return n
}

func counterLine(phase int64, n int) []point {
	list := make([]point, n)
	for i := range list {
		list[i] = point{t: phase + int64(i)*15_000, v: float64(i*37 + i%11)}
	}
	return list
}

func histogramLine(phase int64, n int) []point {
	list := make([]point, n)
	for i := range list {
		list[i] = point{t: phase + int64(i)*15_000, h: tsdbutil.GenerateTestHistogram(int64(i))}
	}
	return list
}
