package receive

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Calls begin and end in any order. The model keeps what the documentation
// promises: who has failed is left alone for between half of the doubled time
// and all of it, then called by one alone, and a failure of calls that began
// before does not count twice.
func TestForwardBackoff(t *testing.T) {
	const shortest, longest = 100 * time.Millisecond, 5 * time.Second
	rapid.Check(t, func(t *rapid.T) {
		var b forwardBackoff
		now := time.Unix(0, 0)
		var open []int   // rounds of the calls under way
		var failures int // in a row that counted
		var failedAt time.Time
		var probe bool
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.SampledFrom([]string{"enter", "enter", "fail", "work", "wait"}).Draw(t, "step") {
			case "enter":
				full := min(shortest<<max(failures-1, 0), longest)
				round, ok := b.enter(now)
				switch waited := now.Sub(failedAt); {
				case failures == 0 && !ok:
					t.Fatal("refused, though nothing has failed")
				case failures > 0 && ok && (probe || waited < full/2):
					t.Fatalf("called %v after failure %d, another alone %v", waited, failures, probe)
				case failures > 0 && !ok && !probe && waited >= full:
					t.Fatalf("left alone for %v after failure %d", waited, failures)
				}
				if ok {
					open = append(open, round)
					probe = failures > 0
				}
			case "fail", "work":
				if len(open) == 0 {
					continue
				}
				i := rapid.IntRange(0, len(open)-1).Draw(t, "call")
				round := open[i]
				open = append(open[:i:i], open[i+1:]...)
				counts := round == b.round
				before := failures
				failed := rapid.Bool().Draw(t, "failed")
				turned := b.leave(round, failed, now, rapid.Float64Range(0, 0.999).Draw(t, "jitter"), shortest, longest)
				switch {
				case !failed:
					failures, probe = 0, false
				case counts:
					failures, failedAt, probe = failures+1, now, false
				}
				if turned != ((before == 0) != (failures == 0)) {
					t.Fatalf("from %d failures to %d, turned %v", before, failures, turned)
				}
			case "wait":
				now = now.Add(time.Duration(rapid.Int64Range(0, int64(6*time.Second)).Draw(t, "wait")))
			}
		}
	})
}

// However often a peer fails, the wait neither overflows nor shrinks.
func TestForwardBackoffGrowsToItsEnd(t *testing.T) {
	var b forwardBackoff
	now := time.Unix(0, 0)
	var last time.Duration
	for range 200 {
		round, ok := b.enter(now)
		if !ok {
			t.Fatal("left alone for longer than it says")
		}
		b.leave(round, true, now, 0.999999, 100*time.Millisecond, 5*time.Second)
		wait := b.until.Sub(now)
		if wait < last*99/100 || wait > 5*time.Second {
			t.Fatalf("%v after %v", wait, last)
		}
		last, now = wait, b.until
	}
	if last < 4*time.Second {
		t.Errorf("the longest wait is %v", last)
	}
}
