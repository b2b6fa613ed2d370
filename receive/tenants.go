package receive

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/fileutil"
	"golang.org/x/sync/errgroup"
)

// Tenants holds one TSDB per tenant, each in a directory of the tenant's name.
// A tenant comes into being with its first write. Together they are a
// storage.ChunkQueryable over the samples in memory and the blocks on the local
// disk, in which every series carries the external labels and the tenant's
// name; and they are the source of the blocks that a shipper uploads.
//
// One tenant's failure is that tenant's alone: its writes and reads are refused
// with a *TenantError until a pass of Run has opened it again.
//
// Opening tenants and cutting blocks may call runtime.GC, unless
// TenantsOptions.KeepGarbage is set.
//
// All methods are safe for concurrent use.
type Tenants struct {
	dir     string
	opts    TenantsOptions
	log     *slog.Logger
	tsdbLog *slog.Logger
	metrics *tenantsMetrics
	space   *freeSpace
	lock    fileutil.Releaser
	heads   atomic.Int64  // that are open
	opening chan struct{} // has a value in it for each tenant that is being opened
	garbage garbage
	// claimTables is for unloggedSeries.
	claimTables sync.Pool

	mu     sync.RWMutex // guards what follows
	slots  map[string]*slot
	closed bool

	closing  sync.Once
	closeErr error
}

var (
	_ storage.ChunkQueryable    = (*Tenants)(nil)
	_ storage.ExemplarQueryable = (*Tenants)(nil)
)

// OpenTenants looks for the tenants in dir, which is created if need be. Every
// directory in it whose name can be a tenant's is taken for one. It does not
// wait for them: a tenant is opened by OpenAll, which Run begins with, or by the
// first write or read that needs it; see Opening. Until then nothing that is
// damaged in it has been looked for. Idle tenants need no opening.
//
// Errors are those of the options, of the metrics and of dir, for instance that
// another Tenants has it open.
//
// Nothing runs on behalf of the tenants before Run is called, save for idle
// goroutines that each TSDB has. Close releases what was opened.
func OpenTenants(dir string, opts TenantsOptions) (*Tenants, error) {
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("tenants' options: %w", err)
	}
	opts = opts.withDefaults()
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, fmt.Errorf("tenants' data directory: %w", err)
	}
	lock, _, err := fileutil.Flock(filepath.Join(dir, lockName))
	if err != nil {
		return nil, fmt.Errorf("tenants' data directory %s is in use by another instance, which needs one of its own, or cannot be locked: %w", dir, err)
	}
	t := &Tenants{
		dir: dir, opts: opts, log: opts.Logger, tsdbLog: slog.New(quietHandler{opts.Logger.Handler()}),
		space: &freeSpace{dir: dir, min: opts.MinFreeDisk}, lock: lock, slots: map[string]*slot{},
		opening: make(chan struct{}, opts.Concurrency), claimTables: sync.Pool{New: newClaimTable},
		garbage: garbage{keep: opts.KeepGarbage},
	}
	if t.metrics, err = newTenantsMetrics(t); err != nil {
		return nil, errors.Join(err, lock.Release())
	}
	if err := t.findExisting(); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// each calls do for all slots, several at once, and joins the errors.
func (t *Tenants) each(slots []*slot, do func(*slot) error) error {
	errs := make([]error, len(slots))
	var g errgroup.Group
	g.SetLimit(t.opts.Concurrency)
	for i, s := range slots {
		g.Go(func() error {
			errs[i] = do(s)
			return nil
		})
	}
	_ = g.Wait()
	return errors.Join(errs...)
}

// all returns the slots in the order of their names.
func (t *Tenants) all() ([]*slot, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.closed {
		return nil, ErrClosed
	}
	return slices.SortedFunc(maps.Values(t.slots), func(a, b *slot) int { return strings.Compare(a.name, b.name) }), nil
}

// slotFor returns the slot of a tenant, which may be new.
func (t *Tenants) slotFor(name string) (*slot, error) {
	t.mu.RLock()
	s, closed := t.slots[name], t.closed
	t.mu.RUnlock()
	switch {
	case closed:
		return nil, ErrClosed
	case s != nil:
		return s, nil
	}
	if err := ValidateTenant(name); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, ErrClosed
	}
	if s := t.slots[name]; s != nil {
		return s, nil
	}
	s = newSlot(t, strings.Clone(name))
	t.slots[s.name] = s
	return s, nil
}

// Appender returns an appender to the tenant's head, creating the tenant if
// need be. It must be committed or rolled back, also when ctx has ended, since
// Flush and Close wait for that. It is for one goroutine, and its errors about
// single samples are those of package storage.
//
// A TSDB judges a sample when it is appended, against what had been committed
// by then. What another commit, or an earlier sample of the same appender, has
// moved a series past in the meantime is dropped when it is committed, without
// an error. So the samples of one series go into one appender in the order of
// their times, late ones into an appender of their own, and not into two
// appenders side by side. A Handler looks after that by itself. With an
// out-of-order window a commit stores nothing, and its error is retryable, if
// samples have come to be more than half a block older than the tenant's newest
// since they were appended: append them again, to another appender.
//
// Appender waits, no longer than ctx lives, while the tenant is being opened or
// flushed. Errors are a *TenantError or ErrClosed, or that of ctx.
func (t *Tenants) Appender(ctx context.Context, tenant string) (storage.AppenderV2, error) {
	open := (*head).appender
	if isAlone(ctx) {
		open = (*head).appenderAlone
	}
	s, h, err := t.writer(ctx, tenant)
	if err != nil {
		return nil, err
	}
	app, err := open(h, ctx, &s.metadata)
	if err != nil {
		h.writers.leave()
		return nil, err
	}
	return app, nil
}

// writer returns the tenant's head with its writers' gate entered.
func (t *Tenants) writer(ctx context.Context, tenant string) (*slot, *head, error) {
	for {
		s, err := t.slotFor(tenant)
		if err != nil {
			return nil, nil, err
		}
		if err := t.space.check(); err != nil {
			return nil, nil, &TenantError{Tenant: s.name, Kind: ErrNoSpace, Err: err}
		}
		h, err := s.writer(ctx)
		if errors.Is(err, errRemoved) {
			continue // There is, or will be, another slot.
		}
		return s, h, err
	}
}

// BlockDirs yields each tenant's directory, in which finished blocks lie, named
// by their ULIDs, and the external labels that the blocks are to carry.
func (t *Tenants) BlockDirs(yield func(dir string, external labels.Labels) bool) {
	slots, _ := t.all()
	for _, s := range slots {
		if !yield(s.dir, s.labels()) {
			return
		}
	}
}

// BlockLabels returns the external labels that a block in a directory of
// BlockDirs is to carry, which are those it was cut under, and whether it may be shipped yet. A block that was
// just cut may not: the TSDB deletes it again if it cannot go on from there, and
// cuts its samples once more under another name.
//
// A shipper asks after it has seen the block, and finds it gone or final if the
// answer is yes.
func (t *Tenants) BlockLabels(dir string, id ulid.ULID) (external labels.Labels, ready bool) {
	t.mu.RLock()
	s := t.slots[filepath.Base(dir)]
	t.mu.RUnlock()
	if s == nil {
		return labels.EmptyLabels(), false
	}
	s.mu.Lock()
	h, idle, unseen := s.head, s.idle, s.pending || s.between
	s.mu.Unlock()
	if idle != nil {
		return idle.labelsOf(id), idle.has(id)
	}
	if unseen { // Opening it may set the block aside.
		return labels.EmptyLabels(), false
	}
	if h == nil { // As after Close. Nothing is being cut.
		return labelsOnDisk(s.dir, id, s.labels())
	}
	return h.labelsOf(id), h.loaded()[id]
}

// Streams yields the external labels of each tenant that has data and the
// inclusive range of its times in ms. A head's range has no end, but that of an
// idle tenant has. A tenant that
// is not available is said to have any time, so that a read of it fails instead
// of passing it by, and so is one that is still to be opened.
func (t *Tenants) Streams(yield func(external labels.Labels, mint, maxt int64) bool) {
	slots, err := t.all()
	if err != nil {
		// Whoever prunes by streams has to ask, and be told.
		yield(labels.EmptyLabels(), math.MinInt64, math.MaxInt64)
		return
	}
	for _, s := range slots {
		if mint, maxt, ok := s.timeRange(); ok && !yield(s.labels(), mint, maxt) {
			return
		}
	}
}

// String names the tenants as a source of series, for warnings and errors.
func (t *Tenants) String() string { return "heads in " + t.dir }

func (t *Tenants) failed(err error) {
	t.metrics.failures.Inc()
	t.log.Error("A tenant is not available; it is tried again.", "err", err)
}

func (t *Tenants) reopened(tenant string) {
	t.metrics.reopens.Inc()
	t.log.Info("A tenant is available again.", "tenant", tenant)
}

// Close waits for the appenders and queriers that are in use, refuses new ones
// with ErrClosed, and closes all tenants. What is in memory is in the
// write-ahead logs and comes back with the next OpenTenants; call Flush before
// it if all of it is to be shipped. Closing again returns the same.
func (t *Tenants) Close() error {
	t.closing.Do(func() {
		t.mu.Lock()
		t.closed = true
		slots := slices.Collect(maps.Values(t.slots))
		t.mu.Unlock()
		err := t.each(slots, (*slot).close)
		t.metrics.registered.UnregisterAll()
		t.closeErr = errors.Join(err, t.lock.Release())
	})
	return t.closeErr
}
