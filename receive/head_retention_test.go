package receive

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/tsdb"

	"github.com/varve-tsdb/varve/internal/shipped"
)

func TestDeletableBlocks(t *testing.T) {
	now := time.UnixMilli(base)
	at := func(age time.Duration) int64 { return now.Add(-age).UnixMilli() }
	block := func(n byte, newest, cut time.Duration, inOrder bool) localBlock {
		id := ulid.ULID{15: n}
		if err := id.SetTime(uint64(at(cut))); err != nil {
			t.Fatal(err)
		}
		return localBlock{id: id, maxTime: at(newest), inOrder: inOrder}
	}
	const day = 24 * time.Hour
	blocks := []localBlock{
		block(0, 3*day, 3*day, true),
		block(1, 2*day, 2*day, true),
		block(2, day, day, true),                                   // exactly at the limit
		block(3, day-time.Millisecond, day-time.Millisecond, true), // one short of it
		block(4, 3*day, 0, true),                                   // old samples, just cut
		block(5, 3*day, 3*day, false),                              // out of order
		block(6, 20*time.Hour, 2*day, true),                        // the newest
	}
	all := map[ulid.ULID]bool{}
	for _, b := range blocks {
		all[b.id] = true
	}
	for _, c := range []struct {
		name      string
		blocks    []localBlock
		shipped   map[ulid.ULID]bool
		retention time.Duration
		local     bool
		want      string
	}{
		{"past retention and shipped", blocks, all, day, false, "[0 1 2 5]"},
		{"nothing shipped", blocks, nil, day, false, "[]"},
		{"one shipped", blocks, map[ulid.ULID]bool{blocks[1].id: true}, day, false, "[1]"},
		{"within retention", blocks, all, 5 * day, false, "[]"},
		{"kept for ever", blocks, all, -1, false, "[]"},
		{"not to be shipped", blocks, nil, day, true, "[0 1 2 5]"},
		{"the newest in order stays", blocks[:2], all, day, false, "[0]"},
		{"alone", blocks[:1], all, day, false, "[]"},
		{"out of order alone goes", blocks[5:6], all, day, false, "[5]"},
		{"none", nil, all, day, false, "[]"},
	} {
		got := []int{}
		deletable := deletableBlocks(c.blocks, c.shipped, TenantsOptions{Retention: c.retention, LocalOnly: c.local}, now)
		for _, b := range c.blocks {
			if _, ok := deletable[b.id]; ok {
				got = append(got, int(b.id[15]))
			}
		}
		if sprint(got) != c.want {
			t.Errorf("%s: %v, want %s", c.name, got, c.want)
		}
	}
}

func TestBlocksLeaveTheDiskWhenShippedAndPastRetention(t *testing.T) {
	leakCheck(t)
	dir := t.TempDir()
	keep := TenantsOptions{BlockDuration: time.Second, Retention: time.Hour}
	tenants := openTenants(t, dir, keep)
	for i := range 5 {
		mustWrite(t, tenants, "a", base+seconds(i), 1, up("1"))
	}
	if err := tenants.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	pass := func(want int) {
		t.Helper()
		if err := tenants.Compact(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := len(blocksOf(t, tenants, "a")); got != want {
			t.Errorf("%d blocks on disk, want %d", got, want)
		}
	}
	reopen := func(opts TenantsOptions) {
		t.Helper()
		if err := tenants.Close(); err != nil {
			t.Fatal(err)
		}
		tenants = openTenants(t, dir, opts)
	}
	blocks := blocksOf(t, tenants, "a")
	ids := make([]ulid.ULID, len(blocks))
	for i, b := range blocks {
		ids[i] = b.ULID
	}
	ship(t, tenants, "a", ids[0])
	pass(5) // Shipped, but within retention: the blocks were cut just now.

	drop := keep
	drop.Retention = time.Nanosecond
	time.Sleep(2 * time.Millisecond) // The age of a block is told in milliseconds.
	if err := os.Remove(filepath.Join(dir, "a", shipped.Filename)); err != nil {
		t.Fatal(err)
	}
	reopen(drop)
	pass(5) // Past retention, but not shipped.

	if err := os.WriteFile(filepath.Join(dir, "a", shipped.Filename), []byte("{"), 0o666); err != nil {
		t.Fatal(err)
	}
	pass(5) // Nobody knows.

	ship(t, tenants, "a", ids[0], ids[1])
	pass(3)
	if got := mustReadAll(t, tenants); len(got) != 1 || len(got[0].points) != 3 {
		t.Errorf("what is left is %v", got)
	}

	ship(t, tenants, "a", ids...)
	pass(1)
	reopen(drop)
	if got := mustReadAll(t, tenants); len(got) != 1 || len(got[0].points) != 1 {
		t.Errorf("samples of deleted blocks came back from the write-ahead log: %v", got)
	}
}

func TestFullDiskStillDropsShippedBlocks(t *testing.T) {
	leakCheck(t)
	dir := t.TempDir()
	tenants := openTenants(t, dir, TenantsOptions{BlockDuration: time.Second})
	for i := range 4 {
		mustWrite(t, tenants, "a", base+seconds(i), 1, up("1"))
	}
	if err := tenants.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	blocks := blocksOf(t, tenants, "a")
	ship(t, tenants, "a", blocks[0].ULID, blocks[1].ULID, blocks[3].ULID)
	if err := tenants.Close(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Millisecond)
	tenants = openTenants(t, dir, TenantsOptions{BlockDuration: time.Second, Retention: time.Nanosecond, MinFreeDisk: 1 << 62})
	if got := blocksOf(t, tenants, "a"); len(got) != 2 || got[0].ULID != blocks[2].ULID || got[1].ULID != blocks[3].ULID {
		t.Errorf("left are %v", got)
	}
}

// A disk too full for the block that is due gets room by what may be deleted.
func TestShippedBlocksLeaveTheDiskWhileNoneCanBeCut(t *testing.T) {
	leakCheck(t)
	dir := t.TempDir()
	opts := TenantsOptions{BlockDuration: time.Second, Retention: time.Nanosecond}
	tenants := openTenants(t, dir, opts)
	for i := range 4 {
		mustWrite(t, tenants, "a", base+seconds(i), 1, up("1"))
	}
	if err := tenants.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	blocks := blocksOf(t, tenants, "a")
	time.Sleep(2 * time.Millisecond) // The age of a block is told in milliseconds.
	for i := 10; i < 13; i++ {
		mustWrite(t, tenants, "a", base+seconds(i), 1, up("1"))
	}
	h := tenants.slots["a"].head
	working := h.cutter.writer
	h.cutter.writer = func(int64) (tsdb.Compactor, error) { return nil, syscall.ENOSPC }
	ship(t, tenants, "a", blocks[0].ULID, blocks[1].ULID)
	if err := tenants.Compact(t.Context()); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("the pass: %v, want what kept it from cutting a block", err)
	}
	if got := blocksOf(t, tenants, "a"); len(got) != 2 || got[0].ULID != blocks[2].ULID || got[1].ULID != blocks[3].ULID {
		t.Errorf("left are %v", got)
	}

	h.cutter.writer = working
	for range 2 { // Deleting has truncated nothing, and the blocks are cut now.
		if got := mustReadAll(t, tenants); len(got) != 1 || len(got[0].points) != 5 {
			t.Errorf("read %v, want the 2 samples in blocks and the 3 in memory", got)
		}
		if err := tenants.Compact(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := tenants.Close(); err != nil {
		t.Fatal(err)
	}
	tenants = openTenants(t, dir, opts)
	if got := mustReadAll(t, tenants); len(got) != 1 || len(got[0].points) != 5 {
		t.Errorf("after a restart: %v", got)
	}
}

// A directory that the TSDB would not take for a block is none, whoever asks: its
// times may mean something else.
func TestClosedBlocksAreThoseOfTheTSDB(t *testing.T) {
	dir := t.TempDir()
	want := ulid.MustNew(1, nil)
	for name, meta := range map[string]string{
		want.String():                 `{"version":1,"ulid":"` + want.String() + `","maxTime":5}`,
		ulid.MustNew(2, nil).String(): `{"version":2,"ulid":"` + ulid.MustNew(2, nil).String() + `","maxTime":5}`,
		ulid.MustNew(3, nil).String(): `{"version":1,"ulid":"` + want.String() + `","maxTime":5}`,
		ulid.MustNew(4, nil).String(): `{`,
		"wal":                         ``,
	} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name, "meta.json"), []byte(meta), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := closedBlocks(dir); len(got) != 1 || got[0].id != want || got[0].maxTime != 5 {
		t.Errorf("got %v, want only %s", got, want)
	}
}
