package wiring

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/varve-tsdb/varve/internal/blocktest"
	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/cache"
	"github.com/varve-tsdb/varve/query"
)

// A query over blocks that nobody has read yet, whose indexes are read whole by
// way of a cache, holds its budget, what the cache may keep, and a bounded amount
// of indexes: package store says 64 MiB, of its wholeIndexes. With all of them at
// once it would be twice that here.
func TestLiveHeapWithColdHeadersBehindACache(t *testing.T) {
	const blocks, budget, remembered, indexes = 48, 16 << 20, 8 << 20, 64 << 20
	cold := func(t *testing.T) *manyBlocks {
		m := openBlocks(t, blocktest.Grid{Metrics: 100, Instances: 800, Samples: 2}, blocks, query.BudgetOptions{QueryBytes: budget},
			func(b objstore.Bucket) objstore.Bucket {
				around, err := cache.New(b, cache.Options{MemoryBytes: remembered})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = around.Close() })
				return around
			})
		var all int64
		for _, b := range m.hist.Blocks() {
			for _, object := range []string{"/index", "/chunks/000001"} {
				r, err := m.bucket.GetRange(t.Context(), b.Block.String()+object, 0, 4<<20)
				if err != nil {
					t.Fatal(err)
				}
				n, err := io.Copy(io.Discard, r)
				if err != nil || n == 4<<20 {
					t.Fatalf("%s has %d bytes or more, so that it is not read whole; %v", object, n, err)
				}
				if object == "/index" {
					all += n
				}
				r.Close()
			}
		}
		if 2*all < 2*indexes+budget+remembered {
			t.Fatalf("the indexes of all blocks have only %d bytes", all)
		}
		return m
	}
	for name, c := range map[string]struct {
		expr string
		code int
	}{
		"few series": {`count({instance="none"})`, http.StatusOK},
		"all series": {`count by (__name__) ({__name__=~".+"})`, http.StatusUnprocessableEntity},
	} {
		t.Run(name, func(t *testing.T) {
			m := cold(t)
			var got answered
			peak := peakHeap(func() { got = m.ask(t, c.expr) })
			if got.code != c.code || c.code != http.StatusOK && !strings.Contains(got.Error, "QueryBytes") {
				t.Errorf("%d %s", got.code, got.Error)
			}
			t.Logf("live heap +%d KiB, accounted for %d KiB, %v", peak>>10, got.Data.Stats.Cost.PeakBytes>>10, got.Data.Stats.Cost.Fetched["header"])
			if most := int64(budget + remembered + indexes); peak > most {
				t.Errorf("the live heap grew by %d bytes, more than the %d of the budget, the cache and indexes that are read whole", peak, most)
			}
			if used := m.budget.InUse(); used != 0 {
				t.Errorf("%d bytes of the budget are still in use", used)
			}
		})
	}
}
