package receive

import (
	"math/rand/v2"
	"testing"
)

// Senders choose labels, and so can choose keys that are alike in the bits that
// say where to look for them.
func TestKeysThatAreAlike(t *testing.T) {
	var table keyTable[int]
	random := rand.New(rand.NewPCG(1, 2))
	const n = 10_000
	for i := range n {
		table.put(keyEntry[int]{[2]uint64{random.Uint64()<<32 | 7, uint64(i)}, i})
	}
	run, longest := 0, 0
	for _, place := range table.index {
		if run++; place == 0 {
			run = 0
		}
		longest = max(longest, run)
	}
	if longest > n/20 {
		t.Errorf("of %d keys %d have to be looked at for one", n, longest)
	}
	for i, e := range table.learnt {
		if at, ok := table.find(e.key); !ok || int(at) != i || e.value != i {
			t.Fatalf("entry %d is found at %d (%v), with %d", i, at, ok, e.value)
		}
	}
	if _, ok := table.find([2]uint64{7, n}); ok {
		t.Error("a key is found that was never put")
	}
}
