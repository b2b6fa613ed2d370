package receive

import (
	"math"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"golang.org/x/sync/errgroup"
)

// An expression that names a series twice, as a/a does, has to see the same
// samples both times.
func TestSelectsOfOneQuerierSeeTheSameSamples(t *testing.T) {
	leakCheck(t)
	for name, window := range map[string]time.Duration{"in order": 0, "out of order": time.Hour} {
		t.Run(name, func(t *testing.T) {
			tenants := openTenants(t, t.TempDir(), TenantsOptions{OutOfOrderWindow: window})
			put := func(n int) {
				mustWrite(t, tenants, "a", base+seconds(n), 1, up("1"))
				if window > 0 {
					mustWrite(t, tenants, "a", base+seconds(n-10), 1, up("2"))
				}
			}
			if window > 0 {
				mustWrite(t, tenants, "a", base, 1, up("2"))
			}
			put(1)
			stored, err := tenants.StoredQuerier(t.Context(), "a", math.MinInt64, math.MaxInt64)
			if err != nil {
				t.Fatal(err)
			}
			defer stored.Close()
			all, err := tenants.ChunkQuerier(math.MinInt64, math.MaxInt64)
			if err != nil {
				t.Fatal(err)
			}
			defer all.Close()
			count := func(q storage.ChunkQuerier) (n int) {
				t.Helper()
				series, err := readFrom(t.Context(), q, math.MinInt64, math.MaxInt64, equal("instance", "1"))
				if err != nil || len(series) != 1 {
					t.Fatal(series, err)
				}
				return len(series[0].points)
			}
			count(all) // A tenant is opened by the first read of it.
			for i := range 3 {
				put(2 + i)
				for what, q := range map[string]storage.ChunkQuerier{"one tenant's": stored, "all tenants'": all} {
					if got := count(q); got != 1 {
						t.Errorf("after %d more commits %s querier has %d samples, want the one from before", i+1, what, got)
					}
				}
			}
		})
	}
}

// The Selects of an expression run side by side; the race detector watches.
func TestSelectsSideBySide(t *testing.T) {
	leakCheck(t)
	tenants := openTenants(t, t.TempDir(), TenantsOptions{OutOfOrderWindow: time.Hour})
	const n = 700 // Several chunks.
	for i := range n {
		mustWrite(t, tenants, "a", base+seconds(i), 1, up("1"), up("2"))
	}
	mustWrite(t, tenants, "a", base+1, 1, up("1"))
	q, err := tenants.StoredQuerier(t.Context(), "a", base, base+seconds(n))
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	hints := &storage.SelectHints{Start: base, End: base + seconds(n), Step: 1000}
	var g errgroup.Group
	counts := make([]int, 8)
	for i := range counts {
		g.Go(func() error {
			set := q.Select(t.Context(), true, hints, labels.MustNewMatcher(labels.MatchRegexp, "instance", ".+"))
			for set.Next() {
				for chunks := set.At().Iterator(nil); chunks.Next(); {
					counts[i] += chunks.At().Chunk.NumSamples()
				}
			}
			return set.Err()
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, got := range counts {
		if got != 2*n+1 {
			t.Errorf("one of them has %d samples, want %d", got, 2*n+1)
		}
	}
}
