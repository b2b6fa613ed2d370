package wiring

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/varve-tsdb/varve/block"
	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/cache"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
	"github.com/varve-tsdb/varve/query"
	"github.com/varve-tsdb/varve/receive"
	"github.com/varve-tsdb/varve/store"
)

// wiring makes a source out of batches, of a tenant each, and returns it with
// a function that releases it.
type wiring func(t testing.TB, tenants map[string][]batch) (storage.ChunkQueryable, func())

// wirings are all the ways samples can go, by name.
var wirings = map[string]wiring{
	"head":                                 headOnly,
	"bucket":                               bucketOnly,
	"head and bucket":                      headAndBucket,
	"half head, half bucket":               halfAndHalf,
	"bucket behind caches":                 bucketBehindCaches,
	"bucket that fails one request in ten": flakyBucket,
	"bucket that fails behind a cache":     failingBehindCache,

	"bucket behind gRPC":                behindGRPC(bucketOnly, false),
	"bucket behind gRPC, compressed":    behindGRPC(bucketOnly, true),
	"halves, behind gRPC":               behindGRPC(halfAndHalf, false),
	"head and bucket, each behind gRPC": bothBehindGRPC,
	"head, twice behind gRPC":           twiceBehindGRPC,
}

// external are the labels of everything that is stored here.
var external = labels.FromStrings("varve_region", "eu", "zzz_replica", "1")

// externalNames are what a reader has to drop to see the labels that were
// written.
var externalNames = []string{"tenant_id", "varve_region", "zzz_replica"}

// parts are the opened pieces of one instance.
type parts struct {
	heads *receive.Tenants
	hist  *store.Bucket
	ship  *block.Shipper
}

func openParts(t testing.TB) *parts { return openPartsOver(t, objstoretest.NewMemory()) }

func openPartsOver(t testing.TB, bkt objstore.Bucket) *parts {
	t.Helper()
	heads, err := receive.OpenTenants(t.TempDir(), receive.TenantsOptions{
		Labels: external, BlockDuration: 24 * time.Hour, Retention: -1, MinFreeDisk: -1,
	})
	if err != nil {
		t.Fatal(err)
	}
	hist, err := store.Open(bkt, t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	// From the beginning there is an index, by which hist finds what is shipped.
	index, err := block.NewBucketIndex(bkt, block.BucketIndexOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := index.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
	ship, err := block.NewShipper(bkt, heads, block.ShipperOptions{Index: index})
	if err != nil {
		t.Fatal(err)
	}
	return &parts{heads: heads, hist: hist, ship: ship}
}

func (p *parts) close(t testing.TB) {
	t.Helper()
	if err := errors.Join(p.hist.Close(), p.heads.Close()); err != nil {
		t.Error(err)
	}
}

func (p *parts) append(t testing.TB, tenants map[string][]batch) {
	t.Helper()
	for tenant, batches := range tenants {
		for _, b := range batches {
			app, err := p.heads.Appender(context.Background(), tenant)
			if err != nil {
				t.Fatal(err)
			}
			if err := b.appendTo(app); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// shipAll cuts all there is into blocks and gets them into the bucket.
func (p *parts) shipAll(t testing.TB) {
	t.Helper()
	ctx := context.Background()
	for _, pass := range []func(context.Context) error{p.heads.Flush, p.ship.Ship, p.hist.Sync} {
		if err := pass(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

func headOnly(t testing.TB, tenants map[string][]batch) (storage.ChunkQueryable, func()) {
	p := openParts(t)
	p.append(t, tenants)
	return p.heads, func() { p.close(t) }
}

func bucketOnly(t testing.TB, tenants map[string][]batch) (storage.ChunkQueryable, func()) {
	p := openParts(t)
	p.append(t, tenants)
	p.shipAll(t)
	return p.hist, func() { p.close(t) }
}

// flakyBucket is a bucket of which every tenth request fails, breaks off, stalls or
// brings a wrong byte.
func flakyBucket(t testing.TB, tenants map[string][]batch) (storage.ChunkQueryable, func()) {
	faulty := objstoretest.NewFaulty(objstoretest.NewMemory())
	watched, err := objstore.WithDeadlines(faulty, objstore.DeadlineOptions{FirstByte: 50 * time.Millisecond, Stall: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	bkt, err := objstore.WithRetry(watched, objstore.RetryOptions{MinBackoff: time.Millisecond, MaxAttempts: 8})
	if err != nil {
		t.Fatal(err)
	}
	p := openPartsOver(t, bkt)
	p.append(t, tenants)
	p.shipAll(t)
	away := errors.New("the bucket is away")
	var requests atomic.Int64
	every := func(n int64, fault objstoretest.Fault) objstoretest.Rule {
		return objstoretest.Rule{Op: objstore.OpGetRange, Fault: fault, Match: func(string, string) bool { return requests.Load()%40 == n }}
	}
	count := objstoretest.Rule{Match: func(string, string) bool { requests.Add(1); return false }}
	faulty.Set(count, every(7, objstoretest.Fail(away)), every(17, objstoretest.Break(100, away)), every(27, objstoretest.StallAfter(100)), every(37, objstoretest.Flip(50)))
	return p.hist, func() {
		p.close(t)
		if faulty.Struck() == 0 {
			t.Error("no request failed")
		}
	}
}

// shipped has everything in a bucket.
func shipped(t testing.TB, bkt objstore.Bucket, tenants map[string][]batch) (storage.ChunkQueryable, func()) {
	p := openPartsOver(t, bkt)
	p.append(t, tenants)
	p.shipAll(t)
	return p.hist, func() {
		p.close(t)
		if err := bkt.Close(); err != nil {
			t.Error(err)
		}
	}
}

// bucketBehindCaches has so little room in memory that pages come from there,
// from disk and from the bucket.
func bucketBehindCaches(t testing.TB, tenants map[string][]batch) (storage.ChunkQueryable, func()) {
	bkt, err := cache.New(objstoretest.NewMemory(), cache.Options{MemoryBytes: 128 << 10, Dir: t.TempDir(), DiskBytes: 9 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return shipped(t, bkt, tenants)
}

// failingBehindCache fails each tenth operation, in turns at once, in the middle,
// and by answers that are cut off or have a wrong byte, which the cache then has.
func failingBehindCache(t testing.TB, tenants map[string][]batch) (storage.ChunkQueryable, func()) {
	away := errors.New("the bucket is away for a moment")
	faulty := objstoretest.NewFaulty(objstoretest.NewMemory())
	var asked atomic.Int64
	faulty.Set(objstoretest.Rule{
		Match: func(string, string) bool { return asked.Add(1)%30 == 10 }, Fault: objstoretest.Fail(away),
	}, objstoretest.Rule{
		Op: objstore.OpGetRange, Match: func(string, string) bool { return asked.Load()%30 == 20 }, Fault: objstoretest.Break(50, away),
	}, objstoretest.Rule{
		Op: objstore.OpGetRange, Match: func(string, string) bool { return asked.Load()%60 == 30 }, Fault: objstoretest.Truncate(50),
	}, objstoretest.Rule{
		Op: objstore.OpGetRange, Match: func(string, string) bool { return asked.Load()%60 == 0 }, Fault: objstoretest.Flip(50),
	})
	retried, err := objstore.WithRetry(faulty, objstore.RetryOptions{MinBackoff: time.Microsecond, MaxBackoff: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	bkt, err := cache.New(retried, cache.Options{MemoryBytes: 128 << 10})
	if err != nil {
		t.Fatal(err)
	}
	source, release := shipped(t, bkt, tenants)
	return source, func() {
		release()
		if faulty.Struck() == 0 {
			t.Error("no operation met with a fault")
		}
	}
}

// headAndBucket has everything twice: local blocks stay after they are shipped.
func headAndBucket(t testing.TB, tenants map[string][]batch) (storage.ChunkQueryable, func()) {
	p := openParts(t)
	p.append(t, tenants)
	p.shipAll(t)
	return query.NewFanout([]storage.ChunkQueryable{p.heads, p.hist}, query.FanoutOptions{}), func() { p.close(t) }
}

// halfAndHalf has every other sample in a bucket and the others in a head, as
// two receivers would that share the load.
func halfAndHalf(t testing.TB, tenants map[string][]batch) (storage.ChunkQueryable, func()) {
	var halves [2]map[string][]batch
	for i := range halves {
		halves[i] = map[string][]batch{}
		for tenant, batches := range tenants {
			for _, b := range batches {
				var half batch
				for j, s := range b {
					if j%2 == i {
						half = append(half, s)
					}
				}
				halves[i][tenant] = append(halves[i][tenant], half)
			}
		}
	}
	head, closeHead := headOnly(t, halves[0])
	bucket, closeBucket := bucketOnly(t, halves[1])
	return query.NewFanout([]storage.ChunkQueryable{bucket, head}, query.FanoutOptions{}), func() {
		closeHead()
		closeBucket()
	}
}

// eventually repeats attempt until it succeeds.
func eventually(t *testing.T, attempt func() error) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		err := attempt()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}
