package aggrchunk_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/tsdb/chunks"
	"pgregory.net/rapid"

	"github.com/varve-tsdb/varve/internal/aggrchunk"
	"github.com/varve-tsdb/varve/internal/blocktest"
)

// cut cuts chunks of aggregates in two before the time at.
func cut(tb interface{ Fatalf(string, ...any) }, metas []chunks.Meta, at int64) (before, after []chunks.Meta) {
	for _, m := range metas {
		for _, side := range []struct {
			list     *[]chunks.Meta
			from, to int64
		}{{&before, math.MinInt64, at - 1}, {&after, at, math.MaxInt64}} {
			some, ok, err := aggrchunk.ClipStored(m, side.from, side.to, open)
			if err != nil {
				tb.Fatalf("%v", err)
			}
			if !ok {
				continue
			}
			if some.MinTime < side.from || some.MaxTime > side.to || some.MinTime > some.MaxTime {
				tb.Fatalf("a chunk from %d to %d is cut to %d to %d, want %d to %d", m.MinTime, m.MaxTime, some.MinTime, some.MaxTime, side.from, side.to)
			}
			*side.list = append(*side.list, some)
		}
	}
	return before, after
}

// What is cut is whole once it is joined: each window is on one side, and a counter
// counts the same from one to the other.
func TestCutChunksAreWholeTogether(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var samples []blocktest.Sample
		v := float64(rapid.IntRange(0, 50).Draw(rt, "first"))
		for at := rapid.Int64Range(0, 600_000).Draw(rt, "start"); len(samples) < 300; at += 60_000 {
			if samples = append(samples, blocktest.Float(at, v)); rapid.IntRange(0, 20).Draw(rt, "reset") == 0 {
				v = 0
			}
			v += float64(rapid.IntRange(0, 5).Draw(rt, "step"))
		}
		resolution := rapid.SampledFrom([]int64{blocktest.FiveMinutes, blocktest.OneHour}).Draw(rt, "resolution")
		whole := blocktest.Downsample(t, samples, resolution, 7)
		at := resolution * rapid.Int64Range(-1, samples[len(samples)-1].T/resolution+2).Draw(rt, "at")
		before, after := cut(rt, whole, at)
		for _, function := range []string{"min", "max", "count", "sum_over_time", "avg_over_time"} {
			if got, want := text(t, ordinary(rt, append(slices.Clone(before), after...), function)), text(t, ordinary(rt, whole, function)); got != want {
				rt.Fatalf("%s: %s\nwant %s", function, got, want)
			}
		}
		counted := func(metas []chunks.Meta) []blocktest.Sample {
			set := aggrchunk.Counters(one(metas))
			set.Next()
			return samplesOf(rt, set.At().Iterator(nil))
		}
		if got, want := counted(append(slices.Clone(before), after...)), counted(whole); fmt.Sprint(total(got)) != fmt.Sprint(total(want)) {
			rt.Fatalf("cut before %d counts %v\nwant %v", at, got, want)
		}
	})
}

func ordinary(tb interface{ Fatalf(string, ...any) }, metas []chunks.Meta, function string) (out []chunks.Meta) {
	for _, m := range metas {
		some, err := aggrchunk.Ordinary(m, m.Chunk.(*aggrchunk.Chunk), aggrchunk.ForFunc(function), open)
		if err != nil {
			tb.Fatalf("%v", err)
		}
		out = append(out, some...)
	}
	return out
}

// A cut chunk begins and ends as every chunk does: with what a counter stood at before
// the first window, and with what it really stood at after the last.
func TestCounterOfACutChunk(t *testing.T) {
	// 10 a minute, and a reset from 200 to 10 after 20 minutes.
	var samples []blocktest.Sample
	for i := range int64(60) {
		samples = append(samples, blocktest.Float(i*60_000, float64(10*(i%20+1))))
	}
	metas := blocktest.Downsample(t, samples, blocktest.FiveMinutes, 0)
	for name, c := range map[string]struct {
		from, to int64
		want     string
	}{
		"the middle":            {600_000, 1_799_999, "599999:100 899999:150 1199999:200 1499999:250 1799999:300 1799999:300"},
		"the start":             {0, 599_999, "299999:50 599999:100 599999:100"},
		"the end":               {3_000_000, math.MaxInt64, "2999999:500 3299999:550 3540000:600 3540000:200"},
		"after the last reset":  {600_000, 2_999_999, "599999:100 899999:150 1199999:200 1499999:250 1799999:300 2099999:350 2399999:400 2699999:450 2999999:500 2999999:100"},
		"between two windows":   {300_000, 300_000, ""},
		"all of it":             {0, math.MaxInt64, ""},
		"one window by its end": {899_999, 899_999, "599999:100 899999:150 899999:150"},
	} {
		got, ok, err := aggrchunk.ClipStored(metas[0], c.from, c.to, open)
		switch {
		case err != nil || ok != (name != "between two windows"):
			t.Errorf("%s: %v, %v", name, ok, err)
			continue
		case name == "all of it" && got.Chunk != metas[0].Chunk:
			t.Errorf("%s: it is another chunk", name)
		case c.want == "":
			continue
		}
		slot, _ := got.Chunk.(*aggrchunk.Chunk).Slot(aggrchunk.Counter)
		counter, err := open(slot.Encoding, slot.Data)
		if err != nil {
			t.Fatal(err)
		}
		if got := text(t, []chunks.Meta{{Chunk: counter}}); got != c.want && "0:10 "+c.want != got {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
