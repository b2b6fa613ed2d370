package wiring

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/varve-tsdb/varve/block"
	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
	"github.com/varve-tsdb/varve/receive"
)

// shippedSample is a sample as its block says where it belongs.
type shippedSample struct {
	tenant, series string
	t              int64
	v              float64
}

var errOutage = errors.New("the bucket is out of order")

// idleRig is tenants that are idle as soon as nobody writes to them, and whose
// blocks go as soon as they are shipped, over a bucket that fails.
type idleRig struct {
	dir  string
	mem  *objstoretest.Memory
	bkt  *objstoretest.Faulty
	reg  *prometheus.Registry
	seen map[string]float64 // counters of processes that have ended, by name
	next [2]int64           // the time of the newest sample of each tenant

	mu           sync.Mutex // guards what follows
	acknowledged map[shippedSample]bool
	uncertain    map[shippedSample]bool // the commit has failed
}

// fail has the bucket go wrong in another way every few milliseconds, until ctx is
// done.
func (r *idleRig) fail(ctx context.Context, random *rand.Rand) {
	faults := []objstoretest.Fault{
		objstoretest.Fail(errOutage), objstoretest.Lose(errOutage), objstoretest.Break(50, errOutage), objstoretest.Truncate(50),
		objstoretest.Delay(3 * time.Millisecond),
	}
	ops := []string{"", objstore.OpUpload, objstore.OpIter, objstore.OpAttributes, objstore.OpGet}
	for ctx.Err() == nil {
		r.bkt.Set(objstoretest.Rule{
			Op: ops[random.IntN(len(ops))], Skip: random.IntN(4), Times: 1 + random.IntN(4), Fault: faults[random.IntN(len(faults))],
		})
		time.Sleep(time.Duration(random.IntN(8)) * time.Millisecond)
	}
	r.bkt.Set()
}

// write sends samples of some series, with pauses in which the tenants become
// idle, are shipped and removed. Writers of a tenant have a series each.
func (r *idleRig) write(ctx context.Context, heads *receive.Tenants, writer, samples int) error {
	tenant := writer % 2
	s := shippedSample{tenant: fmt.Sprint("tenant-", tenant), series: fmt.Sprint("series-", writer)}
	ls := labels.FromStrings("__name__", s.series)
	for i := range samples {
		r.mu.Lock()
		r.next[tenant] += 40
		s.t, s.v = 1_700_006_400_000+r.next[tenant], float64(i)
		r.mu.Unlock()
		app, err := heads.Appender(ctx, s.tenant)
		if err != nil {
			return err
		}
		_, err = app.Append(0, ls, 0, s.t, s.v, nil, nil, storage.AOptions{})
		switch {
		case errors.Is(err, storage.ErrOutOfBounds), errors.Is(err, storage.ErrTooOldSample):
			err = app.Rollback() // Another writer was faster, or a flush.
		case err != nil:
			err = errors.Join(err, app.Rollback())
		default:
			err = app.Commit()
			r.mu.Lock()
			if err == nil {
				r.acknowledged[s] = true
			} else {
				r.uncertain[s] = true
			}
			r.mu.Unlock()
		}
		if err != nil {
			return err
		}
		switch {
		case i%20 == 19:
			time.Sleep(50 * time.Millisecond)
		case i%5 == writer:
			time.Sleep(5 * time.Millisecond)
		}
	}
	return nil
}

// open returns tenants and their shipper as a process has them that has just
// started.
func (r *idleRig) open(t *testing.T) (*receive.Tenants, *block.Shipper) {
	t.Helper()
	r.reg = prometheus.NewRegistry()
	heads, err := receive.OpenTenants(r.dir, receive.TenantsOptions{
		Labels: external, BlockDuration: time.Minute, Retention: time.Nanosecond, IdleAfter: time.Nanosecond,
		MinFreeDisk: -1, OutOfOrderWindow: 500 * time.Millisecond, Concurrency: 4, Registerer: r.reg,
	})
	if err != nil {
		t.Fatal(err)
	}
	ship, err := block.NewShipper(r.bkt, heads, block.ShipperOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return heads, ship
}

// run is the life of one process: writers, upkeep, flushes and the shipper, all at
// once and as fast as they can.
func (r *idleRig) run(t *testing.T, seed uint64) {
	heads, ship := r.open(t)
	ctx, cancel := context.WithCancel(t.Context())
	var side, writers sync.WaitGroup
	loop := func(pause time.Duration, pass func(context.Context) error) {
		side.Go(func() {
			for ctx.Err() == nil {
				if err := pass(ctx); err != nil && ctx.Err() == nil {
					t.Error(err)
					return
				}
				time.Sleep(pause)
			}
		})
	}
	side.Go(func() { r.fail(ctx, rand.New(rand.NewPCG(seed, 0))) })
	loop(time.Millisecond, heads.Compact)
	loop(20*time.Millisecond, heads.Flush)
	loop(time.Millisecond, func(ctx context.Context) error {
		if err := ship.Ship(ctx); err != nil && r.bkt.Struck() == 0 {
			return err
		}
		return nil
	})
	for writer := range 3 {
		writers.Go(func() {
			if err := r.write(t.Context(), heads, writer, 80); err != nil {
				t.Errorf("writer %d: %v", writer, err)
			}
		})
	}
	writers.Wait()
	cancel()
	side.Wait()
	r.keepCounters(t)
	// What is still to be shipped is left to the next process.
	if err := heads.Close(); err != nil {
		t.Error(err)
	}
}

// keepCounters adds up what a process has counted, before that is gone.
func (r *idleRig) keepCounters(t *testing.T) {
	t.Helper()
	families, err := r.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			r.seen[f.GetName()] += m.GetCounter().GetValue()
		}
	}
}

// finish ships all that is left over a bucket that is well, until no tenant has
// anything on the disk.
func (r *idleRig) finish(t *testing.T) {
	t.Helper()
	heads, ship := r.open(t)
	defer func() {
		if err := heads.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := heads.OpenAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if err := errors.Join(heads.Compact(t.Context()), ship.Ship(t.Context())); err != nil {
			t.Fatal(err)
		}
		left, err := filepath.Glob(filepath.Join(r.dir, "tenant-*"))
		if err == nil && len(left) > 0 || ship.Pending().Blocks > 0 {
			err = fmt.Errorf("%v are left, %d blocks pending", left, ship.Pending().Blocks)
		}
		return err
	})
}

// bucket reads every block that is there by itself, and returns how often each
// sample is in any of them.
func (r *idleRig) bucket(t *testing.T) map[shippedSample]int {
	t.Helper()
	fetcher, err := block.NewFetcher(r.mem, block.FetcherOptions{})
	if err != nil {
		t.Fatal(err)
	}
	view, err := fetcher.Fetch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	metas := view.Blocks
	for _, h := range view.Hidden {
		metas = append(metas, h.Meta)
	}
	for _, p := range view.Partial {
		t.Errorf("block %s is not whole: %v", p.ID, p.Err)
	}
	found := map[shippedSample]int{}
	for _, m := range metas {
		dir := t.TempDir()
		if _, err := block.Download(t.Context(), r.mem, m.ULID, dir, block.DownloadOptions{}); err != nil {
			t.Errorf("block %s: %v", m.ULID, err)
			continue
		}
		for name, want := range map[string]string{"varve_region": "eu", "zzz_replica": "1"} {
			if m.Thanos.Labels[name] != want {
				t.Errorf("block %s has the labels %v", m.ULID, m.Thanos.Labels)
			}
		}
		if err := countBlock(filepath.Join(dir, m.ULID.String()), m.Thanos.Labels["tenant_id"], found); err != nil {
			t.Errorf("block %s: %v", m.ULID, err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	}
	return found
}

// countBlock counts the samples of a block on the disk.
func countBlock(dir, tenant string, found map[shippedSample]int) (err error) {
	b, err := tsdb.OpenBlock(nil, dir, nil, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	q, err := tsdb.NewBlockQuerier(b, math.MinInt64, math.MaxInt64)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	set := q.Select(context.Background(), true, nil, labels.MustNewMatcher(labels.MatchRegexp, "__name__", ".+"))
	for set.Next() {
		it := set.At().Iterator(nil)
		for it.Next() == chunkenc.ValFloat {
			at, v := it.At()
			found[shippedSample{tenant, set.At().Labels().Get("__name__"), at, v}]++
		}
		if it.Err() != nil {
			return it.Err()
		}
	}
	return set.Err()
}

// memoryDir returns a directory in memory, if there is such a thing: the test
// syncs a great deal.
func memoryDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "varve-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// Tenants go idle, are flushed and closed, come back and are removed, in several
// processes one after the other, while the real shipper works against a bucket
// that fails in every way. In the end the bucket has each sample that was
// acknowledged, in one block and no other, and nothing is left on the disk.
func TestIdleTenantsAreShippedOnce(t *testing.T) {
	mem := objstoretest.NewMemory()
	r := &idleRig{
		dir: memoryDir(t), mem: mem, bkt: objstoretest.NewFaulty(mem),
		seen:         map[string]float64{},
		acknowledged: map[shippedSample]bool{}, uncertain: map[shippedSample]bool{},
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for process := range uint64(3) {
		r.run(t, seed+process)
	}
	r.finish(t)
	found := r.bucket(t)
	for s := range r.acknowledged {
		if n := found[s]; n != 1 {
			t.Errorf("%v is in %d blocks of the bucket", s, n)
		}
	}
	for s, n := range found {
		if !r.acknowledged[s] && (!r.uncertain[s] || n > 1) {
			t.Errorf("%v is in %d blocks, and was never acknowledged", s, n)
		}
	}
	t.Logf("%d samples acknowledged, %d faults", len(r.acknowledged), r.bkt.Struck())
	for _, name := range []string{"blocks_cut_total", "idle_closings_total", "removals_total", "opens_total"} {
		n := r.seen["varve_receive_tenants_"+name]
		t.Logf("%s %v", name, n)
		if n == 0 {
			t.Errorf("%s is 0: nothing was tested", name)
		}
	}
	if r.bkt.Struck() == 0 || len(r.acknowledged) == 0 {
		t.Error("nothing was tested")
	}
}
