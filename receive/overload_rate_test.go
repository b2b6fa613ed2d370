package receive

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// Whatever comes, over any stretch of time no more is let through than the burst,
// what the rate allows in it, and one request; and whoever waits as told gets
// through.
func TestSampleRate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limits := &Limits{
			SamplesPerSecond: rapid.Float64Range(0.01, 1e6).Draw(t, "rate"),
			SamplesBurst:     rapid.Float64Range(0, 1e6).Draw(t, "burst"),
		}
		type passed struct {
			at time.Time
			n  int
		}
		var (
			rate sampleRate
			now  = time.Unix(1e9, 0)
			all  []passed
		)
		for range rapid.IntRange(1, 40).Draw(t, "requests") {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(30*time.Second)).Draw(t, "pause")))
			n := rapid.IntRange(0, 20_000).Draw(t, "samples")
			wait := rate.wait(now, limits)
			if wait < 0 || wait > mostRateWait {
				t.Fatalf("a wait of %v", wait)
			}
			if wait > 0 {
				if wait < mostRateWait {
					rested := rate
					if again := rested.wait(now.Add(wait+time.Millisecond), limits); again > time.Millisecond {
						t.Fatalf("told to wait for %v, then for %v more", wait, again)
					}
				}
				continue
			}
			rate.add(n)
			all = append(all, passed{now, n})
		}
		for i := range all {
			sum := 0.0
			for j := i; j < len(all); j++ {
				most := limits.burst() + limits.SamplesPerSecond*all[j].at.Sub(all[i].at).Seconds()
				if sum > most*1.000001+1 {
					t.Fatalf("%v samples before the one at %v, more than %v", sum, all[j].at.Sub(all[i].at), most)
				}
				sum += float64(all[j].n)
			}
		}
	})
}

// A rate that is lifted or raised holds at once.
func TestSampleRateThatChanges(t *testing.T) {
	var rate sampleRate
	now := time.Unix(1e9, 0)
	slow := &Limits{SamplesPerSecond: 1}
	rate.wait(now, slow)
	rate.add(1_000_000)
	if rate.wait(now, slow) != mostRateWait {
		t.Error("over the rate, and no wait")
	}
	if wait := rate.wait(now, &Limits{SamplesPerSecond: 1e6}); wait != 0 {
		t.Errorf("a wait of %v within the burst", wait)
	}
	if wait := rate.wait(now, &Limits{}); wait != 0 {
		t.Errorf("a wait of %v without a limit", wait)
	}
}

// Tenants that are named once and never again are forgotten once their rate has
// run out, though nothing of theirs was ever stored.
func TestRatesOfTenantsThatAreGoneAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestHandler(t, newFakeStorage(), HandlerOptions{Limits: func() *LimitSet {
			return &LimitSet{Default: Limits{SamplesPerSecond: 1}}
		}})
		send := func(tenant string) {
			// No metric name: nothing of it is stored.
			req := rwRequest{message: v1(v1Series(nil, nowMs())), headers: map[string]string{DefaultTenantHeader: tenant}}
			wantAnswer(t, req.send(t, h), http.StatusBadRequest)
		}
		for i := range 4 * fewestLoads {
			send(fmt.Sprint("once-", i))
			time.Sleep(time.Second)
		}
		if n := len(h.load.tenants); n > fewestLoads+1 {
			t.Errorf("the rates of %d tenants are kept", n)
		}
	})
}
