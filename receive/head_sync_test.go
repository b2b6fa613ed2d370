package receive

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/tsdb/wlog"
	"github.com/prometheus/prometheus/util/compression"
)

// syncedDisk knows how much of each file is on the disk for sure.
type syncedDisk struct {
	mu    sync.Mutex
	sizes map[string]int64
	syncs int
}

func (d *syncedDisk) sync(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.sizes == nil {
		d.sizes = map[string]int64{}
	}
	d.sizes[f.Name()] = max(d.sizes[f.Name()], info.Size())
	d.syncs++
	return nil
}

// lacks returns the files of a log that are not all on the disk.
func (d *syncedDisk) lacks(t *testing.T, log string) (out []string) {
	t.Helper()
	segments, err := filepath.Glob(filepath.Join(log, "0*"))
	if err != nil || len(segments) == 0 {
		t.Fatalf("%s: %v, %v", log, segments, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, file := range segments {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() != d.sizes[file] {
			out = append(out, sprint(file, ": ", d.sizes[file], " of ", info.Size()))
		}
	}
	return out
}

// With SyncOnCommit all of both logs is on the disk when a commit returns, also
// after new segments were begun and the tenant was idle.
func TestCommitIsOnTheDisk(t *testing.T) {
	leakCheck(t)
	for _, on := range []bool{true, false} {
		var disk syncedDisk
		dir := fastTempDir(t)
		tenants := openTenants(t, dir, TenantsOptions{SyncOnCommit: on, OutOfOrderWindow: time.Hour, IdleAfter: time.Hour, syncFile: disk.sync})
		unsynced := 0
		for i := range 40 {
			ts := base + seconds(i)
			if i%3 == 2 {
				ts -= seconds(10) // late
			}
			mustWrite(t, tenants, "a", ts, 1, up(sprint(i%5)))
			unsynced += len(disk.lacks(t, filepath.Join(dir, "a", "wal"))) + len(disk.lacks(t, filepath.Join(dir, "a", "wbl")))
			if i%10 == 9 {
				if err := tenants.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		if on == (unsynced > 0) {
			t.Errorf("SyncOnCommit %v: %d times a file was not on the disk", on, unsynced)
		}
	}
}

// Commits that wait while the disk is busy share the next sync, and none returns
// before it.
func TestCommitsShareSyncs(t *testing.T) {
	leakCheck(t)
	var rounds, returned atomic.Int64
	busy, free := make(chan struct{}), make(chan struct{})
	var once sync.Once
	hook := func(*os.File) error {
		rounds.Add(1)
		once.Do(func() {
			close(busy)
			<-free
		})
		return nil
	}
	reg := prometheus.NewRegistry()
	tenants := openTenants(t, fastTempDir(t), TenantsOptions{SyncOnCommit: true, Registerer: reg, syncFile: hook})
	const commits = 30
	var all sync.WaitGroup
	commit := func(i int) {
		all.Go(func() {
			if err := write(t.Context(), tenants, "a", base, 1, up(sprint(i))); err != nil {
				t.Error(err)
			}
			returned.Add(1)
		})
	}
	commit(0)
	<-busy
	for i := 1; i < commits; i++ {
		commit(i)
	}
	inMemory := tenants.slots["a"].head.db.Head()
	for inMemory.NumSeries() < commits { // Reading beside it is a race in the TSDB.
		time.Sleep(time.Millisecond)
	}
	for len(mustReadAll(t, tenants)) < commits { // They are in memory, and wait.
		time.Sleep(time.Millisecond)
	}
	time.Sleep(20 * time.Millisecond)
	if n := returned.Load(); n > 0 {
		t.Errorf("%d commits returned before anything was on the disk", n)
	}
	close(free)
	all.Wait()
	if n := rounds.Load(); n < 2 || n > commits/3 {
		t.Errorf("%d syncs for %d commits", n, commits)
	}
}

// What the disk does not take is not acknowledged, and the tenant, no other, is
// opened again.
func TestFailedSyncFailsTheTenant(t *testing.T) {
	leakCheck(t)
	var broken atomic.Bool
	hook := func(f *os.File) error {
		if broken.Load() && strings.Contains(f.Name(), "bad") {
			return syscall.EIO
		}
		return nil
	}
	tenants := openTenants(t, fastTempDir(t), TenantsOptions{SyncOnCommit: true, syncFile: hook})
	mustWrite(t, tenants, "bad", base, 1, up("1"))
	broken.Store(true)
	err := write(t.Context(), tenants, "bad", base+1, 1, up("1"))
	wantFailed(t, "commit", err, "bad")
	if !errors.Is(err, syscall.EIO) {
		t.Errorf("the cause is missing in %v", err)
	}
	mustWrite(t, tenants, "good", base, 1, up("1"))
	broken.Store(false)
	compact(t, tenants)
	mustWrite(t, tenants, "bad", base+2, 1, up("1"))
}

// Whatever segments come and go, a record that was waited for is on the disk:
// cut to what was synced, the log has it.
func TestSyncFollowsTheSegments(t *testing.T) {
	leakCheck(t)
	dir := t.TempDir()
	log, err := wlog.NewSize(slog.New(slog.DiscardHandler), nil, dir, 32<<10, compression.None)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	var disk syncedDisk
	metrics, err := newTenantsMetrics(&Tenants{})
	if err != nil {
		t.Fatal(err)
	}
	syncs := &logSync{metrics: metrics, sync: disk.sync, logs: []*syncedLog{{dir: dir, n: -1}}}
	defer syncs.close()
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for i := range 60 {
				record := sprint("record ", w, " ", i, strings.Repeat("-", 700), ";")
				if err := log.Log([]byte(record)); err != nil {
					t.Error(err)
					return
				}
				if err := syncs.wait(); err != nil {
					t.Error(err)
					return
				}
				if i%7 == w && !strings.Contains(disk.content(t), record) {
					t.Errorf("record %d of %d is not on the disk", i, w)
				}
			}
		})
	}
	writers.Wait()
	if _, last, _ := wlog.Segments(dir); last < 3 || disk.syncs == 0 {
		t.Errorf("only %d segments, %d syncs", last+1, disk.syncs)
	}
}

// content returns all that is on the disk, with what a log puts between records.
func (d *syncedDisk) content(t *testing.T) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all strings.Builder
	for file, size := range d.sizes {
		f, err := os.Open(file)
		if err != nil {
			t.Error(err)
			continue
		}
		if _, err := io.CopyN(&all, f, size); err != nil {
			t.Error(err)
		}
		f.Close()
	}
	return all.String()
}

// BenchmarkSyncOnCommit prints what syncing costs a commit, alone and with
// others side by side.
func BenchmarkSyncOnCommit(b *testing.B) {
	for _, on := range []bool{false, true} {
		for _, writers := range []int{1, 16} {
			b.Run(sprint("sync=", on, "/writers=", writers), func(b *testing.B) {
				reg := prometheus.NewRegistry()
				tenants, err := OpenTenants(b.TempDir(), TenantsOptions{SyncOnCommit: on, Registerer: reg})
				if err != nil {
					b.Fatal(err)
				}
				defer tenants.Close()
				var next, clock atomic.Int64
				b.SetParallelism(writers) // times the number of processors
				b.RunParallel(func(pb *testing.PB) {
					mine := up(sprint(next.Add(1)))
					for pb.Next() {
						if err := write(b.Context(), tenants, "a", base+clock.Add(1), 1, mine); err != nil {
							b.Error(err)
						}
					}
				})
			})
		}
	}
}
