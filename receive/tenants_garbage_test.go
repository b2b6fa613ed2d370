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
