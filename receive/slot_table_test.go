package receive

import (
	"math/rand/v2"
	"testing"
	"time"

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

// BenchmarkSlotTable prints what the references of a request of 2,000 series cost,
// each in nanoseconds, beside a map of the language: in one run that counts up, and
// in the runs that are left when several senders make series at the same time.
//
//	go test ./receive -run '^$' -bench SlotTable
func BenchmarkSlotTable(b *testing.B) {
	for _, run := range []int{2000, 250, 40, 1} {
		b.Run(sprint("run=", run), func(b *testing.B) {
			random := rand.New(rand.NewPCG(1, 2))
			var keys []uint64
			for at := uint64(60_000); len(keys) < 2000; at += uint64(random.IntN(14 * run)) {
				for range run {
					at++
					keys = append(keys, at)
				}
			}
			each := func(elapsed time.Duration) float64 {
				return float64(elapsed.Nanoseconds()) / float64(b.N*len(keys))
			}
			start := time.Now()
			floor := map[uint64]int{}
			for range b.N {
				clear(floor)
				for i, key := range keys {
					floor[key] = i
				}
			}
			ofMap := each(time.Since(start))
			var table slotTable
			b.ResetTimer()
			for range b.N {
				table.reset()
				for _, key := range keys {
					table.add(key)
				}
			}
			b.ReportMetric(each(b.Elapsed()), "ns/key")
			b.ReportMetric(each(b.Elapsed())/ofMap, "of-map")
		})
	}
}
