package store

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/varve-tsdb/varve/internal/blocktest"
	"github.com/varve-tsdb/varve/internal/indexheader"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

// putDays stores n blocks that follow each other, of 1000 ms each.
func putDays(t *testing.T, bkt *objstoretest.Memory, n int64) {
	t.Helper()
	for i := range n {
		b := wideBlock(200, 1)
		for s := range b.Series {
			b.Series[s].Samples = blocktest.Floats(i*1000, i*1000+1000, 100, float64(i))
		}
		blocktest.Put(t, bkt, b)
	}
}

// headerFiles lists the headers in dir with their sizes.
func headerFiles(t *testing.T, dir string) (n int, bytes int64) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*", headerFilename))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		bytes += info.Size()
	}
	return len(paths), bytes
}

func TestHeadersKeepToTheirBudgets(t *testing.T) {
	bkt := objstoretest.NewMemory()
	putDays(t, bkt, 10)
	dir := t.TempDir()
	b := openOver(t, bkt, dir, Options{})
	want := mustRead(t, b, 0, 10_000, equal("cluster", "eu"))
	n, size := headerFiles(t, dir)
	if n != 10 {
		t.Fatalf("%d headers of 10 blocks", n)
	}
	var memory int64
	for _, use := range b.src.headers.open {
		memory += use.bytes
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}

	reg := prometheus.NewRegistry()
	opts := Options{HeaderDiskBytes: 4 * size / 10, HeaderMemoryBytes: 3 * memory / 10, Registerer: reg}
	b = openOver(t, bkt, dir, opts)
	if n, _ := headerFiles(t, dir); n != 4 {
		t.Errorf("%d headers are left after a restart with a budget for four", n)
	}
	for range 2 {
		for i := range int64(10) {
			if mustRead(t, b, i*1000, i*1000+999, equal("cluster", "eu")) == "" {
				t.Fatal("a block answers nothing")
			}
			b.src.running.Wait() // what is over the budget goes in the background
			if n, bytes := headerFiles(t, dir); bytes > opts.HeaderDiskBytes {
				t.Errorf("%d headers of %d bytes are on disk, the budget is %d", n, bytes, opts.HeaderDiskBytes)
			}
			if n := len(b.src.headers.open); n > 3 || n == 0 {
				t.Errorf("%d headers are open, the budget is for three", n)
			}
		}
	}
	if got := mustRead(t, b, 0, 10_000, equal("cluster", "eu")); got != want {
		t.Error("the answer of all blocks at once differs")
	}
	b.src.running.Wait()
	if n := len(b.src.headers.open); n > 3 {
		t.Errorf("%d headers are open once the query that needed all has ended", n)
	}
	for _, place := range []string{placeMemory, placeDisk} {
		if n := testutil.ToFloat64(b.metrics.headerEvictions.WithLabelValues(place)); n == 0 {
			t.Errorf("no evictions from %s are counted", place)
		}
	}
	n, size = headerFiles(t, dir)
	if got := testutil.ToFloat64(b.metrics.headerBytes.WithLabelValues(placeDisk)); int64(got) != size {
		t.Errorf("the gauge says %v bytes on disk, there are %d in %d files", got, size, n)
	}
}

// TestWhatIsUsedStaysOpen asks for one block between all others.
func TestWhatIsUsedStaysOpen(t *testing.T) {
	bkt := objstoretest.NewMemory()
	putDays(t, bkt, 6)
	dir := t.TempDir()
	mustRead(t, openOver(t, bkt, dir, Options{}), 0, 5999, equal("cluster", "eu"))
	_, size := headerFiles(t, dir)
	b := openOver(t, bkt, t.TempDir(), Options{HeaderDiskBytes: size / 2, HeaderMemoryBytes: 1})
	mustRead(t, b, 0, 999, equal("cluster", "eu"))
	builds := testutil.ToFloat64(b.metrics.headerBuilds)
	for i := range int64(5) {
		time.Sleep(2 * time.Millisecond) // clocks may be coarse
		mustRead(t, b, (i+1)*1000, (i+1)*1000+999, equal("cluster", "eu"))
		time.Sleep(2 * time.Millisecond)
		mustRead(t, b, 0, 999, equal("cluster", "eu"))
	}
	b.src.running.Wait()
	if n := testutil.ToFloat64(b.metrics.headerBuilds) - builds; n != 5 {
		t.Errorf("%v headers were built for five new blocks", n)
	}
	if n := testutil.ToFloat64(b.metrics.headerEvictions.WithLabelValues(placeDisk)); n != 3 {
		t.Errorf("%v of six headers were removed, the budget is for three", n)
	}
}

// TestHeadersAreSafeWhileQueriesUseThem has no budget at all and many queries.
func TestHeadersAreSafeWhileQueriesUseThem(t *testing.T) {
	bkt := objstoretest.NewMemory()
	putDays(t, bkt, 6)
	want := map[int64]string{}
	plain := openOver(t, bkt, t.TempDir(), Options{})
	for i := range int64(6) {
		want[i] = mustRead(t, plain, i*1000, i*1000+1999, like("i", "0001."))
	}
	b := openOver(t, bkt, t.TempDir(), Options{HeaderDiskBytes: 1, HeaderMemoryBytes: 1})
	var wg sync.WaitGroup
	for worker := range int64(6) {
		wg.Go(func() {
			for n := range int64(15) {
				i := (worker + n) % 6
				got, _, err := read(t.Context(), b, i*1000, i*1000+1999, like("i", "0001."))
				if err != nil || got != want[i] {
					t.Errorf("block %d: %v, or a wrong answer", i, err)
				}
			}
		})
	}
	wg.Wait()
	b.src.running.Wait()
	if n := len(b.src.headers.open); n != 0 {
		t.Errorf("%d headers are open after the last query, with no budget", n)
	}
	for _, s := range b.set.streams {
		for _, block := range s.blocks {
			if block.header.reader != nil {
				t.Errorf("the header of %s is open, and the budget does not know", block.id)
			}
		}
	}
}

// TestHeaderOfALeavingBlockStaysOpen has a block leave the bucket between two reads of
// a querier, and another querier close whatever is not used.
func TestHeaderOfALeavingBlockStaysOpen(t *testing.T) {
	bkt, middle := threeBlocks(t)
	b := openOver(t, bkt, t.TempDir(), Options{HeaderMemoryBytes: 1})
	q, err := b.ChunkQuerier(100, 199)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	for n := range 2 {
		if values, _, err := q.LabelValues(t.Context(), "__name__", nil); err != nil || len(values) != 2 {
			t.Fatalf("read %d: %v, %v", n, values, err)
		}
		if n == 0 {
			blocktest.Remove(t, bkt, middle)
			if err := b.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
			mustRead(t, b, 0, 99, equal("__name__", "one"))
			b.src.running.Wait()
		}
	}
}

func TestHeaderOptions(t *testing.T) {
	err := Options{HeaderMemoryBytes: -1, HeaderDiskBytes: -2}.Validate()
	for _, want := range []string{"Options.HeaderMemoryBytes is -1", "Options.HeaderDiskBytes is -2"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %q", err, want)
		}
	}
}

// TestForgottenHeaderDoesNotComeBack has one read find out that a header is
// damaged while another is about to keep it.
func TestForgottenHeaderDoesNotComeBack(t *testing.T) {
	damaged, whole := new(indexheader.Reader), new(indexheader.Reader)
	r := &blockReader{opened: damaged}
	r.forget(damaged)
	if got, err := r.remember(damaged, nil, false); got != nil || err != nil {
		t.Errorf("the damaged header is kept, %v", err)
	}
	if got, err := r.remember(whole, nil, false); got != whole || err != nil {
		t.Errorf("the new header is not kept, %v", err)
	}
	if got, _ := r.remember(damaged, nil, false); got != whole {
		t.Error("the damaged header takes the place of the new one")
	}
}
