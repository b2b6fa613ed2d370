package receive

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/tsdb"
)

// brokenWays are ways for a block to be broken.
var brokenWays = map[string]func(t *testing.T, block string){
	"no index":       func(t *testing.T, block string) { remove(t, filepath.Join(block, "index")) },
	"empty index":    func(t *testing.T, block string) { touch(t, filepath.Join(block, "index")) },
	"garbage index":  func(t *testing.T, block string) { fill(t, filepath.Join(block, "index"), "garbage, and a lot of it") },
	"no chunks":      func(t *testing.T, block string) { remove(t, filepath.Join(block, "chunks")) },
	"garbage chunks": func(t *testing.T, block string) { fill(t, filepath.Join(block, "chunks", "000001"), "garbage") },
	"empty chunks":   func(t *testing.T, block string) { touch(t, filepath.Join(block, "chunks", "000001")) },
	"short index": func(t *testing.T, block string) {
		if err := os.Truncate(filepath.Join(block, "index"), 100); err != nil {
			t.Fatal(err)
		}
	},
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

func fill(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o666); err != nil {
		t.Fatal(err)
	}
}

// twoBlocks writes 2 blocks of tenant a, and 1 sample that is in memory.
func twoBlocks(t *testing.T, dir string, opts TenantsOptions) []tsdb.BlockMeta {
	t.Helper()
	tenants := openTenants(t, dir, opts)
	for i := range 2 {
		mustWrite(t, tenants, "a", base+seconds(10*i), 1, up("1"))
	}
	if err := tenants.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, tenants, "a", base+seconds(20), 1, up("1"))
	blocks := blocksOf(t, tenants, "a")
	if err := tenants.Close(); err != nil || len(blocks) != 2 {
		t.Fatal(blocks, err)
	}
	return blocks
}

// A block that is broken when its tenant is opened costs its own samples only.
func TestBrokenBlockIsSetAsideOnOpening(t *testing.T) {
	leakCheck(t)
	for name, damage := range brokenWays {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			var log bytes.Buffer
			reg := prometheus.NewRegistry()
			opts := TenantsOptions{BlockDuration: 10 * time.Second}
			blocks := twoBlocks(t, dir, opts)
			broken := filepath.Join(dir, "a", blocks[0].ULID.String())
			damage(t, broken)

			opts.Logger, opts.Registerer = slog.New(slog.NewTextHandler(&log, nil)), reg
			tenants := openTenants(t, dir, opts)
			mustWrite(t, tenants, "a", base+seconds(21), 1, up("1"))
			// The log has the samples of the block still, or has not.
			if got := mustRead(t, tenants, base+seconds(10), base+seconds(30)); len(got) != 1 || len(got[0].points) != 3 {
				t.Errorf("the others are %v", got)
			}
			if !exists(broken+brokenSuffix) || exists(broken) {
				t.Errorf("the broken block was not set aside")
			}
			for _, want := range []string{"level=ERROR", "tenant=a", "block=" + blocks[0].ULID.String(), brokenSuffix, "Restore"} {
				if !strings.Contains(log.String(), want) {
					t.Errorf("the log does not say %s: %s", want, &log)
				}
			}
			if got := testutil.ToFloat64(tenants.metrics.blocksBroken); got != 1 {
				t.Errorf("%v broken blocks are counted", got)
			}
			if err := tenants.Flush(t.Context()); err != nil {
				t.Errorf("flush: %v", err)
			}
		})
	}
}

// A broken block that turns up later does not have the same samples cut again
// and again.
func TestBrokenBlockDoesNotStopCutting(t *testing.T) {
	leakCheck(t)
	for name, cut := range map[string]func(*Tenants) error{
		"pass":  func(to *Tenants) error { return to.Compact(t.Context()) },
		"flush": func(to *Tenants) error { return to.Flush(t.Context()) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			tenants := openTenants(t, dir, TenantsOptions{BlockDuration: 10 * time.Second, OutOfOrderWindow: time.Minute})
			for i := range 20 {
				mustWrite(t, tenants, "a", base+seconds(i), 1, up("1"))
			}
			mustWrite(t, tenants, "a", base-seconds(1), 1, up("1"))
			id := ulid.MustNew(1, nil)
			meta := `{"version":1,"ulid":"` + id.String() + `"}`
			for range 2 { // The second finds the name taken.
				mkdir(t, filepath.Join(dir, "a", id.String()))
				fill(t, filepath.Join(dir, "a", id.String(), "meta.json"), meta)
				if err := cut(tenants); err != nil {
					t.Fatal(err)
				}
				for i := range 20 {
					mustWrite(t, tenants, "a", base+seconds(20+i), 1, up("2"))
				}
			}
			aside, err := filepath.Glob(filepath.Join(dir, "a", id.String()+"*"))
			if err != nil || len(aside) != 2 || slices.Contains(aside, filepath.Join(dir, "a", id.String())) {
				t.Errorf("set aside are %v, %v", aside, err)
			}
			if blocks := blocksOf(t, tenants, "a"); len(blocks) == 0 {
				t.Error("no block was cut")
			}
		})
	}
}

// What cannot be told to be broken stays, and nothing is cut meanwhile: the TSDB
// would have to delete it again.
func TestNothingIsCutBesideABlockThatCannotBeOpened(t *testing.T) {
	leakCheck(t)
	tenants := openTenants(t, t.TempDir(), TenantsOptions{BlockDuration: 10 * time.Second})
	for i := range 20 {
		mustWrite(t, tenants, "a", base+seconds(i), 1, up("1"))
	}
	repair := breakOpening(t, tenants, "a")
	for range 3 {
		if err := errors.Join(tenants.Compact(t.Context()), tenants.Flush(t.Context())); err == nil || !strings.Contains(err.Error(), "no blocks are cut") {
			t.Errorf("pass: %v", err)
		}
	}
	if got := testutil.ToFloat64(tenants.metrics.blocksCut); got != 0 {
		t.Errorf("%v blocks were cut in vain", got)
	}
	mustWrite(t, tenants, "a", base+seconds(20), 1, up("1"))
	repair()
	if err := tenants.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := mustReadAll(t, tenants); len(blocksOf(t, tenants, "a")) != 1 || len(got) != 1 || len(got[0].points) != 21 {
		t.Errorf("after the repair there are %v", got)
	}
}

// A block is there for the shipper when the TSDB has loaded it and not when it
// has only been written, as it may be deleted again.
func TestBlockIsShippedOnceItIsLoaded(t *testing.T) {
	leakCheck(t)
	dir := t.TempDir()
	tenants := openTenants(t, dir, TenantsOptions{BlockDuration: 10 * time.Second, Labels: up("x").DropReserved(func(name string) bool { return name == "__name__" })})
	for i := range 20 {
		mustWrite(t, tenants, "a", base+seconds(i), 1, up("1"))
	}
	h, err := tenants.slots["a"].state()
	if err != nil {
		t.Fatal(err)
	}
	written := 0
	h.cutter.cut = func(int) {
		for _, b := range blocksOf(t, tenants, "a") {
			written++
			if _, ready := tenants.BlockLabels(filepath.Join(dir, "a"), b.ULID); ready {
				t.Error("a block is to be shipped before it is loaded")
			}
		}
	}
	if err := tenants.Compact(t.Context()); err != nil || written != 1 {
		t.Fatal(written, err)
	}
	id := blocksOf(t, tenants, "a")[0].ULID
	for range 2 {
		external, ready := tenants.BlockLabels(filepath.Join(dir, "a"), id)
		if want := `{instance="x", tenant_id="a"}`; !ready || external.String() != want {
			t.Errorf("the block is ready: %v, with %v, want %s", ready, external, want)
		}
		if err := tenants.Close(); err != nil { // After which the last are shipped.
			t.Fatal(err)
		}
	}
	if _, ready := tenants.BlockLabels(filepath.Join(dir, "other"), id); ready {
		t.Error("a block of an unknown tenant is ready")
	}
}
