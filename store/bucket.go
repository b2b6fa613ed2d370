package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/fileutil"
	"golang.org/x/sync/semaphore"

	"github.com/varve-tsdb/varve/block"
	"github.com/varve-tsdb/varve/internal/every"
	"github.com/varve-tsdb/varve/internal/readcost"
	"github.com/varve-tsdb/varve/objstore"
)

var _ storage.ChunkQueryable = (*Bucket)(nil)

// Bucket answers queries from the complete blocks of a bucket. All methods may
// be called at once.
type Bucket struct {
	bkt     objstore.BucketReader
	dir     string
	opts    Options
	metrics *metrics
	fetcher Fetcher
	src     *source
	budget  *readcost.Budget
	lock    fileutil.Releaser // of dir

	// life ends with Close. Passes that reads cause have it as their context, so that
	// they are on no one's account.
	life    context.Context
	end     context.CancelFunc
	syncing chan struct{} // holds a token while a Sync or Close runs; guards cleaned, began and lock
	cleaned bool          // whether dir was
	began   time.Time     // of the last Sync that succeeded

	running sync.WaitGroup // open queriers
	mu      sync.RWMutex   // guards what follows
	set     *blockSet      // nil before the first successful Sync
	closed  bool
}

// Open returns a Bucket over bkt that keeps index headers and what it knows of
// the blocks in the directory dir, which is created. It makes no request:
// until Run or Sync has succeeded once, queriers fail with ErrNotReady.
//
// The directory belongs to this Bucket until Close or the end of the process: one
// that another has open is an ErrDirInUse. It may be lost at any time the Bucket
// is not open. A directory that Thanos Store kept index headers in is welcome.
func Open(bkt objstore.BucketReader, dir string, opts Options) (_ *Bucket, err error) {
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	opts = opts.withDefaults()
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, fmt.Errorf("store: create directory for index headers: %w", err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, lock.Release())
		}
	}()
	m, err := newMetrics(opts.Registerer)
	if err != nil {
		return nil, err
	}
	b := &Bucket{
		bkt: bkt, dir: dir, opts: opts, metrics: m, fetcher: opts.Fetcher, budget: opts.Budget,
		syncing: make(chan struct{}, 1), lock: lock,
	}
	if b.budget == nil {
		if b.budget, err = NewBudget(BudgetOptions{}); err != nil {
			m.registered.UnregisterAll()
			return nil, fmt.Errorf("store: %w", err)
		}
	}
	b.life, b.end = context.WithCancel(context.Background())
	b.src = &source{
		whole: semaphore.NewWeighted(wholeIndexes),
		bkt:   bkt, slots: semaphore.NewWeighted(int64(opts.Concurrency)), metrics: m, log: opts.Logger,
		quarantine: newQuarantine(opts.Quarantine, m), refresh: b.refresh, heir: b.heir, headers: newHeaderBudget(opts, m),
	}
	b.src.ranges, _ = bkt.(objstore.RangesReader)
	if b.fetcher == nil {
		if b.fetcher, err = newFetcher(bkt, dir, opts, m.registered); err != nil {
			m.registered.UnregisterAll()
			return nil, fmt.Errorf("store: %w", err)
		}
	}
	return b, nil
}

func newFetcher(bkt objstore.BucketReader, dir string, opts Options, reg prometheus.Registerer) (Fetcher, error) {
	return block.NewFetcher(bkt, block.FetcherOptions{
		Dir: filepath.Join(dir, "metas"), NoIndex: opts.NoIndex, ConsistencyDelay: opts.ConsistencyDelay,
		IgnoreDeletionMarksDelay: opts.IgnoreDeletionMarksDelay, Logger: opts.Logger,
		Registerer: prometheus.WrapRegistererWith(prometheus.Labels{"component": "store"}, reg),
	})
}

// Run calls Sync at once and then every SyncInterval until ctx ends, and then
// returns nil. A Sync that fails is logged and tried again at the next
// interval.
func (b *Bucket) Run(ctx context.Context) error {
	return every.Run(ctx, b.opts.SyncInterval, b.Sync, func(err error) {
		b.opts.Logger.Error("could not sync the blocks of the bucket, going on with those known", "bucket", b.name(), "err", err)
	})
}

// ChunkQuerier returns a querier of the blocks that overlap the range from
// mint to maxt, both inclusive, in milliseconds. It reads nothing yet. Blocks
// that leave the bucket's view stay open for it until it is closed.
//
// Its Select begins to read at once and in the background; what it returns is
// always sorted and stays usable after Close.
func (b *Bucket) ChunkQuerier(mint, maxt int64) (storage.ChunkQuerier, error) {
	return b.open(mint, maxt, nil)
}

// ChunkQuerierWithout is ChunkQuerier with the named labels left out of all
// answers. Series come in the order of the labels that are left; where that
// makes label sets equal they follow each other.
func (b *Bucket) ChunkQuerierWithout(mint, maxt int64, without []string) (storage.ChunkQuerier, error) {
	return b.open(mint, maxt, without)
}

func (b *Bucket) open(mint, maxt int64, without []string) (storage.ChunkQuerier, error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	switch {
	case b.closed:
		return nil, ErrClosed
	case b.set == nil:
		return nil, ErrNotReady
	}
	streams := b.set.between(mint, maxt)
	for _, s := range streams {
		for _, block := range s.blocks {
			block.retain()
		}
	}
	b.running.Add(1)
	b.metrics.queriers.Inc()
	q := newQuerier(b, mint, maxt, without, streams)
	q.unreadable, q.all = b.set.unreadable, b.set.blocks()
	return q, nil
}

// unpin ends a querier.
func (b *Bucket) unpin(streams []pinnedStream) {
	for _, s := range streams {
		for _, block := range s.blocks {
			block.release()
		}
	}
	b.src.headers.trim()
	b.metrics.queriers.Dec()
	b.running.Done()
}

// Streams calls yield once for each set of external labels among the blocks
// that are served, with the inclusive time range in milliseconds that these
// blocks span, until yield returns false. It reads nothing.
//
// Before the first successful Sync, and while there are blocks whose meta.json
// cannot be read, it also yields no labels and all of time: anything may be
// there, and a reader that passed the bucket by would not hear of it.
func (b *Bucket) Streams(yield func(external labels.Labels, mint, maxt int64) bool) {
	b.mu.RLock()
	set := b.set
	b.mu.RUnlock()
	if set == nil || len(set.unreadable) > 0 {
		if !yield(labels.EmptyLabels(), math.MinInt64, math.MaxInt64) || set == nil {
			return
		}
	}
	for _, s := range set.streams {
		if !yield(s.external, s.minTime, s.maxTime-1) {
			return
		}
	}
}

// String names the bucket in warnings and errors.
func (b *Bucket) String() string { return "bucket " + b.name() }

// name of the bucket, if it has one.
func (b *Bucket) name() string {
	if named, ok := b.bkt.(interface{ Name() string }); ok {
		return named.Name()
	}
	return ""
}

// Close refuses new queriers, waits until those that are open are closed and a
// Sync that is under way has ended, closes all blocks and takes the metrics off
// the registry. It may be called twice.
func (b *Bucket) Close() error {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	// Before a Sync is kept from running: a read may be waiting for one.
	b.running.Wait()
	b.src.running.Wait()
	b.end()
	b.syncing <- struct{}{}
	defer b.giveTurn()

	b.mu.Lock()
	set := b.set
	b.set = nil
	b.mu.Unlock()
	b.metrics.registered.UnregisterAll()
	if set != nil {
		for _, s := range set.streams {
			for _, block := range s.blocks {
				block.release()
			}
		}
	}
	lock := b.lock
	b.lock = nil
	if lock == nil {
		return nil
	}
	return lock.Release()
}
