package receive

import (
	"runtime"
	"testing"
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

// A host that wants to see to it by itself is left alone.
func TestGarbageIsKept(t *testing.T) {
	tenants := openTenants(t, t.TempDir(), TenantsOptions{KeepGarbage: true})
	mustWrite(t, tenants, "a", base, 1, up("1"))
	most := int64(heapInUse())/garbageShare + leastGarbage
	before := forcedCollections()
	tenants.slots["a"].head.garbage.add(most + 1)
	if n := forcedCollections() - before; n != 0 {
		t.Errorf("%d collections", n)
	}
}
