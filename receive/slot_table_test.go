package receive

import (
	"testing"

	"pgregory.net/rapid"
)

// A table is a map that numbers its keys, and takes the last one back.
func TestSlotTableAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table := slotTable{seed: rapid.Uint64().Draw(t, "seed")}
		for range 2 {
			model := map[uint64]int{}
			for range rapid.IntRange(0, 300).Draw(t, "n") {
				key := rapid.OneOf(rapid.Uint64Range(0, 200), rapid.Just(uint64(1)<<40), rapid.Uint64()).Draw(t, "key")
				want, known := model[key]
				if got, ok := table.get(key); ok != known || ok && got != want {
					t.Fatalf("get %d: %d, %v, want %d, %v", key, got, ok, want, known)
				}
				n, fresh := table.add(key)
				if fresh == known || known && n != want || !known && n != len(model) {
					t.Fatalf("add %d: %d, %v with %d keys", key, n, fresh, len(model))
				}
				if fresh && rapid.Bool().Draw(t, "remove") {
					table.removeLast(key)
				} else {
					model[key] = n
				}
			}
			for key, want := range model {
				if got, ok := table.get(key); !ok || got != want {
					t.Fatalf("%d is lost", key)
				}
			}
			table.reset()
		}
	})
}

// Hashes that collide under one seed do not under another.
func TestSlotTableSeed(t *testing.T) {
	size := 1 << 12
	mask := uint64(size - 1)
	a, b := slotTable{seed: 3, slots: make([]tableSlot, size)}, slotTable{seed: 0xdeadbeefcafef00d, slots: make([]tableSlot, size)}
	var same []uint64
	for key := uint64(0); len(same) < 200; key += 0x1234567 {
		if uint64(a.start(key))&mask == 7 {
			same = append(same, key)
		}
	}
	starts := map[int]bool{}
	for _, key := range same {
		starts[b.start(key)] = true
	}
	if len(starts) < 100 {
		t.Errorf("200 keys that start at one slot under a seed start at %d under another", len(starts))
	}
}
