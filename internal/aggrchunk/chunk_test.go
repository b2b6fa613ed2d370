package aggrchunk_test

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/varve-tsdb/varve/internal/aggrchunk"
	"github.com/varve-tsdb/varve/internal/blocktest"
)

var all = []aggrchunk.Aggregate{aggrchunk.Count, aggrchunk.Sum, aggrchunk.Min, aggrchunk.Max, aggrchunk.Counter}

// open is what a test gives for Open: no more than chunkenc needs.
func open(enc chunkenc.Encoding, data []byte) (chunkenc.Chunk, error) {
	if len(data) < 3 {
		return nil, errors.New("too short")
	}
	return chunkenc.FromData(enc, data)
}

func text(t *testing.T, metas []chunks.Meta) string {
	t.Helper()
	var out []string
	for _, m := range metas {
		it := m.Chunk.Iterator(nil)
		for typ := it.Next(); typ != chunkenc.ValNone; typ = it.Next() {
			if typ == chunkenc.ValFloat {
				at, v := it.At()
				out = append(out, fmt.Sprintf("%d:%g", at, v))
				continue
			}
			at, h := it.AtFloatHistogram(nil)
			out = append(out, fmt.Sprintf("%d:{count %g, sum %.6g}", at, h.Count, h.Sum))
		}
		if it.Err() != nil {
			t.Fatal(it.Err())
		}
	}
	return strings.Join(out, " ")
}

func TestWhatFunctionsSee(t *testing.T) {
	// Windows end at 299999 and, since that is the last sample, 400000.
	floats := []blocktest.Sample{blocktest.Float(100_000, 4), blocktest.Float(200_000, 10), blocktest.Float(290_000, 1), blocktest.Float(400_000, 7)}
	histograms := blocktest.Samples(100_000, 450_000, 100_000, blocktest.Histogram)
	for _, c := range []struct {
		function string
		samples  []blocktest.Sample
		want     string
	}{
		{"min_over_time", floats, "299999:1 400000:7"},
		{"min", floats, "299999:1 400000:7"},
		{"max_over_time", floats, "299999:10 400000:7"},
		{"count_over_time", floats, "299999:3 400000:1"},
		{"sum_over_time", floats, "299999:15 400000:7"},
		{"sum", floats, "299999:5 400000:7"},
		{"avg_over_time", floats, "299999:5 400000:7"},
		{"", floats, "299999:5 400000:7"},
		{"delta", floats, "299999:5 400000:7"},
		{"min", histograms, ""},
		{"max_over_time", histograms, ""},
		{"count_over_time", histograms, "299999:2 400000:2"},
		// Of the i-th test histogram: count 12+9i, sum 18.4(i+1).
		{"sum_over_time", histograms, "299999:{count 33, sum 55.2} 400000:{count 69, sum 128.8}"},
		{"avg_over_time", histograms, "299999:{count 16.5, sum 27.6} 400000:{count 34.5, sum 64.4}"},
		{"rate", histograms, "100000:{count 12, sum 18.4} 299999:{count 21, sum 36.8} 400000:{count 39, sum 73.6}"},
	} {
		metas := blocktest.Downsample(t, c.samples, blocktest.FiveMinutes, 0)
		if len(metas) != 1 {
			t.Fatalf("%d chunks", len(metas))
		}
		got, err := aggrchunk.Ordinary(metas[0], metas[0].Chunk.(*aggrchunk.Chunk), aggrchunk.ForFunc(c.function), open)
		if err != nil {
			t.Fatal(err)
		}
		if got := text(t, got); got != c.want {
			t.Errorf("%s: got %s\nwant %s", c.function, got, c.want)
		}
	}
}

func TestCapResolution(t *testing.T) {
	for _, c := range []struct {
		function  string
		rng, want time.Duration
	}{
		{"rate", 10 * time.Minute, 5 * time.Minute},
		{"rate", 5 * time.Hour, time.Hour},
		{"rate", 0, time.Hour},
		{"max_over_time", time.Minute, time.Hour},
		{"", 0, time.Hour},
	} {
		if got := aggrchunk.CapResolution(time.Hour, c.function, c.rng); got != c.want {
			t.Errorf("%s over %s: %s, want %s", c.function, c.rng, got, c.want)
		}
	}
}

func TestChunkComesBack(t *testing.T) {
	meta := blocktest.Downsample(t, blocktest.Floats(0, 3_600_000, 60_000, 1), blocktest.FiveMinutes, 0)[0]
	c := meta.Chunk.(*aggrchunk.Chunk)
	parsed, err := aggrchunk.Parse(c.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if parsed.NumSamples() != 12 || parsed.Encoding() != 0xff {
		t.Errorf("%d windows of encoding %d", parsed.NumSamples(), parsed.Encoding())
	}
	for _, a := range all {
		want, ok := c.Slot(a)
		if got, there := parsed.Slot(a); !ok || !there || got.Encoding != want.Encoding || !bytes.Equal(got.Data, want.Data) {
			t.Errorf("%s differs", a)
		}
	}
	only := parsed.Only(aggrchunk.Max)
	for _, a := range all {
		if _, ok := only.Slot(a); ok != (a == aggrchunk.Max) {
			t.Errorf("%s is there: %v", a, ok)
		}
	}
	if it := c.Iterator(nil); it.Next() != chunkenc.ValNone || it.Err() == nil {
		t.Error("a chunk of aggregates can be iterated over")
	}
	if _, err := c.Appender(); err == nil {
		t.Error("a chunk of aggregates can be appended to")
	}
}

func TestBrokenChunks(t *testing.T) {
	good := blocktest.Downsample(t, blocktest.Floats(0, 3_600_000, 60_000, 1), blocktest.FiveMinutes, 0)[0].Chunk.Bytes()
	for n := range good {
		if _, err := aggrchunk.Parse(good[:n]); !errors.Is(err, aggrchunk.ErrCorrupt) {
			t.Errorf("%d of %d bytes: %v", n, len(good), err)
		}
	}
	if _, err := aggrchunk.Parse(append(slices.Clone(good), 0)); !errors.Is(err, aggrchunk.ErrCorrupt) {
		t.Errorf("a byte more: %v", err)
	}
}

// FuzzChunk reads all aggregates of what passes for a chunk, which must not
// panic, nor take much more memory than the chunk has bytes.
func FuzzChunk(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 0})
	for _, samples := range [][]blocktest.Sample{
		blocktest.Floats(0, 3_600_000, 60_000, 1), {blocktest.Float(5, 1)}, blocktest.Samples(0, 3_600_000, 60_000, blocktest.FloatHistogram),
	} {
		for _, resolution := range []int64{blocktest.FiveMinutes, blocktest.OneHour} {
			f.Add(slices.Clone(blocktest.Downsample(&testing.T{}, samples, resolution, 0)[0].Chunk.Bytes()))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := aggrchunk.Parse(data)
		if err != nil {
			return
		}
		var slots [5]aggrchunk.Slot
		for _, a := range all {
			slots[a], _ = c.Slot(a)
		}
		again, err := aggrchunk.Parse(aggrchunk.New(slots).Bytes())
		if err != nil {
			t.Fatalf("what was parsed and written does not parse: %v", err)
		}
		for _, a := range all {
			if s, _ := again.Slot(a); !bytes.Equal(s.Data, slots[a].Data) {
				t.Fatalf("%s differs", a)
			}
		}
		floats := func(enc chunkenc.Encoding, data []byte) (chunkenc.Chunk, error) {
			if enc != chunkenc.EncXOR {
				return nil, errors.New("histograms are for package store to check")
			}
			return open(enc, data)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for _, wanted := range [][]aggrchunk.Aggregate{all[:1], all[2:3], all[4:], all[:2]} {
			metas, err := aggrchunk.Ordinary(chunks.Meta{MaxTime: 1 << 40, Chunk: c}, c, wanted, floats)
			if err != nil {
				continue
			}
			set := aggrchunk.Counters(one(metas))
			if !set.Next() {
				continue
			}
			for it := set.At().Iterator(nil); it.Next(); {
				samples := it.At().Chunk.Iterator(nil)
				for samples.Next() != chunkenc.ValNone {
				}
			}
		}
		runtime.ReadMemStats(&after)
		if took, most := after.TotalAlloc-before.TotalAlloc, uint64(1<<20+1000*len(data)); took > most {
			t.Errorf("%d bytes taken for a chunk of %d", took, len(data))
		}
	})
}

// A histogram that no encoder takes is an error, whatever the encoder does.
func TestEncoderThatPanicsIsAnError(t *testing.T) {
	c := chunkenc.NewFloatHistogramChunk()
	meta := chunks.Meta{Chunk: panicking{c}, MinTime: 0, MaxTime: 10}
	if _, err := aggrchunk.Clip(meta, 3, 5); !errors.Is(err, aggrchunk.ErrCorrupt) {
		t.Errorf("got %v", err)
	}
}

type panicking struct{ *chunkenc.FloatHistogramChunk }

func (panicking) Iterator(chunkenc.Iterator) chunkenc.Iterator { panic("index out of range") }

func TestClip(t *testing.T) {
	for name, make := range map[string]func(t, i int64) blocktest.Sample{
		"floats":           func(t, i int64) blocktest.Sample { return blocktest.Float(t, float64(i)) },
		"float histograms": blocktest.FloatHistogram,
	} {
		meta := blocktest.Downsample(t, blocktest.Samples(0, 3_600_000, 60_000, make), blocktest.FiveMinutes, 0)[0]
		whole, err := aggrchunk.Ordinary(meta, meta.Chunk.(*aggrchunk.Chunk), []aggrchunk.Aggregate{aggrchunk.Sum}, open)
		if err != nil {
			t.Fatal(err)
		}
		points := strings.Split(text(t, whole), " ")
		if name != "floats" {
			points = strings.SplitAfter(text(t, whole), "} ")
		}
		for from := range len(points) {
			for to := from; to < len(points); to++ {
				got, err := aggrchunk.Clip(whole[0], int64(from)*300_000+1, int64(to+1)*300_000-1)
				if err != nil {
					t.Fatal(err)
				}
				sep := " "
				if name != "floats" {
					sep = ""
				}
				if want := strings.TrimSpace(strings.Join(points[from:to+1], sep)); to < len(points)-1 && text(t, got) != want {
					t.Errorf("%s, windows %d to %d: %s\nwant %s", name, from, to, text(t, got), want)
				}
			}
		}
	}
}
