package store

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/varve-tsdb/varve/internal/blocktest"
	"github.com/varve-tsdb/varve/internal/readcost"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

// costOf returns what use costs.
func costOf(t *testing.T, ctx context.Context, use func(context.Context)) readcost.Report {
	t.Helper()
	cost := budgetOf(t, BudgetOptions{}).Open()
	defer cost.Close()
	use(WithCost(ctx, cost))
	return cost.Report()
}

func checkSkipped(t *testing.T, what string, r readcost.Report, considered, read int64, want map[string]int64) {
	t.Helper()
	for why, n := range r.BlocksSkipped {
		if n != want[why] {
			t.Errorf("%s: %d blocks were skipped for %s, want %d", what, n, why, want[why])
		}
	}
	if r.BlocksConsidered != considered || r.BlocksRead() != read {
		t.Errorf("%s: %d blocks were considered and %d read, want %d and %d", what, r.BlocksConsidered, r.BlocksRead(), considered, read)
	}
}

// gapped is a raw block of three hours, and a 5m block of the second, so that
// the raw one answers in two pieces.
func gapped(tb testing.TB) *objstoretest.Memory {
	bkt := objstoretest.NewMemory()
	block := func(from, to int64) blocktest.Block {
		return blocktest.Block{MinTime: from, MaxTime: to, External: labels.FromStrings("cluster", "eu"), Series: []blocktest.Series{
			{Labels: labels.FromStrings("__name__", "g"), Samples: blocktest.Floats(from, to, minute, 0)},
		}}
	}
	blocktest.Put(tb, bkt, block(0, 3*hour))
	coarse := block(hour, 2*hour)
	coarse.Resolution = blocktest.FiveMinutes
	blocktest.PutDownsampled(tb, bkt, coarse)
	return bkt
}

// A block counts once for a selector, in however many pieces it answers.
func TestPiecesOfABlockCountOnce(t *testing.T) {
	b := openOver(t, gapped(t), t.TempDir(), Options{})
	ctx := atResolution(t.Context(), 5*time.Minute)
	r := costOf(t, ctx, func(ctx context.Context) { read(ctx, b, 0, 3*hour-1, equal("__name__", "nope")) })
	checkSkipped(t, "nothing matches", r, 2, 0, map[string]int64{"no_postings": 2})
	r = costOf(t, ctx, func(ctx context.Context) { read(ctx, b, 0, 3*hour-1, equal("__name__", "g")) })
	checkSkipped(t, "all matches", r, 2, 2, nil)
}

// Blocks in whose place another resolution answers are skipped by reads of
// labels, too.
func TestSkippedResolutionOfLabelReads(t *testing.T) {
	b := openOver(t, gapped(t), t.TempDir(), Options{})
	ctx := atResolution(t.Context(), 5*time.Minute)
	q, err := b.ChunkQuerier(hour, 2*hour-1)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	want := map[string]int64{"resolution": 1}
	for name, ask := range map[string]func(context.Context){
		"names":  func(ctx context.Context) { _, _, err = q.LabelNames(ctx, nil) },
		"values": func(ctx context.Context) { _, _, err = q.LabelValues(ctx, "__name__", nil) },
		// It asks for names, too, to know what external labels replace.
		"series": func(ctx context.Context) {
			set := q.Select(ctx, true, &storage.SelectHints{Start: hour, End: 2*hour - 1})
			for set.Next() {
			}
			err = set.Err()
		},
	} {
		r := costOf(t, ctx, ask)
		if err != nil {
			t.Fatal(err)
		}
		checkSkipped(t, name, r, 2, 1, want)
	}
}

// A block that is known to be broken is not read, and so it counts.
func TestQuarantinedBlocksAreSkipped(t *testing.T) {
	bkt, middle := threeBlocks(t)
	b := openOver(t, bkt, t.TempDir(), Options{})
	if err := bkt.Delete(t.Context(), middle.String()+"/index"); err != nil {
		t.Fatal(err)
	}
	series := func(ctx context.Context) { read(ctx, b, 0, 299, equal("__name__", "one")) }
	names := func(ctx context.Context) {
		q, err := b.ChunkQuerier(0, 299)
		if err != nil {
			t.Fatal(err)
		}
		defer q.Close()
		q.LabelNames(ctx, nil)
	}
	checkSkipped(t, "when it is met", costOf(t, partial(t.Context()), series), 3, 3, nil)
	quarantined := map[string]int64{"quarantined": 1}
	checkSkipped(t, "from then on", costOf(t, partial(t.Context()), series), 3, 2, quarantined)
	checkSkipped(t, "by names", costOf(t, partial(t.Context()), names), 3, 2, quarantined)
}
