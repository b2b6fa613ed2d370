package receive

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/prometheus/tsdb/wlog"
)

// A log that has lost its last records looks whole. What mapped chunks, or the
// log of out-of-order samples, have of a series that was recorded there must not
// become that of another series.
func TestSeriesOfALostEndAreNotTakenForOthers(t *testing.T) {
	leakCheck(t)
	for name, window := range map[string]time.Duration{"mapped chunks": 0, "log of out-of-order samples": time.Hour} {
		for how, lose := range map[string]func(segment string) error{
			"gone":  os.Remove,
			"empty": func(segment string) error { return os.Truncate(segment, 0) },
		} {
			t.Run(name+", "+how, func(t *testing.T) {
				dir := t.TempDir()
				opts := TenantsOptions{OutOfOrderWindow: window, BlockDuration: 24 * time.Hour}
				tenants := openTenants(t, dir, opts)
				mustWrite(t, tenants, "a", base, 1, up("first"))
				if err := tenants.Close(); err != nil {
					t.Fatal(err)
				}
				tenants = openTenants(t, dir, opts)
				for i := range 300 {
					mustWrite(t, tenants, "a", base+seconds(i), 1, up("lost"))
				}
				if window > 0 {
					mustWrite(t, tenants, "a", base+seconds(2)-1, 1, up("lost"))
				}
				if err := errors.Join(tenants.Compact(t.Context()), tenants.Close()); err != nil {
					t.Fatal(err)
				}
				if err := lose(wlog.SegmentName(filepath.Join(dir, "a", "wal"), 1)); err != nil {
					t.Fatal(err)
				}
				for restart := range 3 {
					tenants = openTenants(t, dir, opts)
					mustWrite(t, tenants, "a", base+seconds(500+restart), 1, up("new"))
					for instance, want := range map[string]int{"first": 1, "new": restart + 1} {
						if got := mustReadAll(t, tenants, equal("instance", instance)); len(got) != 1 || len(got[0].points) != want {
							t.Errorf("after %d restarts %s has %v", restart, instance, got)
						}
					}
					if err := tenants.Close(); err != nil {
						t.Fatal(err)
					}
				}
			})
		}
	}
}
