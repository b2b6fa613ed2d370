package receive

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/storage"
)

// Of two commits at the same moment the disk has no room for the first, and
// before that has been noticed it has room for the second. What the second
// wrote lies behind a part of a record.
func TestNothingIsAcknowledgedBehindATornRecord(t *testing.T) {
	for name, second := range map[string]func(t *testing.T, tenants *Tenants) func() error{
		"samples": func(t *testing.T, tenants *Tenants) func() error {
			app, err := tenants.Appender(t.Context(), "a")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := app.Append(0, up("1"), 0, base+2, 2, nil, nil, storage.AOptions{}); err != nil {
				t.Fatal(err)
			}
			return app.Commit
		},
		"exemplars": func(t *testing.T, tenants *Tenants) func() error {
			return func() error {
				return tenants.AppendExemplars(t.Context(), "a", up("1"), []exemplar.Exemplar{{Labels: up("1"), Value: 1, Ts: base, HasTs: true}})
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			leakCheckButLogs(t)
			dir, free := smallDisk(t, "16m", 12<<20)
			tenants := openTenants(t, dir, TenantsOptions{MinFreeDisk: -1})
			mustWrite(t, tenants, "a", base, 1, up("1"))
			commit := second(t, tenants)

			// Not by an appender of the tenant, which would notice at once.
			h := tenants.slots["a"].head
			h.unlogged.strict = false
			first := h.db.AppenderV2(t.Context())
			for i := range 20_000 {
				if _, err := first.Append(0, up(sprint("first-", i*7919)), 0, base+1, 1, nil, nil, storage.AOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			leave(t, dir, 70<<10)
			if err := first.Commit(); !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("the first commit: %v", err)
			}
			free()
			wantFailed(t, "the second commit", commit(), "a")
			if err := tenants.Compact(t.Context()); err != nil {
				t.Fatal(err)
			}
			mustWrite(t, tenants, "a", base+3, 3, up("1"))
		})
	}
}

// leave fills a disk but for a number of bytes.
func leave(t *testing.T, dir string, bytes int64) {
	t.Helper()
	full, err := freeDiskBytes(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, lockName+".filler"), make([]byte, full-bytes), 0o666); err != nil {
		t.Fatal(err)
	}
}
