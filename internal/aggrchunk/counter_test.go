package aggrchunk_test

import (
	"math"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"pgregory.net/rapid"

	"github.com/varve-tsdb/varve/internal/aggrchunk"
	"github.com/varve-tsdb/varve/internal/blocktest"
)

// one is a set of one series.
func one(metas []chunks.Meta) storage.ChunkSeriesSet {
	return &oneSeries{series: &storage.ChunkSeriesEntry{
		Lset:            labels.FromStrings("a", "b"),
		ChunkIteratorFn: func(chunks.Iterator) chunks.Iterator { return storage.NewListChunkSeriesIterator(metas...) },
	}}
}

type oneSeries struct {
	storage.ChunkSeriesSet
	series storage.ChunkSeries
	read   bool
}

func (s *oneSeries) Next() bool {
	first := !s.read
	s.read = true
	return first
}
func (s *oneSeries) At() storage.ChunkSeries { return s.series }

// samplesOf decodes ordinary chunks.
func samplesOf(tb interface{ Fatalf(string, ...any) }, it chunks.Iterator) (out []blocktest.Sample) {
	for it.Next() {
		m := it.At()
		samples := m.Chunk.Iterator(nil)
		for samples.Next() != chunkenc.ValNone {
			t, v := samples.At()
			if t < m.MinTime || t > m.MaxTime {
				tb.Fatalf("a sample at %d in a chunk from %d to %d", t, m.MinTime, m.MaxTime)
			}
			out = append(out, blocktest.Float(t, v))
		}
		if err := samples.Err(); err != nil {
			tb.Fatalf("%v", err)
		}
	}
	if it.Err() != nil {
		tb.Fatalf("%v", it.Err())
	}
	return out
}

// total is what a counter has counted at each of its samples, resets told by
// falling values as PromQL does.
func total(samples []blocktest.Sample) map[int64]float64 {
	at, sum := map[int64]float64{}, 0.0
	for i, s := range samples {
		switch {
		case i == 0:
		case s.V < samples[i-1].V:
			sum += s.V
		default:
			sum += s.V - samples[i-1].V
		}
		at[s.T] = sum
	}
	return at
}

func rawChunks(tb interface{ Fatalf(string, ...any) }, samples []blocktest.Sample, n int) (out []chunks.Meta) {
	for part := range slices.Chunk(samples, n) {
		c := chunkenc.NewXORChunk()
		app, err := c.Appender()
		if err != nil {
			tb.Fatalf("%v", err)
		}
		for _, s := range part {
			app.Append(0, s.T, s.V)
		}
		out = append(out, chunks.Meta{MinTime: part[0].T, MaxTime: part[len(part)-1].T, Chunk: c})
	}
	return out
}

// Whatever resets there are, and in whatever mix of resolutions a counter is
// stored, it counts the same between any two of the samples that come out.
func TestCountersCountAsRaw(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		interval := rapid.SampledFrom([]int64{15_000, 60_000, 250_000, 400_000}).Draw(rt, "interval")
		var samples []blocktest.Sample
		v := float64(rapid.IntRange(0, 50).Draw(rt, "first"))
		for at := rapid.Int64Range(0, 600_000).Draw(rt, "start"); len(samples) < 400; at += interval {
			if samples = append(samples, blocktest.Float(at, v)); rapid.IntRange(0, 20).Draw(rt, "reset") == 0 {
				v = 0
			}
			v += float64(rapid.IntRange(0, 5).Draw(rt, "step"))
		}
		var metas []chunks.Meta
		for rest := samples; len(rest) > 0; {
			n := min(len(rest), rapid.IntRange(1, 200).Draw(rt, "piece"))
			switch rapid.IntRange(0, 2).Draw(rt, "resolution") {
			case 0:
				metas = append(metas, rawChunks(rt, rest[:n], 30)...)
			case 1:
				metas = append(metas, blocktest.Downsample(t, rest[:n], blocktest.FiveMinutes, 7)...)
			case 2:
				metas = append(metas, blocktest.Downsample(t, rest[:n], blocktest.OneHour, 3)...)
			}
			rest = rest[n:]
		}
		set := aggrchunk.Counters(one(metas))
		set.Next()
		var it chunks.Iterator
		for range 2 { // the second time with the iterator of the first
			it = set.At().Iterator(it)
			got := samplesOf(rt, it)
			if len(got) == 0 || got[0] != samples[0] {
				rt.Fatalf("begins with %v, want %v", got, samples[0])
			}
			if last := got[len(got)-1]; last.T != samples[len(samples)-1].T {
				rt.Fatalf("ends at %d, want %d", last.T, samples[len(samples)-1].T)
			}
			want, gotTotal := total(samples), total(got)
			// A window's end need not be the time of a sample: it has what the
			// last sample before it has.
			reached, i := 0.0, 0
			for _, g := range got {
				for ; i < len(samples) && samples[i].T <= g.T; i++ {
					reached = want[samples[i].T]
				}
				if math.Abs(gotTotal[g.T]-reached) > 1e-6 {
					rt.Fatalf("%v counted up to %d, want %v", gotTotal[g.T], g.T, reached)
				}
			}
		}
	})
}

func TestRawCountersPassUntouched(t *testing.T) {
	metas := rawChunks(t, []blocktest.Sample{blocktest.Float(1, 5), blocktest.Float(2, 1), blocktest.Float(3, 2)}, 2)
	set := aggrchunk.Counters(one(metas))
	set.Next()
	it := set.At().Iterator(nil)
	for _, m := range metas {
		if !it.Next() || it.At() != m {
			t.Errorf("a raw chunk does not come out as it went in")
		}
	}
}

func TestMarkersOfStalenessSurviveAnOffset(t *testing.T) {
	// 10, 20, reset to 5: an offset of 20 at its end.
	first := blocktest.Downsample(t, []blocktest.Sample{blocktest.Float(0, 10), blocktest.Float(60_000, 20), blocktest.Float(120_000, 5)}, blocktest.FiveMinutes, 0)
	then := rawChunks(t, []blocktest.Sample{blocktest.Float(400_000, 6), blocktest.Stale(460_000), blocktest.Float(520_000, 2), blocktest.Float(580_000, 3)}, 10)
	set := aggrchunk.Counters(one(append(first, then...)))
	set.Next()
	got := samplesOf(t, set.At().Iterator(nil))
	want := []blocktest.Sample{
		blocktest.Float(0, 10), blocktest.Float(120_000, 25), blocktest.Float(400_000, 26),
		blocktest.Stale(460_000), blocktest.Float(520_000, 2), blocktest.Float(580_000, 3),
	}
	if len(got) != len(want) {
		t.Fatalf("got %v", got)
	}
	for i := range got {
		if got[i].T != want[i].T || math.Float64bits(got[i].V) != math.Float64bits(want[i].V) {
			t.Errorf("got %v, want %v", got[i], want[i])
		}
	}
}
