package receive

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// How long a tenant that could not be opened is left alone: not at all the
// first time, then doubling from the first of these to the second.
const (
	firstReopenDelay = 5 * time.Second
	mostReopenDelay  = 5 * time.Minute
)

// reopenDelay returns how long to wait after an opening that failed, the given
// number of others having failed just before it.
func reopenDelay(before int) time.Duration {
	if before == 0 {
		return 0
	}
	return min(firstReopenDelay<<min(before-1, 10), mostReopenDelay)
}

// slot is a tenant's place: it outlives the heads that come and go in it.
type slot struct {
	name     string
	dir      string
	metadata metadataStore
	tenants  *Tenants

	// work is held, by having put a value in, while the head is opened,
	// closed, compacted or flushed.
	work chan struct{}

	mu       sync.Mutex // guards what follows
	external labels.Labels
	head     *head       // nil if there is none at the moment
	idle     *idleBlocks // what an idle tenant has instead
	pending  bool        // what is on the disk was not opened yet
	between  bool        // a head was closed, and another is to be opened at once
	err      error       // why there is no head; nil if none was needed yet
	closed   bool
	removed  bool // another slot takes the place of this one
	attempts int  // to open that failed in a row
	retryAt  time.Time
}

func newSlot(t *Tenants, name string) *slot {
	s := &slot{
		name:     name,
		dir:      filepath.Join(t.dir, name),
		external: t.externalOf(name),
		tenants:  t,
		work:     make(chan struct{}, 1),
	}
	s.metadata.budget = t.opts.MaxMetadataBytes
	return s
}

// lock takes the right to work on the head; the caller must unlock.
func (s *slot) lock(ctx context.Context) error {
	select {
	case s.work <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("tenant %q: waiting for other work on it: %w", s.name, context.Cause(ctx))
	}
}

func (s *slot) unlock() { <-s.work }

// state returns the head, or nil and the reason why there is none, which is nil
// if it only has to be opened.
func (s *slot) state() (*head, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	if s.removed {
		return nil, errRemoved
	}
	return s.head, s.err
}

// idleState returns the blocks of an idle tenant, or nil if it is none.
func (s *slot) idleState() *idleBlocks {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.idle
}

// isPending tells whether the tenant is on the disk and was not opened yet.
func (s *slot) isPending() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pending && !s.closed
}

// timeRange returns the inclusive range in ms of what there is to be read, or
// false if there is nothing. What a read would fail for, or has to wait for until a
// head has looked at it, may be of any time.
func (s *slot) timeRange() (mint, maxt int64, ok bool) {
	s.mu.Lock()
	h, blocks, err, unseen := s.head, s.idle, s.err, s.pending || s.between
	gone := s.closed || s.removed
	s.mu.Unlock()
	mint, maxt = math.MinInt64, math.MaxInt64
	switch {
	case blocks != nil:
		return blocks.timeRange()
	case h != nil && h.readFailure() == nil && !gone:
		mint, ok = h.timeRange()
		return mint, maxt, ok
	}
	return mint, maxt, h != nil || err != nil || unseen || gone
}

// available returns nil if the tenant has a head or is idle, opening it if it
// never was.
func (s *slot) available(ctx context.Context) error {
	if s.idleState() != nil {
		return nil
	}
	_, err := s.current(ctx)
	return err
}

// current returns the head, opening it if there is none and nothing is known
// against it.
func (s *slot) current(ctx context.Context) (*head, error) {
	if h, err := s.state(); h != nil || err != nil {
		return h, err
	}
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	defer s.unlock()
	if h, err := s.state(); h != nil || err != nil {
		return h, err
	}
	return s.open()
}

// open opens a head. The caller must have locked the slot.
func (s *slot) open() (*head, error) {
	s.tenants.opening <- struct{}{}
	defer func() { <-s.tenants.opening }()
	s.relabel()
	h := s.newHead()
	if err := h.open(); err != nil {
		return nil, s.notOpened(err)
	}
	s.tenants.heads.Add(1)
	s.tenants.metrics.opens.Inc()
	s.mu.Lock()
	idle := s.idle
	s.head, s.idle, s.pending, s.between, s.err, s.attempts = h, nil, false, false, nil, 0
	s.mu.Unlock()
	if idle != nil {
		idle.retire()
	}
	return h, nil
}

// newHead returns a head that is not open.
func (s *slot) newHead() *head {
	t := s.tenants
	return &head{
		tenant: s.name, dir: s.dir, external: s.labels(), others: int(t.heads.Load()),
		opts: t.opts, metrics: t.metrics, space: t.space, garbage: &t.garbage, claimTables: &t.claimTables,
		log:     t.tsdbLog.With("tenant", s.name),
		onFail:  func(f *headFailure) { t.failed(f.err) },
		onClose: func() { t.heads.Add(-1) },
	}
}

// notOpened notes why there is no head, and returns it.
func (s *slot) notOpened(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err, s.pending, s.between = err, false, false
	s.retryAt = time.Now().Add(reopenDelay(s.attempts))
	s.attempts++
	s.tenants.failed(err)
	return err
}

// writer returns the head with its writers' gate entered.
func (s *slot) writer(ctx context.Context) (*head, error) {
	return s.enter(ctx, func(h *head) (*gate, error) { return &h.writers, h.failure() })
}

// reader returns the head with its readers' gate entered.
func (s *slot) reader(ctx context.Context) (*head, error) {
	return s.enter(ctx, func(h *head) (*gate, error) { return &h.readers, h.readFailure() })
}

// openWriter is writer for what makes no tenant and wakes none: it returns nil
// if the tenant is idle or has been removed.
func (s *slot) openWriter(ctx context.Context) (*head, error) {
	return s.unlessIdle(ctx, s.writer)
}

// openReader is reader for what only a head has: it returns nil if the tenant is
// idle or has been removed.
func (s *slot) openReader(ctx context.Context) (*head, error) {
	return s.unlessIdle(ctx, s.reader)
}

func (s *slot) unlessIdle(ctx context.Context, enter func(context.Context) (*head, error)) (*head, error) {
	if s.idleState() != nil {
		return nil, nil
	}
	h, err := enter(ctx)
	if errors.Is(err, errRemoved) {
		return nil, nil
	}
	return h, err
}

// querier returns a querier over the tenant's samples for the time from mint to
// maxt, both inclusive, which must be closed, or nil if it has none in the range.
// An idle tenant is read from its blocks. Should one of them be broken, a head is
// opened, which sets that aside.
func (s *slot) querier(ctx context.Context, mint, maxt int64) (*fencedQuerier, error) {
	if blocks := s.idleState(); blocks != nil {
		q, err := blocks.querier(mint, maxt)
		if err == nil || !errors.Is(err, errRetired) && !isBroken(err) {
			return q, err
		}
	}
	h, err := s.reader(ctx)
	if errors.Is(err, errRemoved) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if first, ok := h.timeRange(); !ok || first > maxt {
		h.leave()
		return nil, nil
	}
	q, err := h.querier(mint, maxt)
	if err != nil {
		h.leave()
		return nil, err
	}
	return q, nil
}

func (s *slot) enter(ctx context.Context, use func(*head) (*gate, error)) (*head, error) {
	for {
		h, err := s.current(ctx)
		if err != nil {
			return nil, err
		}
		g, err := use(h)
		if err != nil {
			return nil, err
		}
		err = g.enter(ctx)
		if err == nil {
			return h, nil
		}
		if !errors.Is(err, errGateShut) {
			return nil, fmt.Errorf("tenant %q: waiting for its head: %w", s.name, err)
		}
		// The head was closed just now; look what has come after it.
	}
}

// pass is one round of upkeep: a healthy head is compacted, and closed if it is
// idle, or opened anew if its external labels have changed; one that failed is replaced; one that could not be opened is tried again
// when its time has come; and an idle tenant may be removed.
func (s *slot) pass(ctx context.Context) error {
	if s.isPending() {
		return nil // That may take long, and others wait for the pass.
	}
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.unlock()
	h, err := s.state()
	switch {
	case errors.Is(err, ErrClosed), errors.Is(err, errRemoved):
		return nil
	case h == nil && err == nil:
		if blocks := s.idleState(); blocks != nil {
			if s.relabelled() {
				return s.relabelIdle(blocks)
			}
			return s.tidyIdle(blocks)
		}
		return nil // Opened by whoever needs it.
	case h == nil:
		return s.retry()
	case h.failure() != nil:
		return s.replace(ctx, h)
	case s.relabelled():
		err := s.relabelHead(ctx, h)
		if now, _ := s.state(); now != h {
			return err
		}
		// It cannot be opened anew for now, and would grow without bound.
		return errors.Join(err, h.maintain(ctx))
	}
	if err := h.maintain(ctx); err != nil || !h.idleFor(h.opts.IdleAfter) {
		return err
	}
	return s.closeIdle(ctx, h)
}

func (s *slot) retry() error {
	s.mu.Lock()
	due := !time.Now().Before(s.retryAt)
	s.mu.Unlock()
	if !due {
		return nil
	}
	_, err := s.open()
	if err == nil {
		s.tenants.reopened(s.name)
	}
	return err
}

// replaceWait bounds the wait for those who still use a failed head.
const replaceWait = 10 * time.Second

// replace closes a failed head and opens another. Without the space to write, a
// head that can at least be read is left in place.
func (s *slot) replace(ctx context.Context, h *head) error {
	if err := s.tenants.space.look(h.replaySize()); err != nil {
		return &TenantError{Tenant: s.name, External: s.labels(), Kind: ErrNoSpace, Err: err}
	}
	waiting, cancel := context.WithTimeout(ctx, replaceWait)
	defer cancel()
	if err := s.closeHead(waiting, h, h.failure()); err != nil {
		return err
	}
	_, err := s.open()
	if err == nil {
		s.tenants.reopened(s.name)
	}
	return err
}

// closeHead closes h and leaves the reason why the tenant has no head.
// It returns an error if the head could not be closed for now.
func (s *slot) closeHead(ctx context.Context, h *head, reason error) error {
	inUse := h.drain(ctx)
	if inUse != nil {
		return inUse
	}
	s.mu.Lock()
	s.head, s.err = nil, reason
	s.mu.Unlock()
	if err := h.close(); err != nil {
		s.tenants.log.Warn("A failed tenant did not close cleanly.", "tenant", s.name, "err", err)
		if exists(h.brokenLogs()) {
			return nil // They may hold what a damaged log does not.
		}
		// What it left of its mapped chunks is as doubtful, and the logs hold
		// all of it.
		return os.RemoveAll(h.mappedChunks())
	}
	return nil
}

// flush cuts all that is in memory into blocks.
func (s *slot) flush(ctx context.Context) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.unlock()
	h, err := s.state()
	switch {
	case h != nil:
		return h.flush(ctx)
	case errors.Is(err, ErrClosed), errors.Is(err, errRemoved):
		return nil
	case err == nil && s.isPending():
		if h, err = s.open(); err == nil {
			return h.flush(ctx)
		}
	}
	return err
}

// close closes the slot for good, waiting for all who use the head.
func (s *slot) close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.work <- struct{}{}
	defer s.unlock()
	s.mu.Lock()
	h, idle := s.head, s.idle
	s.head, s.idle = nil, nil
	s.mu.Unlock()
	if idle != nil {
		<-idle.retire()
	}
	if h == nil {
		return nil
	}
	ctx := context.Background()
	if h.failure() != nil {
		// Whoever is inside may be stuck there.
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, brokenCloseTimeout)
		defer cancel()
	}
	if err := h.retire(ctx); err != nil {
		return err
	}
	return h.close()
}
