package receive

import (
	"runtime"
	"testing"

	"github.com/prometheus/prometheus/storage"
)

func forcedCollections() uint32 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.NumForcedGC
}

// What is left behind is collected when it is much, and once.
func TestGarbageIsCollected(t *testing.T) {
	var g garbage
	runtime.GC()
	before := forcedCollections()
	for range 3 {
		g.add(leastGarbage / 8)
	}
	if n := forcedCollections() - before; n != 0 {
		t.Fatalf("%d collections for little", n)
	}
	most := int64(heapInUse())/garbageShare + leastGarbage
	before = forcedCollections()
	g.add(most + 1)
	g.add(leastGarbage / 8)
	if n := forcedCollections() - before; n != 1 {
		t.Fatalf("%d collections, want one", n)
	}
}

// Mapping chunks takes more memory than a few of them do.
func TestFewChunksStayInMemory(t *testing.T) {
	tenants := openTenants(t, t.TempDir(), TenantsOptions{})
	mapped := func(tenant string) bool {
		if err := tenants.Compact(t.Context()); err != nil {
			t.Fatal(err)
		}
		return dirSize(tenants.slots[tenant].head.mappedChunks()) > 0
	}
	fillTenant(t, tenants, "small", 100, 130)
	if mapped("small") {
		t.Error("a hundred full chunks are mapped")
	}
	fillTenant(t, tenants, "large", fewestMapped+1, 130)
	if !mapped("large") {
		t.Error("full chunks stay in memory however many they are")
	}
	mustWriteHistogram(t, tenants, "histograms")
	if !mapped("histograms") {
		t.Error("full chunks of histograms stay in memory")
	}
}

// mustWriteHistogram makes a tenant of one series whose first chunk is full.
func mustWriteHistogram(t *testing.T, tenants *Tenants, tenant string) {
	t.Helper()
	w := newMemoryWriter(tenant, 1)
	for scrape := range 300 {
		app, err := tenants.Appender(t.Context(), tenant)
		if err != nil {
			t.Fatal(err)
		}
		if w.refs[0], err = app.Append(w.refs[0], w.lss[0], 0, writeTime(scrape), 0, writeHistogram(0, scrape), nil, storage.AOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := app.Commit(); err != nil {
			t.Fatal(err)
		}
	}
}
