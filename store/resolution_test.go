package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
	"pgregory.net/rapid"

	"github.com/varve-tsdb/varve/internal/aggrchunk"
	"github.com/varve-tsdb/varve/internal/blocktest"
	"github.com/varve-tsdb/varve/internal/indexheader"
	"github.com/varve-tsdb/varve/internal/readopts"
	"github.com/varve-tsdb/varve/internal/sortedsets"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

// Blocks and pieces as text: a name, its range, and the resolution of a block.
func TestChoosePieces(t *testing.T) {
	for _, c := range []struct {
		name, blocks string
		mint, maxt   int64
		most         int64
		want         string
	}{
		{"raw only", "a=0-10@0 b=10-20@0", 0, 19, 0, "a=0-10 b=10-20"},
		{"the coarsest that is accepted", "a=0-10@0 b=0-10@5 c=0-10@60", 0, 9, 5, "b=0-10"},
		{"the coarsest of all", "a=0-10@0 b=0-10@5 c=0-10@60", 0, 9, 1000, "c=0-10"},
		{"raw although there is coarser", "a=0-10@0 b=0-10@5 c=0-10@60", 0, 9, 0, "a=0-10"},
		{"finer after the coarser ones end", "a=0-10@5 b=0-10@0 c=10-20@0", 0, 19, 5, "a=0-10 c=10-20"},
		{"finer in a gap", "a=0-10@60 b=20-30@60 c=0-30@5", 0, 29, 60, "a=0-10 c=10-20 b=20-30"},
		{"two levels of gaps", "a=10-20@60 b=0-30@5 c=0-50@0", 0, 49, 60, "b=0-10 a=10-20 b=20-30 c=30-50"},
		{"coarser where nothing else is", "a=0-10@5 b=0-10@60 c=10-20@0", 0, 19, 0, "a=0-10 c=10-20"},
		{"coarser only in the gap", "a=5-20@0 b=0-10@60", 0, 19, 0, "b=0-5 a=5-20"},
		{"overlapping blocks of one resolution", "a=0-10@5 b=5-15@5 c=0-15@0", 0, 14, 5, "a=0-10 b=5-15"},
		{"what is out of range", "a=0-10@5 b=10-20@5 c=20-30@5", 12, 13, 5, "b=10-20"},
		{"a gap out of range", "a=10-20@5 b=0-30@0", 12, 13, 5, "a=10-20"},
		{"ends are inclusive", "a=0-10@0 b=10-20@0", 9, 10, 0, "a=0-10 b=10-20"},
		{"all of time", "a=0-10@0", math.MinInt64, math.MaxInt64, 0, "a=0-10"},
		{"nothing", "", 0, 10, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var blocks []blockRange
			var names []string
			for _, s := range strings.Fields(c.blocks) {
				var b blockRange
				name, rest, _ := strings.Cut(s, "=")
				if _, err := fmt.Sscanf(rest, "%d-%d@%d", &b.from, &b.to, &b.resolution); err != nil {
					t.Fatal(err)
				}
				blocks, names = append(blocks, b), append(names, name)
			}
			var got []string
			for _, p := range choosePieces(blocks, c.mint, c.maxt, c.most) {
				got = append(got, fmt.Sprintf("%s=%d-%d", names[p.block], p.from, p.to))
			}
			if got := strings.Join(got, " "); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// Each moment of the range that some block covers is answered by one resolution,
// the best one there.
func TestChoosePiecesCoversAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var blocks []blockRange
		for range rapid.IntRange(0, 8).Draw(t, "blocks") {
			from := rapid.Int64Range(0, 30).Draw(t, "from")
			blocks = append(blocks, blockRange{from, from + rapid.Int64Range(1, 20).Draw(t, "length"), rapid.SampledFrom([]int64{0, 5, 60}).Draw(t, "resolution")})
		}
		mint := rapid.Int64Range(0, 50).Draw(t, "mint")
		maxt := mint + rapid.Int64Range(0, 20).Draw(t, "more")
		most := rapid.SampledFrom([]int64{0, 5, 60, 1000}).Draw(t, "most")
		pieces := choosePieces(blocks, mint, maxt, most)
		for at := mint; at <= maxt; at++ {
			best := int64(-1)
			for _, b := range blocks {
				if b.from <= at && at < b.to && (best < 0 || better(b.resolution, best, most)) {
					best = b.resolution
				}
			}
			var want, got []int
			for i, b := range blocks {
				if b.from <= at && at < b.to && b.resolution == best {
					want = append(want, i)
				}
			}
			for _, p := range pieces {
				if p.from <= at && at < p.to {
					got = append(got, p.block)
				}
			}
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Fatalf("at %d the blocks %v answer, want %v, of %v by %v", at, got, want, blocks, pieces)
			}
		}
	})
}

func better(a, b, most int64) bool {
	if a <= most && b <= most {
		return a > b
	}
	return a < b
}

const minute, hour = int64(60_000), int64(3_600_000)

// twoResolutions is a stream with a 5m block of two hours and a raw block of the
// second and a third.
func twoResolutions(tb testing.TB) *objstoretest.Memory {
	bkt := objstoretest.NewMemory()
	series := func(from, to int64) []blocktest.Series {
		return []blocktest.Series{
			{Labels: labels.FromStrings("__name__", "g"), Samples: blocktest.Samples(from, to, minute, func(t, _ int64) blocktest.Sample {
				return blocktest.Float(t, float64(t/minute))
			})},
			{Labels: labels.FromStrings("__name__", "h"), Samples: blocktest.Samples(from, to, minute, func(t, _ int64) blocktest.Sample {
				return blocktest.Histogram(t, t/minute)
			})},
		}
	}
	external := labels.FromStrings("cluster", "eu")
	blocktest.PutDownsampled(tb, bkt, blocktest.Block{
		MinTime: 0, MaxTime: 2 * hour, External: external, Resolution: blocktest.FiveMinutes, SamplesPerChunk: 5, Series: series(0, 2*hour),
	})
	blocktest.Put(tb, bkt, blocktest.Block{MinTime: hour, MaxTime: 3 * hour, External: external, Series: series(hour, 3*hour)})
	return bkt
}

func atResolution(ctx context.Context, most time.Duration) context.Context {
	return readopts.With(ctx, readopts.Options{MaxResolution: most})
}

// hourly returns how many samples a function sees, by hour.
func hourly(t *testing.T, ctx context.Context, b *Bucket, function string, matchers ...*labels.Matcher) (byHour [3]int, warnings annotations.Annotations) {
	t.Helper()
	q, err := b.ChunkQuerier(0, 3*hour)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	hints := &storage.SelectHints{Start: 0, End: 3 * hour, Func: function}
	set := storage.NewSeriesSetFromChunkSeriesSet(q.Select(ctx, true, hints, matchers...))
	for set.Next() {
		it := set.At().Iterator(nil)
		for it.Next() != 0 {
			byHour[it.AtT()/hour]++
		}
		if it.Err() != nil {
			t.Fatal(it.Err())
		}
	}
	if set.Err() != nil {
		t.Fatal(set.Err())
	}
	return byHour, set.Warnings()
}

func TestResolutionsAreStitched(t *testing.T) {
	b := openOver(t, twoResolutions(t), t.TempDir(), Options{})
	for _, c := range []struct {
		most     time.Duration
		function string
		name     string
		want     [3]int
		coarser  bool
	}{
		{0, "max_over_time", "g", [3]int{12, 60, 60}, true},
		{5 * time.Minute, "max_over_time", "g", [3]int{12, 12, 60}, false},
		{5 * time.Minute, "", "g", [3]int{12, 12, 60}, false},
		{0, "avg_over_time", "h", [3]int{12, 60, 60}, true},
		{time.Hour, "avg_over_time", "h", [3]int{12, 12, 60}, false},
		{time.Hour, "min_over_time", "h", [3]int{0, 0, 60}, false},
		// Each chunk of a counter begins with a sample of its own; the samples at
		// 1:00 and before belong to the 5m block.
		{5 * time.Minute, "rate", "g", [3]int{15, 14, 60}, false},
		{0, "rate", "g", [3]int{15, 60, 60}, true},
		{0, "rate", "h", [3]int{15, 60, 60}, true},
	} {
		got, warnings := hourly(t, atResolution(t.Context(), c.most), b, c.function, equal("__name__", c.name))
		if got != c.want {
			t.Errorf("%s(%s) at %s: %v samples an hour, want %v", c.function, c.name, c.most, got, c.want)
		}
		var note *CoarserError
		for _, err := range warnings.AsErrors() {
			if !errors.As(err, &note) || !errors.Is(err, annotations.PromQLInfo) || note.External.Get("cluster") != "eu" ||
				!note.From.Equal(time.UnixMilli(0)) || !note.To.Equal(time.UnixMilli(hour)) || note.Resolution != 5*time.Minute {
				t.Errorf("%s at %s: %v", c.function, c.most, err)
			}
		}
		if c.coarser != (note != nil) {
			t.Errorf("%s at %s: note %v", c.function, c.most, note)
		}
	}
}

// Where a finer resolution takes over inside of a chunk, what is left of that is known
// to be downsampled: another source that has the raw samples of its time counts alone.
func TestWhatIsCutOfAChunkIsStillDownsampled(t *testing.T) {
	b := openOver(t, twoResolutions(t), t.TempDir(), Options{})
	raw := objstoretest.NewMemory()
	blocktest.Put(t, raw, blocktest.Block{External: labels.FromStrings("cluster", "eu"), Series: []blocktest.Series{
		{Labels: labels.FromStrings("__name__", "g"), Samples: blocktest.Floats(45*minute, hour, minute, 45)},
	}})
	var sets []storage.ChunkSeriesSet
	for _, b := range []*Bucket{b, openOver(t, raw, t.TempDir(), Options{})} {
		q, err := b.ChunkQuerier(0, 3*hour)
		if err != nil {
			t.Fatal(err)
		}
		defer q.Close()
		hints := &storage.SelectHints{Start: 0, End: 3 * hour, Func: "max_over_time"}
		sets = append(sets, q.Select(t.Context(), true, hints, equal("__name__", "g")))
	}
	got, _, err := text(aggrchunk.FinestFirst(sortedsets.Merge(sets...)))
	// Nine windows of five minutes, and from there each minute.
	if n := strings.Count(got, ":"); err != nil || n != 9+15+120 {
		t.Errorf("%d samples: %s, %v", n, got, err)
	}
}

func TestBlocksOfOtherResolutionsAreCountedAsSkipped(t *testing.T) {
	b := openOver(t, twoResolutions(t), t.TempDir(), Options{})
	for _, most := range []time.Duration{0, 5 * time.Minute} {
		cost := budgetOf(t, BudgetOptions{}).Open()
		defer cost.Close()
		// An hour that there is of both.
		if _, _, err := read(atResolution(WithCost(t.Context(), cost), most), b, hour, 2*hour-1, equal("__name__", "g")); err != nil {
			t.Fatal(err)
		}
		if r := cost.Report(); r.BlocksSkipped["resolution"] != 1 || r.BlocksRead() != 1 {
			t.Errorf("at %s: %+v", most, r)
		}
	}
}

func TestLabelsOfDownsampledBlocks(t *testing.T) {
	b := openOver(t, twoResolutions(t), t.TempDir(), Options{})
	q, err := b.ChunkQuerier(0, 3*hour)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	for _, most := range []time.Duration{0, math.MaxInt64} {
		values, warnings, err := q.LabelValues(atResolution(t.Context(), most), "__name__", nil)
		if err != nil || len(warnings) > 0 || !slices.Equal(values, []string{"g", "h"}) {
			t.Errorf("at %s: %v, %v, %v", most, values, warnings, err)
		}
	}
}

// Chunks as stored come with the times that their blocks answer for, and no more.
func TestChunksAsStored(t *testing.T) {
	b := openOver(t, twoResolutions(t), t.TempDir(), Options{})
	q, err := b.ChunkQuerier(0, 3*hour)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	set := q.Select(aggrchunk.AsStored(atResolution(t.Context(), time.Hour)), true, nil, equal("__name__", "g"))
	var aggregates, raw int
	for set.Next() {
		for it := set.At().Iterator(nil); it.Next(); {
			m := it.At()
			c, ok := m.Chunk.(*aggrchunk.Chunk)
			if ok != (m.MaxTime < 2*hour) || ok != (m.MinTime < 2*hour) {
				t.Errorf("there is a chunk from %d to %d, of aggregates: %v", m.MinTime, m.MaxTime, ok)
			}
			if !ok {
				raw++
				continue
			}
			aggregates++
			for a := aggrchunk.Count; a <= aggrchunk.Counter; a++ {
				if _, ok := c.Slot(a); !ok {
					t.Errorf("no %s", a)
				}
			}
		}
	}
	if set.Err() != nil || aggregates != 5 || raw == 0 {
		t.Errorf("%d chunks of aggregates, %d others, %v", aggregates, raw, set.Err())
	}
}

// What a read of a downsampled block keeps at least is what is kept of it, one of
// five aggregates, not the block.
func TestLeastOfADownsampledBlock(t *testing.T) {
	bkt := objstoretest.NewMemory()
	series := []blocktest.Series{{Labels: labels.FromStrings("__name__", "g"), Samples: blocktest.Floats(0, 48*hour, minute, 0)}}
	id := blocktest.PutDownsampled(t, bkt, blocktest.Block{
		MaxTime: 48 * hour, External: labels.FromStrings("cluster", "eu"), Resolution: blocktest.FiveMinutes, Series: series,
	})
	r := &blockReader{block: pinned(t, openOver(t, bkt, t.TempDir(), Options{}), id)}
	defer r.block.release()
	header, err := r.header(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	plan := postingsPlan{intersect: [][]indexheader.Range{{header.AllPostings()}}}
	want := selection{mint: 0, maxt: 48*hour - 1}
	kept, fetched := r.block.least(header, plan, want, nil).Kept, r.block.chunkBytes()
	if kept <= 0 || kept >= fetched/5 {
		t.Errorf("%d bytes are kept at least of %d", kept, fetched)
	}
	want.form.stored = true
	if kept := r.block.least(header, plan, want, nil).Kept; kept < fetched {
		t.Errorf("as stored %d bytes are kept at least of %d", kept, fetched)
	}
}
