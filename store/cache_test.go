package store

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/storage"
	"golang.org/x/sync/semaphore"

	"github.com/varve-tsdb/varve/block"
	"github.com/varve-tsdb/varve/internal/blocktest"
	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/cache"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
	"github.com/varve-tsdb/varve/query/querytest"
)

// cached puts a cache around a bucket, closed with the test.
func cached(tb testing.TB, bkt objstore.Bucket, opts cache.Options) *cache.Bucket {
	tb.Helper()
	b, err := cache.New(bkt, opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := b.Close(); err != nil {
			tb.Error(err)
		}
	})
	return b
}

func TestConformanceBehindACache(t *testing.T) {
	for name, opts := range map[string]func(*testing.T) cache.Options{
		"memory":              func(*testing.T) cache.Options { return cache.Options{} },
		"disk, little memory": func(t *testing.T) cache.Options { return cache.Options{MemoryBytes: 64 << 10, Dir: t.TempDir()} },
		"nothing remembered":  func(*testing.T) cache.Options { return cache.Options{MemoryBytes: -1} },
	} {
		t.Run(name, func(t *testing.T) {
			querytest.Run(t, querytest.Options{}, func(t *testing.T, data querytest.Data) storage.ChunkQueryable {
				bkt := objstoretest.NewMemory()
				putData(t, bkt, data, 12*time.Hour, func(b *blocktest.Block) { b.SegmentSize, b.SamplesPerChunk = 40_000, 7 })
				return openOver(t, cached(t, bkt, opts(t)), t.TempDir(), Options{})
			})
		})
	}
}

// blockReads counts reads of blocks' content.
func blockReads(log *objstoretest.Recorder) int {
	n := 0
	for _, o := range log.Log() {
		if o.Op == objstore.OpGetRange {
			n++
		}
	}
	return n
}

// TestCacheSparesReads asks the same again, for less, and after a restart.
func TestCacheSparesReads(t *testing.T) {
	memory := objstoretest.NewMemory()
	for i := range int64(3) {
		b := wideBlock(300, 1)
		for n := range b.Series {
			b.Series[n].Samples = blocktest.Floats(i*1000, i*1000+1000, 15, float64(n))
		}
		blocktest.Put(t, memory, b)
	}
	log := objstoretest.NewRecorder(memory)
	opts := cache.Options{Dir: t.TempDir()}
	bkt := cached(t, log, opts)
	dir := t.TempDir()
	b := openOver(t, bkt, dir, Options{})
	want := mustRead(t, b, 0, 3000, equal("cluster", "eu"))
	if n := blockReads(log); n != 6 {
		t.Errorf("%d reads of three blocks, want an index and a segment of each", n)
	}
	log.Reset()
	if got := mustRead(t, b, 0, 3000, equal("cluster", "eu")); got != want {
		t.Error("the second answer differs from the first")
	}
	if got := mustRead(t, b, 500, 1500, like("i", ".*7")); got == "" || !strings.Contains(want, strings.SplitAfter(got, "}")[0]) {
		t.Error("an answer for less has other series")
	}
	if n := blockReads(log); n != 0 {
		t.Errorf("%d reads for what was read already", n)
	}
	if err := errors.Join(b.Close(), bkt.Close()); err != nil {
		t.Fatal(err)
	}
	log.Reset()
	if got := mustRead(t, openOver(t, cached(t, log, opts), dir, Options{}), 0, 3000, equal("cluster", "eu")); got != want {
		t.Error("the answer after a restart differs from the first")
	}
	if n := blockReads(log); n != 0 {
		t.Errorf("%d reads after a restart", n)
	}
}

// A query over very many new blocks does not hold the whole index of each: where
// there is no room, what a header needs is read, and the answer is the same.
func TestIndexesAreReadWholeWithinABound(t *testing.T) {
	memory := objstoretest.NewMemory()
	for range 3 {
		blocktest.Put(t, memory, wideBlock(300, 1))
	}
	var want string
	reads := map[int64]int{}
	for _, room := range []int64{wholeIndexes, 0} {
		log := objstoretest.NewRecorder(memory)
		b := openOver(t, cached(t, log, cache.Options{}), t.TempDir(), Options{})
		b.src.whole = semaphore.NewWeighted(room)
		got := mustRead(t, b, 0, 3000, equal("cluster", "eu"))
		if want == "" {
			want = got
		}
		if got == "" || got != want {
			t.Errorf("with room for %d bytes the answer differs", room)
		}
		reads[room] = blockReads(log)
	}
	if reads[0] <= reads[wholeIndexes] {
		t.Errorf("reads by room: %v", reads)
	}
}

// TestFaultsAreNotRemembered reads a block whose objects are broken on the way,
// then again.
func TestFaultsAreNotRemembered(t *testing.T) {
	memory := objstoretest.NewMemory()
	blocktest.Put(t, memory, wideBlock(300, 1))
	want := mustRead(t, openOver(t, memory, t.TempDir(), Options{}), 0, 1000, equal("cluster", "eu"))
	for name, fault := range map[string]objstoretest.Fault{
		"failed":    objstoretest.Fail(errors.New("away")),
		"broken":    objstoretest.Break(100, errors.New("away")),
		"truncated": objstoretest.Truncate(100),
		"flipped":   objstoretest.Flip(5000),
	} {
		for _, object := range []string{"index", "chunks"} {
			faulty := objstoretest.NewFaulty(memory)
			b := openOver(t, cached(t, faulty, cache.Options{Dir: t.TempDir()}), t.TempDir(), Options{})
			faulty.Set(objstoretest.Rule{Op: objstore.OpGetRange, Name: object, Times: 1, Fault: fault})
			got, _, err := read(t.Context(), b, 0, 1000, equal("cluster", "eu"))
			if err == nil && got != want || err != nil && !errors.As(err, new(*BlockError)) {
				t.Errorf("%s %s: a wrong answer, or the wrong error %v", name, object, err)
			}
			if got := mustRead(t, b, 0, 1000, equal("cluster", "eu")); got != want {
				t.Errorf("%s %s: the answer after it is wrong", name, object)
			}
		}
	}
}

func TestContentVersion(t *testing.T) {
	meta := func() *block.Meta {
		return &block.Meta{MinTime: 1, MaxTime: 2, Thanos: block.Thanos{Files: []block.File{{RelPath: "index", SizeBytes: 5}}}}
	}
	seen := map[string]string{contentVersion(meta(), time.Time{}): "as it is"}
	for name, change := range map[string]func(*block.Meta){
		"size":     func(m *block.Meta) { m.Thanos.Files[0].SizeBytes++ },
		"file":     func(m *block.Meta) { m.Thanos.Files[0].RelPath = "chunks/000001" },
		"uploaded": func(m *block.Meta) { m.Thanos.UploadTime = time.Unix(1, 0) },
		"hash":     func(m *block.Meta) { m.Thanos.Files[0].Hash = &block.FileHash{Func: block.HashSHA256, Value: "ab"} },
		"samples":  func(m *block.Meta) { m.Stats.NumSamples++ },
		"level":    func(m *block.Meta) { m.Compaction.Level++ },
	} {
		m := meta()
		change(m)
		if other, ok := seen[contentVersion(m, time.Time{})]; ok {
			t.Errorf("%s has the version of %s", name, other)
		}
		seen[contentVersion(m, time.Time{})] = name
	}
	for name, at := range map[string]time.Time{"written": time.Unix(1, 0), "written later": time.Unix(1, 1)} {
		if other, ok := seen[contentVersion(meta(), at)]; ok {
			t.Errorf("%s has the version of %s", name, other)
		}
		seen[contentVersion(meta(), at)] = name
	}
	if again := contentVersion(meta(), time.Time{}); again != contentVersion(meta(), time.Time{}) {
		t.Error("the version changes by itself")
	}
}

// TestCanceledReaderBehindACache does not take others down with it.
func TestCanceledReaderBehindACache(t *testing.T) {
	memory := objstoretest.NewMemory()
	blocktest.Put(t, memory, wideBlock(300, 1))
	b := openOver(t, cached(t, memory, cache.Options{}), t.TempDir(), Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := read(ctx, b, 0, 1000, equal("cluster", "eu")); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	mustRead(t, b, 0, 1000, equal("cluster", "eu"))
}

// TestCostBehindACache reads what is remembered: the account of the query and
// that of its host tell, and a limit of what it may read heeds no difference.
func TestCostBehindACache(t *testing.T) {
	memory := objstoretest.NewMemory()
	blocktest.Put(t, memory, wideBlock(300, 1))
	b := openOver(t, cached(t, memory, cache.Options{}), t.TempDir(), Options{})
	mustRead(t, b, 0, 1000, equal("__name__", "m1"))

	cost, account := budgetOf(t, BudgetOptions{}).Open(), &objstore.Account{}
	defer cost.Close()
	if _, _, err := read(objstore.WithAccount(WithCost(t.Context(), cost), account), b, 0, 1000, equal("__name__", "m1")); err != nil {
		t.Fatal(err)
	}
	var hits, bytes int64
	for kind, f := range cost.Report().Fetched {
		if f.Requests != 0 || (f.CacheHits > 0) != (kind != "header") || f.CacheBytes < f.CacheHits {
			t.Errorf("%s: %+v, want it found in the cache, but for the header", kind, f)
		}
		hits, bytes = hits+f.CacheHits, bytes+f.CacheBytes
	}
	if account.CacheHits() != hits || account.CacheBytes() != bytes {
		t.Errorf("the host's account has %d hits with %d bytes, the query's %d with %d", account.CacheHits(), account.CacheBytes(), hits, bytes)
	}
	tight := budgetOf(t, BudgetOptions{QueryFetch: 100}).Open()
	defer tight.Close()
	var refused *LimitError
	if _, _, err := read(WithCost(t.Context(), tight), b, 0, 1000, equal("__name__", "m1")); !errors.As(err, &refused) || refused.Limit != "QueryFetch" {
		t.Errorf("%v, want the limit of what a query may read", err)
	}
}

// TestDamageOnTheWayIsNotBlamedOnTheObject has a wrong byte remembered, which a
// later query meets, and one that the first query meets.
func TestDamageOnTheWayIsNotBlamedOnTheObject(t *testing.T) {
	memory := objstoretest.NewMemory()
	blocktest.Put(t, memory, wideBlock(300, 1))
	want := mustRead(t, openOver(t, memory, t.TempDir(), Options{}), 0, 1000, equal("cluster", "eu"))
	for _, object := range []string{"index", "chunks"} {
		faulty := objstoretest.NewFaulty(memory)
		b := openOver(t, cached(t, faulty, cache.Options{Dir: t.TempDir()}), t.TempDir(), Options{})
		for offset := int64(40); offset < 4000; offset += 400 {
			faulty.Set(objstoretest.Rule{Op: objstore.OpGetRange, Name: object, Times: 1, Fault: objstoretest.Flip(offset)})
			if got := mustRead(t, b, 0, 1000, equal("cluster", "eu")); got != want {
				t.Errorf("%s at %d: a wrong answer", object, offset)
			}
		}
		if faulty.Struck() == 0 {
			t.Errorf("%s: nothing was damaged", object)
		}
		for _, status := range b.Blocks() {
			if len(status.Faults) > 0 {
				t.Errorf("%s: %v", object, status.Faults)
			}
		}
	}
}

// TestRepairedObjectIsReadPastTheCache breaks a block's chunks, which is
// remembered, and repairs them.
func TestRepairedObjectIsReadPastTheCache(t *testing.T) {
	memory := objstoretest.NewMemory()
	id := blocktest.Put(t, memory, wideBlock(300, 1))
	want := mustRead(t, openOver(t, memory, t.TempDir(), Options{}), 0, 1000, equal("cluster", "eu"))
	object := block.ChunksObject(id, 1)
	good := memory.Objects()[object]
	broken := slices.Clone(good)
	broken[100] ^= 1
	memory.Put(object, broken)
	reg := prometheus.NewRegistry()
	b := openOver(t, cached(t, memory, cache.Options{Registerer: reg}), t.TempDir(), Options{})
	if _, _, err := read(t.Context(), b, 0, 1000, equal("cluster", "eu")); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("%v, want what is broken", err)
	}
	if faults := b.Blocks()[0].Faults; len(faults) != 1 || faults[0].Object != object {
		t.Errorf("%v are in quarantine, want the chunk", faults)
	}
	memory.Put(object, good)
	if err := b.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := mustRead(t, b, 0, 1000, equal("cluster", "eu")); got != want {
		t.Error("a wrong answer after the repair")
	}
	const none = `# HELP varve_objstore_cache_contradicted_total Times that a reader could make no sense of what was remembered, and it was read again.
# TYPE varve_objstore_cache_contradicted_total counter
varve_objstore_cache_contradicted_total 0
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(none), "varve_objstore_cache_contradicted_total"); err != nil {
		t.Error(err)
	}
}
