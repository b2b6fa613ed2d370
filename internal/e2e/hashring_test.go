package e2e

import (
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/prometheus/prompb"
)

// patient has a receiver wait for others longer than a busy machine takes.
const patient = "--receive-forward-timeout=30s"

// startRing starts two receivers of Varve and one of Thanos in one hashring.
func startRing(t *testing.T, algorithm string, replicas int) (one, other, thanos *receiver) {
	t.Helper()
	one, other, thanos = newReceiver(t), newReceiver(t), newReceiver(t)
	members := []*receiver{one, other, thanos}
	binary := example(t, "receive")
	thanos.startThanos(t, "thanos", newHashring(t, algorithm, replicas, true, members...), thanos.local(), patient)
	one.startVarve(t, binary, "one", newHashring(t, algorithm, replicas, true, members...), one.local(), patient)
	other.startVarve(t, binary, "other", newHashring(t, algorithm, replicas, false, members...), other.local(), patient)
	return one, other, thanos
}

// What is sent to any of the three, each of them stores its share of, so that a
// series is on the same two of them whoever has shared it out.
func TestThanosInTheRing(t *testing.T) {
	for _, algorithm := range []string{"ketama", "hashmod"} {
		t.Run(algorithm, func(t *testing.T) {
			one, other, thanos := startRing(t, algorithm, 2)
			members := []*receiver{one, other, thanos}
			start := time.Now().Add(-time.Minute).Truncate(time.Second)
			times := map[string]string{} // of a batch, by who it was sent to
			for i, r := range []*receiver{one, thanos, other} {
				at := start.Add(time.Duration(i) * 10 * time.Second)
				// One of two copies is enough for an answer.
				spread(t, r, ringBatch(at), 2, members...)
				times[r.name] = fmt.Sprintf("@%d", at.UnixMilli())
			}
			placed := map[string]map[string][]string{} // receivers by series by who routed
			for _, r := range members {
				if err := r.terminate(t, time.Minute); err != nil {
					t.Fatalf("%s ended with %v after SIGTERM", r.name, err)
				}
				stored := r.stored(t, "default-tenant")
				t.Logf("%s has %d series of %d", r.name, len(stored), ringSeries)
				if len(stored) == 0 {
					t.Errorf("%s has got no share", r.name)
				}
				for series, samples := range stored {
					for router, at := range times {
						if slices.ContainsFunc(samples, func(s string) bool { return strings.HasSuffix(s, at) }) {
							if placed[series] == nil {
								placed[series] = map[string][]string{}
							}
							placed[series][router] = append(placed[series][router], r.name)
						}
					}
				}
			}
			if len(placed) != ringSeries {
				t.Errorf("%d series are stored, want %d", len(placed), ringSeries)
			}
			for series, by := range placed {
				want := by[thanos.name]
				if len(want) != 2 || !slices.Equal(by[one.name], want) || !slices.Equal(by[other.name], want) {
					t.Errorf("%s is on %v, want the same two from each", series, by)
				}
			}
		})
	}
}

// Routers of either kind before stores of either kind, which know of no hashring.
func TestRoutersBeforeStores(t *testing.T) {
	binary, bucket := example(t, "receive"), t.TempDir()
	stores := []*receiver{newReceiver(t), newReceiver(t)}
	stores[0].startThanos(t, "thanos-store", hashring{})
	stores[1].startVarve(t, binary, "varve-store", hashring{}, "--objstore.config-file="+
		writeFile(t, "bucket.yaml", "type: FILESYSTEM\nconfig: {directory: "+bucket+"}\n"))
	routers := []*receiver{newReceiver(t), newReceiver(t)}
	ring := newHashring(t, "ketama", 1, true, stores...)
	routers[0].startThanos(t, "thanos-router", ring)
	routers[1].startVarve(t, binary, "varve-router", ring)

	want := map[string]bool{}
	for i, r := range routers {
		batch := ringBatch(time.Now().Add(time.Duration(i-6) * 10 * time.Second).Truncate(time.Second))
		r.mustSend(t, batch)
		maps.Copy(want, batchText(batch))
	}
	owner := map[string]string{}
	for _, r := range stores {
		if err := r.terminate(t, time.Minute); err != nil {
			t.Fatalf("%s ended with %v after SIGTERM", r.name, err)
		}
		stored := r.stored(t, "default-tenant")
		t.Logf("%s has %d series of %d", r.name, len(stored), ringSeries)
		for series, samples := range stored {
			if owner[series] != "" || len(samples) != len(routers) {
				t.Errorf("%s is on %s and %s (%v there), want it on one, with a sample from each router", series, owner[series], r.name, samples)
			}
			owner[series] = r.name
			for _, s := range samples {
				delete(want, series+" "+s)
			}
		}
	}
	if len(owner) != ringSeries || len(want) > 0 {
		t.Errorf("%d series are stored of %d, and missing are %d samples: %v", len(owner), ringSeries, len(want), want)
	}
	if blocks, err := filepath.Glob(filepath.Join(bucket, "*", "meta.json")); err != nil || len(blocks) == 0 {
		t.Errorf("nothing was shipped before the end (%v)", err)
	}
	for _, r := range routers {
		if err := r.terminate(t, time.Minute); err != nil {
			t.Errorf("%s ended with %v after SIGTERM", r.name, err)
		}
	}
}

// All have all: the values are the sender's, a receiver that hangs is not waited
// for, and what is refused is refused whoever is asked. What is acknowledged is on
// a quorum; a third copy is not waited for, but comes.
func TestQuorumWithThanos(t *testing.T) {
	one, other, thanos := startRing(t, "ketama", 3)
	all := []*receiver{one, other, thanos}
	start := time.Now().Add(-2 * time.Minute).Truncate(time.Second)
	sent := 0
	next := func() []prompb.TimeSeries {
		sent++
		return ringBatch(start.Add(time.Duration(sent) * 10 * time.Second))
	}
	// From here on they reach each other, and none of the series is new.
	for _, r := range all {
		spread(t, r, next(), 3, all...)
	}
	for _, r := range []*receiver{one, other} {
		once := next()
		if status, text := r.send(t, once); status != http.StatusNoContent {
			t.Errorf("%s answers %d: %s", r.name, status, text)
		}
		eventually(t, time.Minute, func() error { return copiesOf(t, once, 3, all...) })
	}

	t.Run("Thanos hangs", func(t *testing.T) {
		thanos.signal(syscall.SIGSTOP)
		defer thanos.signal(syscall.SIGCONT)
		if status, text := one.send(t, next()); status != http.StatusNoContent {
			t.Errorf("%d: %s", status, text)
		}
	})
	t.Run("Varve hangs", func(t *testing.T) {
		other.signal(syscall.SIGSTOP)
		defer other.signal(syscall.SIGCONT)
		thanos.mustSend(t, next())
		one.mustSend(t, next())
	})

	// A receiver that has not seen the right value, or has seen a later one and
	// takes what is out of order, stores the wrong one, and rightly. So all have the
	// right one before, and nothing comes after.
	newest := next()
	spread(t, one, newest, 3, all...)
	t.Run("the same again", func(t *testing.T) {
		if status, text := one.send(t, newest); status != http.StatusNoContent {
			t.Errorf("%d: %s", status, text)
		}
	})
	t.Run("another value for the same time", func(t *testing.T) {
		wrong := newest[1:2]
		wrong[0].Samples[0].Value++
		if status, text := one.send(t, wrong); status != http.StatusBadRequest || !strings.Contains(text, "ring_1") {
			t.Errorf("Varve answers %d: %s", status, text)
		}
		if status, text := thanos.send(t, wrong); status != http.StatusConflict {
			t.Errorf("Thanos answers %d: %s", status, text)
		}
	})

	copies := map[string]int{}
	for _, r := range all {
		if err := r.terminate(t, time.Minute); err != nil {
			t.Fatalf("%s ended with %v after SIGTERM", r.name, err)
		}
		for series, samples := range r.stored(t, "default-tenant") {
			for _, sample := range samples {
				copies[series+" "+sample]++
			}
		}
	}
	want := map[string]bool{}
	for i := range sent {
		maps.Copy(want, batchText(ringBatch(start.Add(time.Duration(i+1)*10*time.Second))))
	}
	for sample := range want {
		if copies[sample] < 2 {
			t.Errorf("%s is on %d receivers, want 2 at least", sample, copies[sample])
		}
	}
	for sample := range copies {
		if !want[sample] {
			t.Errorf("%s was never sent", sample)
		}
	}
}
