package receive

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/compression"

	"github.com/varve-tsdb/varve/internal/durable"
)

const (
	// smallLog is up to how many bytes of logs are replayed by one goroutine: each
	// takes its buffers, which are larger than such logs.
	smallLog = 1 << 20
	// firstExemplars is how many exemplars a head makes room for at first.
	firstExemplars = 64
	// brokenCloseTimeout bounds the wait for a broken head to close: the panic
	// that broke it may have left locks held.
	brokenCloseTimeout = 10 * time.Second
)

// head is one tenant's opened TSDB: its write-ahead log, the samples in memory
// and the blocks on the local disk. It is opened and closed once; a tenant
// whose head has failed gets another.
//
// Appends and reads may run at once, each inside its gate. Maintenance (mmap,
// cut, flush, close) is serialised by the tenant.
type head struct {
	tenant   string
	dir      string
	external labels.Labels
	others   int // heads that were open when it was made
	opts     TenantsOptions
	log      *slog.Logger
	metrics  *tenantsMetrics
	space    *freeSpace
	garbage  *garbage
	// claimTables is for unloggedSeries.
	claimTables *sync.Pool
	onFail      func(*headFailure)
	onClose     func()

	db        *tsdb.DB
	cutter    *blockCutter
	collected *recorder
	// refs are good for db alone: another counts its references anew.
	refs     *SeriesRefs
	unlogged *unloggedSeries
	sync     *logSync // nil without SyncOnCommit

	writers    gate
	readers    gate
	committing sync.Mutex // held while a transaction is committed
	commits    atomic.Uint64
	failed     atomic.Pointer[headFailure]
	// former are the labels of blocks that were cut under others than external.
	former map[ulid.ULID]labels.Labels

	lastWrite    atomic.Int64 // or the opening, Unix nanoseconds
	exemplars    atomic.Int64 // appended since the opening
	exemplarRoom atomic.Int64
}

// open opens the TSDB, replaying its write-ahead log. What is damaged in it has
// been mended by then; should the TSDB still find something that it cannot make
// sense of, it drops what follows.
func (h *head) open() error {
	if err := h.makeSpace(); err != nil {
		return &TenantError{Tenant: h.tenant, External: h.external, Kind: ErrNoSpace, Err: err}
	}
	// A TSDB that fails to open leaves a goroutine and a file open behind, so
	// it is not asked as long as a block would make it fail.
	if err := h.setBrokenAside(nil); err != nil {
		return &TenantError{Tenant: h.tenant, External: h.external, Kind: ErrTenantFailed, Err: err}
	}
	if err := h.settleLabels(); err != nil {
		return &TenantError{Tenant: h.tenant, External: h.external, Kind: ErrTenantFailed, Err: err}
	}
	logs := h.replaySize()
	defer func() { h.garbage.add(openingGarbage + logs) }()
	err := h.openDB()
	if err == nil && h.collected.counter(repairsCounter) > 0 {
		h.metrics.repairs.Inc()
		h.log.Error("The write-ahead log holds a record that makes no sense, and has been repaired; what followed that record is lost.")
		if h.hasOutOfOrderLog() {
			// Finding the damage, the TSDB stopped before it read the log of
			// out-of-order samples.
			if err = h.closeDB(); err == nil {
				h.unregister()
				err = h.openDB()
			}
		}
	}
	if err != nil {
		h.unregister()
		return &TenantError{Tenant: h.tenant, External: h.external, Kind: ErrTenantFailed, Err: fmt.Errorf("open %s: %w", h.dir, err)}
	}
	h.lastWrite.Store(time.Now().UnixNano())
	if err := h.releaseBroken(); err != nil {
		h.log.Warn("Damaged segments of logs stay where they are for now.", "err", err)
	}
	return nil
}

func (h *head) openDB() (err error) {
	h.collected = &recorder{}
	if h.opts.TSDBMetrics && h.opts.Registerer != nil {
		h.collected.into = prometheus.WrapRegistererWith(prometheus.Labels{"tenant": h.tenant}, h.opts.Registerer)
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("opening panicked: %v", r)
		}
	}()
	if err := h.locked(h.prepareLogs); err != nil {
		return err
	}
	h.unlogged = &unloggedSeries{tables: h.claimTables}
	h.db, err = tsdb.Open(h.dir, h.log, h.collected, h.tsdbOptions(), nil)
	if err != nil {
		return err
	}
	if h.opts.SyncOnCommit {
		h.sync = h.newLogSync()
		if err := errors.Join(durable.SyncDir(h.dir), durable.SyncDir(filepath.Dir(h.dir))); err != nil {
			return errors.Join(err, h.db.Close())
		}
	}
	h.unlogged.restrict()
	h.refs = NewSeriesRefs(func() int { return int(h.db.Head().NumSeries()) })
	// Passes of ours do what the TSDB would do on its own: a panic in its
	// goroutine could not be fenced.
	h.db.DisableCompactions()
	if err := h.collected.err(); err != nil {
		return errors.Join(err, h.db.Close())
	}
	return nil
}

func (h *head) tsdbOptions() *tsdb.Options {
	o := tsdb.DefaultOptions()
	o.MinBlockDuration = h.opts.BlockDuration.Milliseconds()
	o.MaxBlockDuration = o.MinBlockDuration
	o.RetentionDuration = 0 // deletableBlocks decides.
	o.BlocksToDelete = h.blocksToDelete
	o.BlockChunkQuerierFunc = h.blockChunkQuerier
	o.NewCompactorFunc = h.newCutter
	o.EnableOverlappingCompaction = false
	// Never: see open.
	o.BlockReloadInterval = math.MaxInt64
	o.OutOfOrderTimeWindow = h.opts.OutOfOrderWindow.Milliseconds()
	if h.replaySize() < smallLog {
		o.WALReplayConcurrency = 1
	}
	o.StripeSize = stripesFor(h.others, h.seriesBefore())
	o.SeriesLifecycleCallback = h.unlogged
	// The default of 4 MiB is for one TSDB a process.
	o.HeadChunksWriteBufferSize = chunks.MinWriteBufferSize
	// No queue: a chunk that cannot be written panics where it was written,
	// which is inside our fence.
	o.HeadChunksWriteQueueSize = 0
	// As Prometheus: half the bytes for little CPU.
	o.WALCompression = compression.Snappy
	// Thanos cannot read the newer encodings.
	o.FloatChunkEncoding = chunkenc.EncXOR
	if h.opts.MaxExemplars > 0 {
		o.EnableExemplarStorage = true
		o.MaxExemplars = int64(min(firstExemplars, h.opts.MaxExemplars))
	}
	h.exemplarRoom.Store(o.MaxExemplars)
	return o
}

func (h *head) newCutter(ctx context.Context, r prometheus.Registerer, log *slog.Logger, ranges []int64, pool chunkenc.Pool, opts *tsdb.Options) (tsdb.Compactor, error) {
	metrics := h.metrics.unseenCuts
	if h.collected.into != nil {
		metrics = tsdb.NewCompactorMetrics(r)
	}
	h.cutter = &blockCutter{
		cut: func(n int) {
			h.metrics.blocksCut.Add(float64(n))
			h.garbage.add(cuttingGarbage)
		},
		writer: func(segmentSize int64) (tsdb.Compactor, error) {
			return tsdb.NewLeveledCompactorWithOptions(ctx, nil, log, ranges, pool, tsdb.LeveledCompactorOptions{
				MaxBlockChunkSegmentSize: segmentSize,
				PD:                       opts.PostingsDecoderFactory,
				Metrics:                  metrics,
			})
		},
	}
	return h.cutter, nil
}

// drain lets newcomers wait until those inside have left. Writers wait last: a
// query may take long, and what is appended is soon committed. After an error,
// which is that of ctx, the head is as before.
func (h *head) drain(ctx context.Context) error {
	if err := h.readers.pause(ctx); err != nil {
		return h.stillUsed("queriers to be closed", err)
	}
	if err := h.writers.pause(ctx); err != nil {
		h.readers.resume()
		return h.stillUsed("appenders to be committed", err)
	}
	return nil
}

// retire turns newcomers away for good and waits for those inside to leave. To
// let newcomers wait would be to wait for one another: somebody inside may be
// among them, and not leave before they are told something.
func (h *head) retire(ctx context.Context) error {
	h.writers.shutdown()
	h.readers.shutdown()
	if err := h.writers.wait(ctx); err != nil {
		return h.stillUsed("appenders to be committed", err)
	}
	if err := h.readers.wait(ctx); err != nil {
		return h.stillUsed("queriers to be closed", err)
	}
	return nil
}

func (h *head) stillUsed(what string, err error) error {
	return fmt.Errorf("tenant %q: waiting for %s: %w", h.tenant, what, err)
}

// close closes a drained head.
func (h *head) close() error {
	h.writers.shutdown()
	h.readers.shutdown()
	defer h.onClose()
	defer h.unregister()
	if h.sync != nil {
		defer h.sync.close()
	}
	if h.failed.Load() == nil {
		return h.closeDB()
	}
	// The panic that broke the head may have left locks held.
	done := make(chan error, 1)
	go func() { done <- h.closeDB() }()
	timeout := time.NewTimer(brokenCloseTimeout)
	defer timeout.Stop()
	select {
	case err := <-done:
		return err
	case <-timeout.C:
		return fmt.Errorf("tenant %q: the broken TSDB does not close; its memory is lost until the process ends", h.tenant)
	}
}

func (h *head) closeDB() (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("closing panicked: %v", r)
		}
		if err != nil {
			err = fmt.Errorf("tenant %q: close %s: %w", h.tenant, h.dir, err)
		}
	}()
	return h.db.Close()
}

func (h *head) unregister() { h.collected.unregisterAll() }

// timeRange returns the time of the oldest data in ms, or false if there is
// none.
func (h *head) timeRange() (mint int64, ok bool) {
	mint = math.MaxInt64
	for _, b := range h.db.Blocks() {
		mint = min(mint, b.MinTime())
	}
	if inMemory := h.db.Head(); inMemory.NumSeries() > 0 {
		mint = min(mint, inMemory.MinTime())
		if h.opts.OutOfOrderWindow > 0 {
			mint = min(mint, inMemory.MinOOOTime())
		}
	}
	return mint, mint != math.MaxInt64
}

// chunkQuerier returns the TSDB's querier; both bounds are inclusive. The
// caller must be inside the readers' gate until it has been closed.
func (h *head) chunkQuerier(mint, maxt int64) (q storage.ChunkQuerier, err error) {
	defer h.readFence("open a querier", &err)
	return h.db.ChunkQuerier(mint, maxt)
}

// addExemplars counts n more exemplars and grows the room for them before the
// oldest are overwritten, up to the maximum.
func (h *head) addExemplars(n int) {
	count, room, most := h.exemplars.Add(int64(n)), h.exemplarRoom.Load(), int64(h.opts.MaxExemplars)
	if count < room/2 || room >= most {
		return
	}
	larger := min(most, max(4*room, 2*count))
	if !h.exemplarRoom.CompareAndSwap(room, larger) {
		return // Another appender grows it.
	}
	h.db.Head().ApplyConfig(&config.Config{StorageConfig: config.StorageConfig{
		TSDBConfig:      &config.TSDBConfig{OutOfOrderTimeWindow: h.opts.OutOfOrderWindow.Milliseconds()},
		ExemplarsConfig: &config.ExemplarsConfig{MaxExemplars: larger},
	}}, nil)
}
