package store

import (
	"errors"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/storage"

	"github.com/varve-tsdb/varve/internal/blocktest"
	"github.com/varve-tsdb/varve/internal/readcost"
	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/cache"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

func budgetOf(tb testing.TB, opts BudgetOptions) *Budget {
	tb.Helper()
	b, err := NewBudget(opts)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// A reader that keeps nothing may read what never fits in memory, and what it has
// done with is given back while it reads on.
func TestStreamingReaderNeedsLittle(t *testing.T) {
	bkt := objstoretest.NewMemory()
	var all int64
	for i := range int64(3) {
		made := t.TempDir()
		id := blocktest.WriteGrid(t, made, blocktest.Grid{Metrics: 20, Instances: 100, MinTime: i * 100_000, Step: 50, Samples: 2000})
		blocktest.Upload(t, bkt, made, id)
		all += int64(len(bkt.Objects()[id.String()+"/chunks/000001"]))
	}
	const limit = 8 << 20
	if all < limit {
		t.Fatalf("there are only %d bytes of chunks", all)
	}
	budget := budgetOf(t, BudgetOptions{QueryBytes: limit})
	b := openOver(t, bkt, t.TempDir(), Options{Budget: budget, ReadAhead: 1})
	q, err := b.ChunkQuerier(0, 300_000)
	if err != nil {
		t.Fatal(err)
	}
	set := q.Select(t.Context(), true, nil, like("__name__", ".+"))
	n := 0
	for set.Next() {
		n++
	}
	if err := set.Err(); err != nil || n != 2000 {
		t.Errorf("%d series, %v", n, err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	if used := budget.InUse(); used != 0 {
		t.Errorf("%d bytes are still in use", used)
	}
}

// Each part of a read asks for its memory, and all of it is given back, whether
// the read ends well or not, or is given up on the way.
func TestEveryPartHasABudget(t *testing.T) {
	bkt := objstoretest.NewMemory()
	for range 2 {
		blocktest.Put(t, bkt, wideBlock(3000, 100))
	}
	t.Run("bucket", func(t *testing.T) { everyPartHasABudget(t, bkt) })
	t.Run("cache", func(t *testing.T) { everyPartHasABudget(t, cached(t, bkt, cache.Options{})) })
}

func everyPartHasABudget(t *testing.T, bkt objstore.Bucket) {
	dir := t.TempDir()
	seen := inFlight(t, bkt, dir)
	for limit := int64(2000); ; limit += limit / 8 {
		budget := budgetOf(t, BudgetOptions{QueryBytes: limit})
		b := openOver(t, bkt, dir, Options{Budget: budget})
		q, err := b.ChunkQuerier(0, 1000)
		if err != nil {
			t.Fatal(err)
		}
		given := q.Select(t.Context(), true, nil, like("i", ".*7"))
		given.Next() // and is not read on
		set := q.Select(t.Context(), true, nil, like("i", ".*7"))
		for set.Next() {
		}
		err = set.Err()
		if err := errors.Join(q.Close(), b.Close()); err != nil {
			t.Fatal(err)
		}
		if used := budget.InUse(); used != 0 {
			t.Errorf("with %d bytes: %d are still in use", limit, used)
		}
		if err == nil {
			break
		}
		var refused *LimitError
		if !errors.As(err, &refused) || refused.Limit != "QueryBytes" || errors.As(err, new(*BlockError)) {
			t.Fatalf("with %d bytes: %v", limit, err)
		}
		seen.add(refused)
		if limit > 1<<30 {
			t.Fatal("nothing is enough")
		}
	}
	if !seen["postings"] || !seen["series"] || !seen["chunks"] {
		t.Errorf("only %v were ever in flight when a read was refused", seen)
	}
}

// uses are the parts of reads that were seen to hold memory.
type uses map[string]bool

func (seen uses) add(refused *LimitError) {
	for u, n := range refused.Of {
		if n > 0 {
			seen[readcost.Use(u).String()] = true
		}
	}
}

// inFlight is what a reader holds that is at a series, by the refusal of more.
func inFlight(t *testing.T, bkt objstore.Bucket, dir string) uses {
	t.Helper()
	const enough = 1 << 30
	cost := budgetOf(t, BudgetOptions{QueryBytes: enough}).Open()
	defer cost.Close()
	b := openOver(t, bkt, dir, Options{})
	q, err := b.ChunkQuerier(0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	set := q.Select(WithCost(t.Context(), cost), true, nil, like("i", ".*7"))
	if !set.Next() {
		t.Fatal(set.Err())
	}
	var refused *LimitError
	if err := cost.Take(readcost.Kept, enough); !errors.As(err, &refused) {
		t.Fatalf("a gigabyte more: %v", err)
	}
	if err := errors.Join(q.Close(), b.Close()); err != nil {
		t.Fatal(err)
	}
	seen := uses{}
	seen.add(refused)
	return seen
}

// A label of very many values makes plans that are large themselves.
func TestManyListsAreRefusedUnread(t *testing.T) {
	memory := objstoretest.NewMemory()
	blocktest.Put(t, memory, wideBlock(3000, 1))
	bkt := objstoretest.NewRecorder(memory)
	b := openOver(t, bkt, t.TempDir(), Options{Budget: budgetOf(t, BudgetOptions{QueryBytes: 300 * listMemory})})
	if _, _, err := read(t.Context(), b, 0, 1000, equal("i", "nope")); err != nil {
		t.Fatal(err)
	}
	bkt.Reset()
	_, _, err := read(t.Context(), b, 0, 1000, like("i", ".*[0-8]"))
	if !errors.As(err, new(*LimitError)) || len(bkt.Log()) != 0 {
		t.Errorf("%v after %d requests", err, len(bkt.Log()))
	}
}

// Lists that hold every series restrict nothing, and are not read.
func TestListsOfEverythingAreNotRead(t *testing.T) {
	memory := objstoretest.NewMemory()
	blocktest.Put(t, memory, wideBlock(3000, 1))
	b := openOver(t, memory, t.TempDir(), Options{})
	want := mustRead(t, b, 0, 1000, equal("i", "00007"))
	if got := mustRead(t, b, 0, 1000, like("__name__", ".+"), like("i", ".+"), equal("i", "00007")); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	cost := budgetOf(t, BudgetOptions{}).Open()
	defer cost.Close()
	if _, _, err := read(WithCost(t.Context(), cost), b, 0, 1000, like("__name__", ".+"), like("i", ".+"), equal("i", "00007")); err != nil {
		t.Fatal(err)
	}
	if postings := cost.Report().Fetched["postings"].Bytes; postings != 16 {
		t.Errorf("%d bytes of postings were read, want the one list of 16", postings)
	}
}

// What a read costs is in its account, and in the store's metrics if it brings
// none.
func TestCostOfARead(t *testing.T) {
	bkt := objstoretest.NewMemory()
	for i := range int64(3) {
		b := wideBlock(100, 1)
		for n := range b.Series {
			b.Series[n].Samples = blocktest.Floats(i*1000, i*1000+1000, 100, 0)
		}
		blocktest.Put(t, bkt, b)
	}
	b := openOver(t, bkt, t.TempDir(), Options{})
	cost := budgetOf(t, BudgetOptions{}).Open()
	defer cost.Close()
	ctx := WithCost(t.Context(), cost)
	if _, _, err := read(ctx, b, 0, 1999, equal("__name__", "m1")); err != nil {
		t.Fatal(err)
	}
	r := cost.Report()
	if r.BlocksConsidered != 3 || r.BlocksSkipped["time"] != 1 || r.BlocksRead() != 2 || r.SeriesRead != 20 || r.ChunksRead != 20 || r.SeriesReturned != 10 {
		t.Errorf("%+v", r)
	}
	for kind, f := range r.Fetched {
		if f.Requests != 2 || f.Bytes <= 0 {
			t.Errorf("%s: %+v", kind, f)
		}
	}
	for _, step := range []string{"header", "postings", "series", "chunks", "decode"} {
		if r.Seconds[step] <= 0 {
			t.Errorf("no time was spent on %s", step)
		}
	}
	for why, matchers := range map[string]string{"external_labels": "cluster", "no_postings": "__name__"} {
		if _, _, err := read(ctx, b, 0, 1999, equal(matchers, "nope")); err != nil {
			t.Fatal(err)
		}
		if n := cost.Report().BlocksSkipped[why]; n != 2 {
			t.Errorf("%s: %d blocks", why, n)
		}
	}
}

var _ storage.ChunkSeriesSet = (*countedSet)(nil)

// The barrier before postings does not outlive a block that fails.
func TestBrokenBlockDoesNotHoldUpOthers(t *testing.T) {
	bkt, middle := threeBlocks(t)
	b := openOver(t, bkt, t.TempDir(), Options{})
	if err := bkt.Delete(t.Context(), middle.String()+"/index"); err != nil {
		t.Fatal(err)
	}
	got, warnings, err := read(partial(t.Context()), b, 0, 299, equal("__name__", "one"))
	if err != nil || len(warnings) != 1 || !strings.Contains(got, "200:200") {
		t.Errorf("%s, %v, %v", got, warnings.AsErrors(), err)
	}
}
