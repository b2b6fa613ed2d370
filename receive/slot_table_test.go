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
		table := slotTable{factor: rapid.Uint64().Draw(t, "factor") | 1}
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

// Hashes of labels that somebody has made to agree in any of their bits do not
// start at the same slot.
func TestTablesSpreadKeysThatAgree(t *testing.T) {
	const size, n = 1 << 12, 200
	// A factor like any other: a random one may be bad for some of the bits.
	const factor = 0xd1342543de82ef95
	named, claims := slotTable{factor: factor, slots: make([]tableSlot, size)}, claimTable{factor: factor, slots: make([]claim, size)}
	for shift := range 57 {
		ofNamed, ofClaims := map[int]bool{}, map[int]bool{}
		for i := range uint64(n) {
			key := 0x123456789abcdef0&^(0xff<<shift) | i<<shift
			ofNamed[named.start(key)], ofClaims[claims.start(key)] = true, true
		}
		if least := min(len(ofNamed), len(ofClaims)); least < n/4 {
			t.Errorf("%d keys that agree but for the bits from %d on start at %d slots", n, shift, least)
		}
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
