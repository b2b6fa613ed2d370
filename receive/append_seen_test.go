package receive

import (
	"testing"

	"github.com/prometheus/prometheus/storage"
	"pgregory.net/rapid"
)

// Whatever order references come in, each has its newest sample, and a series
// whose sample was refused has not been there.
func TestSeenSeries(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s seenSeries
		for range 2 { // It is used again.
			model := map[storage.SeriesRef]int64{}
			var next storage.SeriesRef
			for step := range rapid.IntRange(0, 300).Draw(t, "steps") {
				next++
				ref := next
				if rapid.IntRange(0, 9).Draw(t, "again") == 0 {
					ref = storage.SeriesRef(rapid.IntRange(1, int(next)).Draw(t, "ref"))
				}
				if last, known := s.get(ref), model[ref]; (last == nil) != (known == 0) || last != nil && last.t != known {
					t.Fatalf("%d has %v, want %d", ref, last, known)
				}
				last, fresh := s.add(ref)
				if fresh != (model[ref] == 0) {
					t.Fatalf("%d is fresh: %v", ref, fresh)
				}
				if fresh && rapid.IntRange(0, 9).Draw(t, "refused") == 0 {
					s.removeLast(ref)
					continue
				}
				*last = appendLast{t: int64(step + 1)}
				model[ref] = int64(step + 1)
			}
			s.reset()
		}
	})
}
