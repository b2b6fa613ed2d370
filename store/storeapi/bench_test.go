package storeapi

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
)

// benchSource has series of 9 labels with so many chunks of 120 samples each.
func benchSource(b *testing.B, n, perSeries int) (source *fixed, bytes int64) {
	b.Helper()
	source = &fixed{}
	for i := range n {
		ls := labels.FromStrings(
			"__name__", "http_request_duration_seconds_bucket", "cluster", "eu-west-1", "handler", "/api/v1/query_range", "instance", fmt.Sprintf("10.%03d.%03d.1:9090", i/250, i%250),
			"job", "prometheus", "le", "0.5", "method", "GET", "namespace", "monitoring", "series", fmt.Sprintf("%07d", i),
		)
		var metas []chunks.Meta
		for c := range int64(perSeries) {
			chunk := chunkenc.NewXORChunk()
			app, err := chunk.Appender()
			if err != nil {
				b.Fatal(err)
			}
			for s := range int64(120) {
				app.Append(0, (c*120+s)*15_000, float64((int64(i)*31+s*s)%1000))
			}
			bytes += int64(len(chunk.Bytes()))
			metas = append(metas, chunks.Meta{MinTime: c * 120 * 15_000, MaxTime: (c*120 + 119) * 15_000, Chunk: chunk})
		}
		source.series = append(source.series, series(ls, metas...))
	}
	return source, bytes
}

// drain reads all series and chunks of a source, without decoding.
func drain(b *testing.B, source storage.ChunkQueryable) (n int) {
	b.Helper()
	q, err := source.ChunkQuerier(math.MinInt64, math.MaxInt64)
	if err != nil {
		b.Fatal(err)
	}
	defer q.Close()
	set := q.Select(b.Context(), true, nil, equal("job", "prometheus"))
	var it chunks.Iterator
	for set.Next() {
		_ = set.At().Labels()
		it = set.At().Iterator(it)
		for it.Next() {
			n++
		}
	}
	if err := set.Err(); err != nil {
		b.Fatal(err)
	}
	return n
}

// BenchmarkSelect reads series over gRPC in memory, both sides in this process, and
// tells how many times as long that takes as to decode the samples does, which is what
// a query engine does next and is the floor.
func BenchmarkSelect(b *testing.B) {
	for _, shape := range []struct{ series, chunks int }{{20_000, 1}, {2_000, 50}} {
		source, bytes := benchSource(b, shape.series, shape.chunks)
		began := time.Now()
		q, _ := source.ChunkQuerier(0, 1)
		set := q.Select(b.Context(), true, nil)
		var samples chunkenc.Iterator
		for set.Next() {
			for it := set.At().Iterator(nil); it.Next(); {
				samples = it.At().Chunk.Iterator(samples)
				for samples.Next() != chunkenc.ValNone {
				}
			}
		}
		floor := time.Since(began)
		for name, w := range map[string]way{"plain": {}, "snappy": snappy()} {
			b.Run(fmt.Sprintf("%d series of %d chunks/%s", shape.series, shape.chunks, name), func(b *testing.B) {
				c := over(b, source, w)
				b.SetBytes(bytes)
				b.ReportAllocs()
				for b.Loop() {
					if n := drain(b, c); n != shape.series*shape.chunks {
						b.Fatalf("%d chunks", n)
					}
				}
				b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(floor), "times-decoding")
				b.ReportMetric(float64(shape.series*b.N)/b.Elapsed().Seconds(), "series/s")
			})
		}
	}
}
