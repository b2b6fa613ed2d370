package receive

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"

	"github.com/varve-tsdb/varve/internal/shipped"
)

// storedSample is a sample as a reader of all tenants sees it.
type storedSample struct {
	series string
	t      int64
	v      float64
}

// sampleSet is what was acknowledged, or what is in a bucket.
type sampleSet struct {
	mu  sync.Mutex
	all map[storedSample]bool
}

func (s *sampleSet) add(samples ...storedSample) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[storedSample]bool{}
	}
	for _, one := range samples {
		s.all[one] = true
	}
}

func (s *sampleSet) clone() map[storedSample]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.all)
}

func flat(series []readSeries) (out []storedSample) {
	for _, s := range series {
		for _, p := range s.points {
			out = append(out, storedSample{s.labels, p.t, p.v})
		}
	}
	return out
}

// shipInto is a pass of a shipper: what is in the blocks that may be shipped
// goes into the bucket, and then they are noted as shipped.
func shipInto(ctx context.Context, bucket *sampleSet, tenants *Tenants) error {
	var errs []error
	tenants.BlockDirs(func(dir string, _ labels.Labels) bool {
		err := shipDirInto(ctx, bucket, tenants, dir)
		if exists(dir) { // A tenant may have been removed meanwhile.
			errs = append(errs, err)
		}
		return true
	})
	return errors.Join(errs...)
}

func shipDirInto(ctx context.Context, bucket *sampleSet, tenants *Tenants, dir string) error {
	done, err := shipped.Read(dir)
	if err != nil {
		return err
	}
	local := map[ulid.ULID]bool{}
	for _, b := range closedBlocks(dir) {
		if done[b.id] {
			local[b.id] = true
			continue
		}
		external, ready := tenants.BlockLabels(dir, b.id)
		if !ready {
			continue
		}
		samples, err := samplesOfBlock(ctx, filepath.Join(dir, b.id.String()), external)
		if err != nil {
			return err
		}
		bucket.add(samples...)
		local[b.id] = true
	}
	content, err := shipped.Encode(local)
	if err != nil {
		return err
	}
	tmp := filepath.Join(dir, shipped.Filename+".tmp")
	if err := os.WriteFile(tmp, content, 0o666); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(dir, shipped.Filename))
}

func samplesOfBlock(ctx context.Context, dir string, external labels.Labels) (_ []storedSample, err error) {
	block, err := tsdb.OpenBlock(nil, dir, nil, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, block.Close()) }()
	q, err := tsdb.NewBlockChunkQuerier(block, math.MinInt64, math.MaxInt64)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	series, err := readFrom(ctx, q, math.MinInt64, math.MaxInt64)
	for i := range series {
		series[i].labels = fmt.Sprint(external.String(), series[i].labels)
	}
	return flat(series), err
}

// inBucket is how samplesOfBlock names a series.
func inBucket(tenant, instance string) string {
	return labels.FromStrings("tenant_id", tenant).String() + up(instance).String()
}

func inTenants(tenant, instance string) string {
	return labels.NewBuilder(up(instance)).Set("tenant_id", tenant).Labels().String()
}

// Writers, queries, a shipper and the closing of idle tenants, all at once and
// as fast as they can: whatever was acknowledged before a read began is in what
// it reads, or has been shipped by its end. Blocks are deleted as soon as they
// are shipped, and tenants are removed when they have none.
func TestIdlenessLosesNothing(t *testing.T) {
	leakCheck(t)
	dir := fastTempDir(t)
	opts := TenantsOptions{
		IdleAfter: atOnce, Retention: atOnce, BlockDuration: time.Minute, MinFreeDisk: -1,
		OutOfOrderWindow: 500 * time.Millisecond, Concurrency: 4,
	}
	tenants := openTenants(t, dir, opts)
	var local, remote sampleSet // what was acknowledged, under both names
	var bucket sampleSet
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var side sync.WaitGroup
	loop := func(pause time.Duration, do func() error) {
		side.Go(func() {
			for ctx.Err() == nil {
				if err := do(); err != nil && !errors.Is(err, context.Canceled) {
					t.Error(err)
					return
				}
				time.Sleep(pause)
			}
		})
	}
	var reads atomic.Int64
	loop(time.Millisecond, func() error { return tenants.Compact(ctx) })
	loop(time.Millisecond, func() error { return shipInto(ctx, &bucket, tenants) })
	loop(20*time.Millisecond, func() error { return tenants.Flush(ctx) })
	loop(3*time.Millisecond, func() error {
		reads.Add(1)
		return readNothingLess(ctx, tenants, &local, &bucket)
	})

	const writers, rounds = 3, 150
	var main sync.WaitGroup
	var clocks [2]atomic.Int64
	for w := range writers {
		tenant := w % 2
		name := sprint("tenant-", tenant)
		main.Go(func() {
			for round := range rounds {
				ts, v := base+clocks[tenant].Add(40), float64(round)
				switch err := write(ctx, tenants, name, ts, v, up(sprint(w))); {
				case err == nil:
					local.add(storedSample{inTenants(name, sprint(w)), ts, v})
					remote.add(storedSample{inBucket(name, sprint(w)), ts, v})
				case errors.Is(err, storage.ErrOutOfBounds), errors.Is(err, storage.ErrTooOldSample):
				default:
					t.Error(err)
				}
				switch {
				case round%30 == 29: // Long enough to be idle, shipped and removed.
					time.Sleep(60 * time.Millisecond)
				case round%5 == w:
					time.Sleep(6 * time.Millisecond)
				}
			}
		})
	}
	main.Wait()
	cancel()
	side.Wait()
	closings, removals := counterValue(t, tenants.metrics.idleClosings), counterValue(t, tenants.metrics.removals)
	t.Logf("%d samples acknowledged, %d reads, %v idle closings, %v removals", len(local.all), reads.Load(), closings, removals)
	if closings == 0 || removals == 0 || reads.Load() == 0 || len(local.all) < rounds {
		t.Error("nothing was tested")
	}

	// In the end it is all in the bucket, and nothing is left.
	for range 100 {
		time.Sleep(time.Millisecond)
		if err := errors.Join(tenants.Compact(t.Context()), shipInto(t.Context(), &bucket, tenants)); err != nil {
			t.Fatal(err)
		}
		if slots, _ := tenants.all(); len(slots) == 0 {
			break
		}
	}
	if slots, _ := tenants.all(); len(slots) > 0 {
		t.Errorf("%d tenants stay", len(slots))
	}
	for s := range remote.all {
		if !bucket.all[s] {
			t.Errorf("the bucket lacks %v", s)
		}
	}
	if len(bucket.all) > len(remote.all) {
		t.Errorf("the bucket has %d samples of %d", len(bucket.all), len(remote.all))
	}
}

func readNothingLess(ctx context.Context, tenants *Tenants, acknowledged, bucket *sampleSet) error {
	want := acknowledged.clone()
	series, err := read(ctx, tenants, math.MinInt64, math.MaxInt64)
	if err != nil {
		return err
	}
	for _, s := range flat(series) {
		delete(want, s)
	}
	stored := map[string]map[int64]bool{}
	for s := range bucket.clone() {
		if stored[s.series] == nil {
			stored[s.series] = map[int64]bool{}
		}
		stored[s.series][s.t] = true
	}
	for s := range want {
		found := false
		for w := range 3 {
			name := sprint("tenant-", w%2)
			found = found || s.series == inTenants(name, sprint(w)) && stored[inBucket(name, sprint(w))][s.t]
		}
		if !found {
			return fmt.Errorf("%v was acknowledged and can be read nowhere", s)
		}
	}
	return nil
}
