package receive

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/tsdb/wlog"
)

const roundsLogged, roundSamples = 5, 20

// logRounds writes rounds of samples of one series, one of a series of the round,
// and one out of order, each round to a segment of its own.
func logRounds(t *testing.T, dir string, opts TenantsOptions) {
	t.Helper()
	for round := range roundsLogged {
		tenants := openTenants(t, dir, opts)
		mustWrite(t, tenants, "a", base+seconds(100*round), 1, up(sprint(round)))
		mustWrite(t, tenants, "a", base+seconds(100*round), 1, up("all"))
		if round > 0 {
			mustWrite(t, tenants, "a", base+seconds(100*round-50), 1, up("all"))
		}
		for i := range roundSamples - 1 {
			mustWrite(t, tenants, "a", base+seconds(100*round+1+i), 1, up("all"))
		}
		if err := tenants.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A segment that is gone costs what only it held.
func TestMissingSegmentCostsItsOwnSamples(t *testing.T) {
	leakCheck(t)
	const all = roundsLogged*(roundSamples+2) - 1
	for _, c := range []struct {
		name    string
		missing []string
		lost    int
		said    []string
	}{
		{"one of the write-ahead log", []string{"wal/00000002"}, roundSamples + 1, []string{"write-ahead log", "segments_missing=1", "wal/00000002", "from=2023-11-15T00:01:44.000Z", "to=2023-11-15T00:05:13.000Z"}},
		{"several", []string{"wal/00000001", "wal/00000002", "wal/00000003"}, 3 * (roundSamples + 1), []string{"segments_missing=3", "wal/00000001"}},
		{"one of those out of order", []string{"wbl/00000002"}, 1, []string{"out-of-order", "segments_missing=1", "wbl/00000002"}},
		{"one of each", []string{"wal/00000002", "wbl/00000001"}, roundSamples + 2, []string{"write-ahead log", "out-of-order"}},
		{"the first, in which the series is", []string{"wal/00000000"}, all - (roundsLogged - 1), []string{"segments_missing=1", "checkpoint.00000000/00000000", "samples_without_series=84"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			opts := TenantsOptions{OutOfOrderWindow: time.Hour}
			logRounds(t, dir, opts)
			for _, path := range c.missing {
				remove(t, filepath.Join(dir, "a", path))
			}
			var said interface{ String() string }
			opts.Logger, said = logged()
			for restart := range 3 {
				tenants := openTenants(t, dir, opts)
				there := 0
				for _, s := range mustReadAll(t, tenants) {
					there += len(s.points)
				}
				if there != all-c.lost+restart {
					t.Errorf("after %d restarts %d samples, want %d", restart, there, all-c.lost+restart)
				}
				repaired := testutil.ToFloat64(tenants.metrics.logSegmentsDamaged)
				if want := len(c.missing); restart == 0 && repaired != float64(want) || restart > 0 && repaired > 0 {
					t.Errorf("after %d restarts %v segments are repaired", restart, repaired)
				}
				mustWrite(t, tenants, "a", base+seconds(1000+restart), 1, up(sprint("new", restart)))
				if err := tenants.Close(); err != nil {
					t.Fatal(err)
				}
			}
			for _, want := range c.said {
				if !strings.Contains(said.String(), want) {
					t.Errorf("the log lacks %q: %s", want, said)
				}
			}
		})
	}
}

// Of a log behind a checkpoint a gap in front, and all of it, can be gone, too.
func TestMissingSegmentsBehindACheckpoint(t *testing.T) {
	leakCheck(t)
	for _, name := range []string{"checkpoint", "in checkpoint", "first", "all"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			opts, checkpoint, cut := withCheckpoint(t, dir)
			wal := filepath.Join(dir, "a", "wal")
			first, end, err := wlog.Segments(wal)
			if err != nil {
				t.Fatal(err)
			}
			switch name {
			case "checkpoint":
				remove(t, checkpoint)
			case "in checkpoint":
				remove(t, wlog.SegmentName(checkpoint, 0))
			case "first":
				remove(t, wlog.SegmentName(wal, first))
			case "all":
				for n := first; n <= end; n++ {
					remove(t, wlog.SegmentName(wal, n))
				}
			}
			var said interface{ String() string }
			opts.Logger, said = logged()
			for restart := range 4 {
				tenants := openTenants(t, dir, opts)
				there := len(mustReadAll(t, tenants)[0].points)
				if least := cut + restart; there < least {
					t.Errorf("after %d restarts %d samples, want at least %d", restart, there, least)
				}
				if repaired := testutil.ToFloat64(tenants.metrics.repairs) > 0; repaired != (restart == 0) {
					t.Errorf("after %d restarts repaired: %v", restart, repaired)
				}
				mustWrite(t, tenants, "a", base+seconds(200+restart), 1, up("1"))
				if err := tenants.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if !strings.Contains(said.String(), "segments_missing=1") {
				t.Errorf("the log says %s", said)
			}
		})
	}
}

// What cannot be a hole that a damage left says what to do.
func TestFileOutOfPlaceInALog(t *testing.T) {
	leakCheckButLogs(t)
	for name, want := range map[string]string{
		"00009999": "the segments 00000002 to 00009998 are missing",
		"7":        "7 is no segment",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			tenants := openTenants(t, dir, TenantsOptions{})
			mustWrite(t, tenants, "a", base, 1, up("1"))
			if err := tenants.Close(); err != nil {
				t.Fatal(err)
			}
			wal := filepath.Join(dir, "a", "wal")
			if err := os.WriteFile(wlog.SegmentName(wal, 1), nil, 0o666); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(wal, name)
			if err := os.WriteFile(file, nil, 0o666); err != nil {
				t.Fatal(err)
			}
			tenants = openTenants(t, dir, TenantsOptions{})
			err := write(t.Context(), tenants, "a", base+1, 1, up("1"))
			if !errors.Is(err, ErrTenantFailed) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "move") {
				t.Errorf("%v", err)
			}
			remove(t, file)
			if err := tenants.Compact(t.Context()); err != nil {
				t.Fatal(err)
			}
			mustWrite(t, tenants, "a", base+1, 1, up("1"))
		})
	}
}
