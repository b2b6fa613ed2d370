package aggrchunk_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/varve-tsdb/varve/internal/aggrchunk"
	"github.com/varve-tsdb/varve/internal/blocktest"
)

// What finer chunks cover does not count twice.
func TestFinestFirst(t *testing.T) {
	clipped := func(list []chunks.Meta, from, to int64) (out []chunks.Meta) {
		for _, m := range list {
			some, err := aggrchunk.Clip(m, from*60_000, to*60_000-1)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, some...)
		}
		return out
	}
	const minute, window = int64(60_000), int64(300_000)
	raw := func(from, to int64) []chunks.Meta {
		return rawChunks(t, blocktest.Samples(from*minute, to*minute, minute, func(t, _ int64) blocktest.Sample { return blocktest.Float(t, 1) }), 10)
	}
	marked := func(resolution, from, to int64) (out []chunks.Meta) {
		var samples []blocktest.Sample
		for at := from*minute + resolution - 1; at < to*minute; at += resolution {
			samples = append(samples, blocktest.Float(at, float64(resolution/minute)))
		}
		for _, m := range rawChunks(t, samples, 5) {
			m.MinTime -= resolution - 1
			m.Chunk = aggrchunk.Mark(m.Chunk, resolution)
			out = append(out, m)
		}
		return out
	}
	for name, c := range map[string]struct {
		list []chunks.Meta
		want string // minutes that the samples of each hour stand for
	}{
		"raw only":                    {raw(0, 120), "60 60"},
		"downsampled only":            {marked(window, 0, 120), "60 60"},
		"side by side":                {append(marked(window, 0, 60), raw(60, 120)...), "60 60"},
		"raw over all":                {append(marked(window, 0, 120), raw(0, 120)...), "60 60"},
		"raw over a part":             {append(marked(window, 0, 120), raw(75, 100)...), "60 60"},
		"three resolutions":           {append(append(marked(12*window, 0, 120), marked(window, 60, 120)...), raw(90, 120)...), "60 60"},
		"clipped":                     {append(clipped(marked(window, 0, 120), 10, 110), raw(0, 120)...), "60 60"},
		"a gap of more than a window": {append(marked(window, 0, 60), append(raw(0, 20), raw(40, 60)...)...), "60 0"},
	} {
		t.Run(name, func(t *testing.T) {
			list := c.list
			for i := range list { // by MinTime, as the set must be
				for j := i; j > 0 && list[j].MinTime < list[j-1].MinTime; j-- {
					list[j], list[j-1] = list[j-1], list[j]
				}
			}
			// Once more changes nothing: what it cuts stays what it is.
			set := aggrchunk.FinestFirst(aggrchunk.FinestFirst(one(list)))
			if !set.Next() {
				t.Fatal("no series")
			}
			var byHour [2]float64
			last := int64(-1)
			it := set.At().Iterator(nil)
			for it.Next() {
				m := it.At()
				if m.MinTime < last {
					t.Errorf("a chunk at %d after one at %d", m.MinTime, last)
				}
				last = m.MinTime
				samples := m.Chunk.Iterator(nil)
				for samples.Next() != chunkenc.ValNone {
					at, v := samples.At()
					byHour[at/(60*minute)] += v
				}
			}
			if got := strings.Trim(fmt.Sprint(byHour), "[]"); it.Err() != nil || got != c.want {
				t.Errorf("got %s, want %s, %v", got, c.want, it.Err())
			}
		})
	}
}

func TestWhatIsCutOutStaysMarked(t *testing.T) {
	metas := blocktest.Downsample(t, blocktest.Floats(0, 3_600_000, 60_000, 1), blocktest.FiveMinutes, 0)
	sums, err := aggrchunk.Ordinary(metas[0], metas[0].Chunk.(*aggrchunk.Chunk), []aggrchunk.Aggregate{aggrchunk.Sum}, open)
	if err != nil {
		t.Fatal(err)
	}
	sums[0].Chunk = aggrchunk.Mark(sums[0].Chunk, blocktest.FiveMinutes)
	some, err := aggrchunk.Clip(sums[0], 600_000, 1_800_000)
	if err != nil {
		t.Fatal(err)
	}
	if len(some) != 1 || some[0].Chunk.NumSamples() != 4 || aggrchunk.Resolution(some[0].Chunk) != blocktest.FiveMinutes {
		t.Errorf("cut out are %v", some)
	}
}
