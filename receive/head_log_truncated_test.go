package receive

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/tsdb/wlog"
)

// A segment of the write-ahead log that has lost its end does not cost what
// mapped chunks hold, now or after further restarts, whether it is an older one
// or the one that was written last.
func TestTruncatedSegmentKeepsMappedChunks(t *testing.T) {
	leakCheck(t)
	const n, inOpenChunk = 2000, 120
	for _, c := range []struct {
		name   string
		late   int
		behind bool // Another segment follows.
	}{
		{"older, in order", 0, true},
		{"older, one out of order", 1, true},
		{"newest, in order", 0, false},
		{"newest, one out of order", 1, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			opts := TenantsOptions{OutOfOrderWindow: 4 * time.Hour, BlockDuration: 24 * time.Hour}
			tenants := openTenants(t, dir, opts)
			for i := range n {
				mustWrite(t, tenants, "a", base+seconds(5*i), 1, up("1"))
			}
			for i := range c.late {
				mustWrite(t, tenants, "a", base+seconds(5*i)+1, 1, up("1"))
			}
			if err := errors.Join(tenants.Compact(t.Context()), tenants.Close()); err != nil {
				t.Fatal(err)
			}
			if c.behind {
				tenants = openTenants(t, dir, opts)
				mustWrite(t, tenants, "a", base+seconds(5*n), 1, up("1"))
				if err := tenants.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Truncate(wlog.SegmentName(filepath.Join(dir, "a", "wal"), 0), 20_000); err != nil {
				t.Fatal(err)
			}
			said := warned(&opts)
			for restart := range 3 {
				tenants = openTenants(t, dir, opts)
				if there := len(mustReadAll(t, tenants)[0].points); there < n-inOpenChunk {
					t.Errorf("after %d restarts %d of %d samples", restart, there, n)
				}
				if err := tenants.Close(); err != nil {
					t.Fatal(err)
				}
			}
			want, kept := "level=WARN msg=\"A log ended", false
			if c.behind {
				want, kept = "level=ERROR msg=\"A log was damaged", true
			}
			if !strings.Contains(said.String(), want) {
				t.Errorf("the log lacks %q: %s", want, said)
			}
			if got := exists(filepath.Join(dir, "a", "logs.broken", "wal-00000000")); got != kept {
				t.Errorf("the segment is kept: %v, want %v", got, kept)
			}
		})
	}
}

// What is left of a checkpoint that lost its end had been acknowledged.
func TestTruncatedCheckpointIsDamage(t *testing.T) {
	leakCheck(t)
	dir := t.TempDir()
	opts, checkpoint, _ := withCheckpoint(t, dir)
	segment := wlog.SegmentName(checkpoint, 0)
	if err := os.Truncate(segment, int64(written(t, segment)-1)); err != nil {
		t.Fatal(err)
	}
	said := warned(&opts)
	openTenants(t, dir, opts)
	if !strings.Contains(said.String(), "level=ERROR msg=\"A log was damaged") {
		t.Errorf("the log says %s", said)
	}
	if kept, err := filepath.Glob(filepath.Join(dir, "a", "logs.broken", "wal-checkpoint.*")); len(kept) != 1 || err != nil {
		t.Errorf("the damaged segment is not kept: %v", err)
	}
}

// A crash does not take away what is kept of an earlier damage.
func TestTornLogLeavesWhatIsKept(t *testing.T) {
	leakCheck(t)
	dir := t.TempDir()
	opts := TenantsOptions{BlockDuration: 24 * time.Hour}
	warned(&opts)
	one := func() {
		tenants := openTenants(t, dir, opts)
		mustWrite(t, tenants, "a", base, 1, up("1"))
		if err := tenants.Close(); err != nil {
			t.Fatal(err)
		}
	}
	one()
	wal := filepath.Join(dir, "a", "wal")
	flip(t, wlog.SegmentName(wal, 0), 10)
	one()
	segments, err := wholeLog(wal, -1)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(segments[len(segments)-1], []byte{logWhole, 0, 100}, 0o666); err != nil {
		t.Fatal(err)
	}
	one()
	if !exists(filepath.Join(dir, "a", "logs.broken", "wal-00000000")) {
		t.Error("the damaged segment is not kept")
	}
}

// warned has what is logged as a warning or an error written to a buffer.
func warned(opts *TenantsOptions) *bytes.Buffer {
	var said bytes.Buffer
	opts.Logger = slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelWarn}))
	return &said
}
