package receive

import (
	"errors"
	"path/filepath"
	"testing"
	"time"
)

// Mapped chunks that the TSDB cannot open cost nothing that the log has.
func TestMappedChunksThatCannotBeOpenedAreReplayed(t *testing.T) {
	leakCheck(t)
	const n = 500
	for name, damage := range map[string]func(t *testing.T, file func(n int) string){
		"header": func(t *testing.T, file func(int) string) { flip(t, file(1), 0) },
		"short":  func(t *testing.T, file func(int) string) { fill(t, file(1), "1234") },
		"hole":   func(t *testing.T, file func(int) string) { remove(t, file(2)) },
		"chunk":  func(t *testing.T, file func(int) string) { flip(t, file(2), 50) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			opts := TenantsOptions{BlockDuration: 24 * time.Hour}
			for round := range 3 {
				tenants := openTenants(t, dir, opts)
				for i := range n {
					mustWrite(t, tenants, "a", base+seconds(round*n+i), 1, up("1"))
				}
				if err := errors.Join(tenants.Compact(t.Context()), tenants.Close()); err != nil {
					t.Fatal(err)
				}
			}
			damage(t, func(n int) string { return filepath.Join(dir, "a", "chunks_head", sprint("00000", n)) })
			for restart := range 2 {
				tenants := openTenants(t, dir, opts)
				if aside := exists(filepath.Join(dir, "a", "logs.broken", "chunks_head")); aside != (name != "chunk") {
					t.Errorf("after %d restarts set aside: %v", restart, aside)
				}
				if got := mustReadAll(t, tenants); len(got) != 1 || len(got[0].points) != 3*n+restart {
					t.Errorf("after %d restarts %d of %d samples", restart, len(got[0].points), 3*n+restart)
				}
				mustWrite(t, tenants, "a", base+seconds(3*n+restart), 1, up("1"))
				if err := tenants.Close(); err != nil {
					t.Fatal(err)
				}
			}
			tenants := openTenants(t, dir, opts)
			if err := errors.Join(tenants.Flush(t.Context()), tenants.Compact(t.Context())); err != nil {
				t.Fatal(err)
			}
			if exists(filepath.Join(dir, "a", "logs.broken")) {
				t.Error("what was set aside is still there after blocks have been cut")
			}
		})
	}
}
