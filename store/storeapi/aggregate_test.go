package storeapi

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/varve-tsdb/varve/internal/aggrchunk"
	"github.com/varve-tsdb/varve/internal/blocktest"
	"github.com/varve-tsdb/varve/internal/readopts"
	"github.com/varve-tsdb/varve/query/querytest"
)

// Of chunks of downsampled blocks only those aggregates travel that a function wants,
// and its reader sees what it would see of the source itself.
func TestAggregatesTravel(t *testing.T) {
	var samples []blocktest.Sample
	v := 0.0
	for i := range int64(4000) {
		if v += float64(i % 7); i%311 == 0 {
			v = 0 // a reset
		}
		samples = append(samples, blocktest.Sample{T: i * 15_000, V: v})
	}
	stored := blocktest.Downsample(t, samples, 300_000, 40)
	if len(stored) < 3 {
		t.Fatalf("only %d chunks", len(stored))
	}
	source := &fixed{series: []storage.ChunkSeries{series(labels.FromStrings("a", "1"), stored...)}}
	c := over(t, source, way{})
	for fn, want := range map[string][]aggrchunk.Aggregate{
		"rate": {aggrchunk.Counter}, "max_over_time": {aggrchunk.Max}, "min": {aggrchunk.Min}, "count_over_time": {aggrchunk.Count},
		"sum_over_time": {aggrchunk.Sum}, "avg_over_time": {aggrchunk.Count, aggrchunk.Sum}, "": {aggrchunk.Count, aggrchunk.Sum},
	} {
		ctx := readopts.With(t.Context(), readopts.Options{MaxResolution: time.Hour})
		hints := &storage.SelectHints{Start: 0, End: math.MaxInt64, Func: fn}
		direct, err := ordinary(ctx, stored, fn)
		if err != nil {
			t.Fatal(err)
		}
		got := readMetas(t, ctx, c, hints)
		if len(got) != len(direct) {
			t.Fatalf("%s: %d chunks, want %d", fn, len(got), len(direct))
		}
		for i := range got {
			a, err1 := querytest.ReadSamples(got[i].Chunk.Iterator(nil))
			b, err2 := querytest.ReadSamples(direct[i].Chunk.Iterator(nil))
			if err1 != nil || err2 != nil || len(a) == 0 || len(a) != len(b) {
				t.Fatalf("%s: %d samples, want %d: %v, %v", fn, len(a), len(b), err1, err2)
			}
			for j := range a {
				if !a[j].Equal(b[j]) {
					t.Errorf("%s: %s, want %s", fn, a[j], b[j])
				}
			}
		}
		// A reader that passes them on gets all, as they were.
		if asStored := readMetas(t, aggrchunk.AsStored(ctx), c, hints); len(asStored) != len(stored) || string(asStored[0].Chunk.Bytes()) != string(stored[0].Chunk.Bytes()) {
			t.Errorf("%s: as stored they are others", fn)
		}
		req := (&clientQuerier{client: c, maxt: math.MaxInt64}).request(ctx, hints, nil)
		_, frames := (&seriesRequest{maxt: math.MaxInt64, matchers: []*labels.Matcher{equal("a", "1")}, aggregates: req.aggregates}).ask(t, c)
		for aggr := aggrchunk.Count; aggr <= aggrchunk.Counter; aggr++ {
			slot, there := frames[0].series[0].chunks[0].Chunk.(*aggrchunk.Chunk).Slot(aggr)
			due := false
			for _, w := range want {
				due = due || w == aggr
			}
			if there != due {
				t.Errorf("%s: %s travels: %v, %d bytes", fn, aggr, there, len(slot.Data))
			}
		}
		if most := source.opts.Load().MaxResolution; fn == "avg_over_time" && most != 0 {
			t.Errorf("a request without a resolution is taken for %s", most)
		}
	}
}

// A chunk that is too short to show its resolution has that of its neighbours, so that
// none of its windows gets lost beside them.
func TestShortChunksOfAggregates(t *testing.T) {
	for _, resolution := range []int64{fiveMinutes, hour} {
		for windows := int64(1); windows <= 8; windows++ {
			var stored []chunks.Meta
			at := int64(30 * hour)
			add := func(n int64) {
				var samples []blocktest.Sample
				for end := at + n*resolution; at < end; at += 60_000 {
					samples = append(samples, blocktest.Sample{T: at, V: 1})
				}
				stored = append(stored, blocktest.Downsample(t, samples, resolution, 0)...)
			}
			want := 2*(windows+20) + 1
			for _, n := range []int64{windows, 20, 1, windows, 20} {
				add(n)
			}
			metas, err := ordinary(t.Context(), stored, "count_over_time")
			if err != nil {
				t.Fatal(err)
			}
			n := int64(0)
			for _, m := range metas {
				n += int64(m.Chunk.NumSamples())
			}
			if n != want {
				t.Errorf("%d windows of %s are left of %d with %d in a chunk", n, millis(resolution), want, windows)
			}
			for i, got := range resolutionsOf(stored) {
				if got != resolution {
					t.Errorf("chunk %d of %d windows of %s counts as one of %s", i, windows, millis(resolution), millis(got))
				}
			}
		}
	}
	// One alone is of five minutes, unless it shows that it is not.
	for n, want := range map[int]int64{1: fiveMinutes, 3: fiveMinutes, 4: hour} {
		var samples []blocktest.Sample
		for i := range int64(n) {
			samples = append(samples, blocktest.Sample{T: i * hour, V: 1})
		}
		if got := resolutionsOf(blocktest.Downsample(t, samples, hour, 0)); len(got) != 1 || got[0] != want {
			t.Errorf("a chunk of %d windows counts as one of %v", n, got)
		}
	}
}

// The resolution that is accepted is capped for functions that need two samples.
func TestResolutionOfARequest(t *testing.T) {
	q := &clientQuerier{client: &Client{}, maxt: math.MaxInt64}
	ctx := readopts.With(context.Background(), readopts.Options{MaxResolution: time.Hour})
	for fn, want := range map[string]int64{"rate": 300_000, "max_over_time": 3_600_000} {
		req := q.request(ctx, &storage.SelectHints{Func: fn, Range: 600_000}, nil)
		if req.maxResolution != want {
			t.Errorf("%s: %d, want %d", fn, req.maxResolution, want)
		}
	}
}

func readMetas(t *testing.T, ctx context.Context, source storage.ChunkQueryable, hints *storage.SelectHints) []chunks.Meta {
	t.Helper()
	q, err := source.ChunkQuerier(hints.Start, hints.End)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	set := q.Select(ctx, true, hints, equal("a", "1"))
	if !set.Next() {
		t.Fatal(set.Err())
	}
	metas, err := storage.ExpandChunks(set.At().Iterator(nil))
	if err != nil {
		t.Fatal(err)
	}
	return metas
}
