package receive

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"pgregory.net/rapid"

	"github.com/varve-tsdb/varve/internal/shipped"
)

// blocksOf returns the metas of a tenant's finished blocks, oldest first.
func blocksOf(tb interface {
	Helper()
	Fatal(...any)
}, tenants *Tenants, tenant string,
) (out []tsdb.BlockMeta) {
	tb.Helper()
	tenants.BlockDirs(func(dir string, external labels.Labels) bool {
		if external.Get("tenant_id") != tenant {
			return true
		}
		files, err := filepath.Glob(filepath.Join(dir, "*", "meta.json"))
		if err != nil {
			tb.Fatal(err)
		}
		for _, file := range files {
			var meta tsdb.BlockMeta
			raw, err := os.ReadFile(file)
			if err != nil {
				continue // Deleted meanwhile.
			}
			if err := json.Unmarshal(raw, &meta); err != nil {
				tb.Fatal(err)
			}
			out = append(out, meta)
		}
		return true
	})
	slices.SortFunc(out, func(a, b tsdb.BlockMeta) int { return int(a.MinTime - b.MinTime) })
	return out
}

func TestRangeEnd(t *testing.T) {
	for _, c := range [][3]int64{
		{0, 10, 10},
		{9, 10, 10},
		{10, 10, 20},
		{-1, 10, 0},
		{-10, 10, 0},
		{-11, 10, -10},
		{math.MaxInt64, 10, math.MaxInt64},
		{math.MinInt64 + 8, 10, math.MinInt64 + 18},
	} {
		if got := rangeEnd(c[0], c[1]); got != c[2] {
			t.Errorf("rangeEnd(%d, %d) = %d, want %d", c[0], c[1], got, c[2])
		}
	}
}

func TestSegmentSize(t *testing.T) {
	for series, want := range map[uint64]int64{0: 16 << 20, 4096: 16 << 20, 4097: 32 << 20, 100_000: 512 << 20, 1 << 40: 512 << 20} {
		if got := segmentSize(series); got != want {
			t.Errorf("%d series: %d, want %d", series, got, want)
		}
	}
}

func TestFlushCutsAlignedBlocksAndWritingGoesOn(t *testing.T) {
	leakCheck(t)
	dir := t.TempDir()
	opts := TenantsOptions{BlockDuration: 10 * time.Second}
	tenants := openTenants(t, dir, opts)
	for i := range 26 {
		mustWrite(t, tenants, "a", base+seconds(i), float64(i), up("1"))
	}
	if err := tenants.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := tenants.Flush(t.Context()); err != nil {
		t.Fatalf("again: %v", err)
	}
	want := [][2]int64{{base, base + seconds(10)}, {base + seconds(10), base + seconds(20)}, {base + seconds(20), base + seconds(25) + 1}}
	var got [][2]int64
	for _, b := range blocksOf(t, tenants, "a") {
		got = append(got, [2]int64{b.MinTime, b.MaxTime})
	}
	if !slices.Equal(got, want) {
		t.Errorf("blocks are %v, want %v", got, want)
	}
	if err := write(t.Context(), tenants, "a", base+seconds(25), 0, up("2")); !errors.Is(err, storage.ErrOutOfBounds) {
		t.Errorf("a sample in what was flushed: %v", err)
	}
	for i := 26; i < 40; i++ {
		mustWrite(t, tenants, "a", base+seconds(i), float64(i), up("1"))
	}
	for restart := range 3 {
		series := mustReadAll(t, tenants)
		if len(series) != 1 || len(series[0].points) != 40 {
			t.Fatalf("after %d restarts: %v", restart, series)
		}
		if err := tenants.Close(); err != nil {
			t.Fatal(err)
		}
		tenants = openTenants(t, dir, opts)
	}
}

// Samples far apart make a block each, and other tenants wait for the pass.
func TestPassCutsSomeBlocksOnly(t *testing.T) {
	leakCheck(t)
	tenants := openTenants(t, t.TempDir(), TenantsOptions{BlockDuration: 10 * time.Second})
	for i := range 20 {
		mustWrite(t, tenants, "a", base+seconds(10*i), 1, up("1"))
	}
	for _, want := range []int{8, 16, 18, 18} { // The last two are not due.
		if err := tenants.Compact(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := len(blocksOf(t, tenants, "a")); got != want {
			t.Errorf("%d blocks, want %d", got, want)
		}
		if got := mustReadAll(t, tenants); len(got) != 1 || len(got[0].points) != 20 {
			t.Errorf("read %v", got)
		}
	}
}

// A sample that was appended before its range was due, and is committed after,
// would come too late for the block and be forgotten with the range.
func TestPassWaitsForAppendersInTheRange(t *testing.T) {
	leakCheck(t)
	tenants := openTenants(t, t.TempDir(), TenantsOptions{BlockDuration: 10 * time.Second})
	mustWrite(t, tenants, "a", base, 1, up("1"))
	slow, err := tenants.Appender(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := slow.Append(0, up("1"), 0, base+seconds(1), 1, nil, nil, storage.AOptions{}); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		mustWrite(t, tenants, "a", base+seconds(i), 1, up("2"))
	}
	done := make(chan error, 1)
	go func() { done <- tenants.Compact(t.Context()) }()
	select {
	case err = <-done:
		t.Error("the pass did not wait for an appender with samples in the range")
		done <- err
	case <-time.After(time.Second):
	}
	if err := errors.Join(slow.Commit(), <-done); err != nil {
		t.Fatal(err)
	}
	if got := len(blocksOf(t, tenants, "a")); got != 1 {
		t.Errorf("%d blocks, want 1", got)
	}
	if got := mustReadAll(t, tenants, equal("instance", "1")); len(got) != 1 || len(got[0].points) != 2 {
		t.Errorf("read %v, want the sample that was committed late, too", got)
	}
}

// Deleting blocks goes by way of the TSDB, which must not cut what has become
// due meanwhile, in-order samples first; see cutDue.
func TestDeletingBlocksCutsNone(t *testing.T) {
	leakCheck(t)
	tenants := openTenants(t, t.TempDir(), TenantsOptions{BlockDuration: 10 * time.Second, Retention: time.Millisecond})
	for i := range 20 {
		mustWrite(t, tenants, "a", base+seconds(10*i), 1, up("1"))
	}
	if err := tenants.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	var ids []ulid.ULID
	for _, b := range blocksOf(t, tenants, "a") {
		ids = append(ids, b.ULID)
	}
	ship(t, tenants, "a", ids...)
	time.Sleep(10 * time.Millisecond) // All of them are past the retention.
	h, err := tenants.slots["a"].current(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !h.due() || len(h.blocksToDelete(h.db.Blocks())) == 0 {
		t.Fatal("nothing is due, or nothing to be deleted")
	}
	if err := h.dropBlocks(); err != nil {
		t.Fatal(err)
	}
	if got := testutil.ToFloat64(tenants.metrics.blocksCut); got != 8 {
		t.Errorf("%v blocks were cut, want 8", got)
	}
	for range 3 { // Until nothing is due.
		if err := tenants.Compact(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range blocksOf(t, tenants, "a") {
		if slices.Contains(ids, b.ULID) {
			t.Errorf("block %s is still there", b.ULID)
		}
	}
}

func TestMostCutsKeepUpWithTime(t *testing.T) {
	for _, c := range []struct {
		block, interval time.Duration
		want            int
	}{
		{2 * time.Hour, 0, 8},
		{2 * time.Hour, 6 * time.Hour, 8},
		{2 * time.Hour, 24 * time.Hour, 26},
		{2 * time.Hour, math.MaxInt64, 2_562_048},
	} {
		if got := (TenantsOptions{BlockDuration: c.block, Interval: c.interval}).withDefaults().mostCuts(); got != c.want {
			t.Errorf("blocks of %v, a pass every %v: %d, want %d", c.block, c.interval, got, c.want)
		}
	}
}

// Whatever the order of writes, passes, flushes and restarts: what was
// committed is there, once.
func TestNothingIsLostOrDoubled(t *testing.T) {
	leakCheck(t)
	rapid.Check(t, func(rt *rapid.T) { checkModel(rt, fastTempDir(t)) })
}

func checkModel(t *rapid.T, dir string) {
	window := rapid.SampledFrom([]time.Duration{0, 15 * time.Second}).Draw(t, "window")
	opts := TenantsOptions{BlockDuration: 10 * time.Second, OutOfOrderWindow: window, Interval: time.Hour, MinFreeDisk: -1}
	tenants, err := OpenTenants(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tenants.Close() }()
	model := map[string]map[int64]float64{}
	now := base
	for range rapid.IntRange(1, 8).Draw(t, "steps") {
		switch rapid.SampledFrom([]string{"write", "write", "write", "late", "compact", "flush", "restart"}).Draw(t, "step") {
		case "write":
			for range rapid.IntRange(1, 50).Draw(t, "samples") {
				now += rapid.Int64Range(1, 2000).Draw(t, "gap")
				writeModel(t, tenants, model, now)
			}
		case "late":
			for range rapid.IntRange(1, 40).Draw(t, "samples") {
				writeModel(t, tenants, model, now-rapid.Int64Range(0, 20_000).Draw(t, "age"))
			}
		case "compact":
			err = tenants.Compact(t.Context())
		case "flush":
			err = tenants.Flush(t.Context())
		case "restart":
			if err := tenants.Close(); err != nil {
				t.Fatal(err)
			}
			tenants, err = OpenTenants(dir, opts)
		}
		if err != nil {
			t.Fatal(err)
		}
		compareModel(t, tenants, model)
	}
	if err := tenants.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, b := range blocksOf(t, tenants, "a") {
		if width := seconds(10); rangeEnd(b.MinTime, width) < b.MaxTime {
			t.Fatalf("block from %d to %d is not within one multiple of the block duration", b.MinTime, b.MaxTime)
		}
	}
	compareModel(t, tenants, model)
}

func writeModel(t *rapid.T, tenants *Tenants, model map[string]map[int64]float64, ts int64) {
	instance := rapid.SampledFrom([]string{"1", "2", "3"}).Draw(t, "instance")
	v := float64(ts - base)
	switch err := write(t.Context(), tenants, "a", ts, v, up(instance)); {
	case err == nil:
		key := labels.NewBuilder(up(instance)).Set("tenant_id", "a").Labels().String()
		if model[key] == nil {
			model[key] = map[int64]float64{}
		}
		model[key][ts] = v
	case errors.Is(err, storage.ErrOutOfOrderSample), errors.Is(err, storage.ErrOutOfBounds), errors.Is(err, storage.ErrTooOldSample):
	default:
		t.Fatal(err)
	}
}

func compareModel(t *rapid.T, tenants *Tenants, model map[string]map[int64]float64) {
	series, err := read(t.Context(), tenants, math.MinInt64, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, s := range series {
		got[s.labels] += len(s.points)
		last := int64(math.MinInt64)
		for _, p := range s.points {
			if want, ok := model[s.labels][p.t]; !ok || want != p.v || p.t <= last {
				t.Fatalf("%s has %v at %d after %d, want %v", s.labels, p.v, p.t-base, last-base, want)
			}
			last = p.t
		}
	}
	for key, samples := range model {
		if got[key] != len(samples) {
			t.Fatalf("%s has %d samples, want %d", key, got[key], len(samples))
		}
	}
}

func ship(t *testing.T, tenants *Tenants, tenant string, ids ...ulid.ULID) {
	t.Helper()
	content, err := json.Marshal(map[string]any{"version": 1, "uploaded": ids})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tenants.dir, tenant, shipped.Filename), content, 0o666); err != nil {
		t.Fatal(err)
	}
}
