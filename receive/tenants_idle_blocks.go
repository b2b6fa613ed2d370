package receive

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/varve-tsdb/varve/internal/shipped"
)

// idleBlocks are the local blocks of an idle tenant, which has no head: what it
// has is in them. A block is opened by the first reader that needs it, and
// closed again once nobody has read for a while.
//
// It is safe for concurrent use.
type idleBlocks struct {
	head *head // never opened; it knows the directory and the settings

	mu      sync.Mutex // guards what follows
	blocks  []*idleBlock
	readers int
	read    bool // by anybody since the last tidy
	retired bool
	closed  chan struct{} // closed when retired and without readers
}

type idleBlock struct {
	localBlock
	open *tsdb.Block // nil unless somebody reads it, or did of late
}

// errRetired: the blocks are a head's now.
var errRetired = errors.New("the tenant has a head again")

// idleOnDisk returns the blocks of a tenant that nobody has open, if there is
// nothing to replay. Blocks that are still to be shipped have to be whole, as
// opening a head would see to.
func (h *head) idleOnDisk() (*idleBlocks, bool) {
	for _, log := range []string{h.writeAheadLog(), h.outOfOrderLog(), h.outOfOrderLog() + newLogSuffix, h.outOfOrderLog() + oldLogSuffix} {
		if exists(log) {
			return nil, false
		}
	}
	blocks, err := h.idle()
	if err != nil {
		return nil, false
	}
	done, err := shipped.Read(h.dir)
	if err != nil {
		return nil, false
	}
	for _, b := range blocks.blocks {
		if !h.opts.LocalOnly && !done[b.id] && tryBlock(filepath.Join(h.dir, b.id.String())) != nil {
			return nil, false
		}
	}
	return blocks, true
}

// idle returns the blocks that are on the disk, for readers.
func (h *head) idle() (*idleBlocks, error) {
	noted, err := readLabels(h.dir)
	if err != nil {
		return nil, err
	}
	if noted != nil {
		h.former = h.formerLabels(noted)
	}
	p := &idleBlocks{head: h, closed: make(chan struct{})}
	for _, b := range closedBlocks(h.dir) {
		p.blocks = append(p.blocks, &idleBlock{localBlock: b})
	}
	return p, nil
}

// timeRange returns the inclusive range of the blocks in ms, or false if there
// are none.
func (p *idleBlocks) timeRange() (mint, maxt int64, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	mint, maxt = math.MaxInt64, math.MinInt64
	for _, b := range p.blocks {
		mint, maxt = min(mint, b.minTime), max(maxt, b.maxTime-1)
	}
	return mint, maxt, len(p.blocks) > 0
}

// has tells whether a block is among them.
func (p *idleBlocks) has(id ulid.ULID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.ContainsFunc(p.blocks, func(b *idleBlock) bool { return b.id == id })
}

func (p *idleBlocks) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.blocks)
}

// querier returns a querier over the blocks for the time from mint to maxt, both
// inclusive, which must be closed, or nil if none of them is in the range.
func (p *idleBlocks) querier(mint, maxt int64) (_ *fencedQuerier, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.retired {
		return nil, errRetired
	}
	var qs []storage.ChunkQuerier
	defer func() {
		if err != nil {
			for _, q := range qs {
				err = errors.Join(err, q.Close())
			}
		}
	}()
	defer p.readFence("open a querier", &err)
	for _, b := range p.blocks {
		if b.minTime > maxt || b.maxTime <= mint {
			continue
		}
		p.read = true
		if b.open == nil {
			if b.open, err = tsdb.OpenBlock(p.head.log, filepath.Join(p.head.dir, b.id.String()), nil, nil); err != nil {
				return nil, fmt.Errorf("tenant %q: open block %s: %w", p.head.tenant, b.id, err)
			}
		}
		q, err := p.head.blockChunkQuerier(b.open, mint, maxt)
		if err != nil {
			return nil, fmt.Errorf("tenant %q: open a querier over block %s: %w", p.head.tenant, b.id, err)
		}
		qs = append(qs, q)
	}
	if len(qs) == 0 {
		return nil, nil
	}
	p.readers++
	merge := storage.NewCompactingChunkSeriesMergerWithFloatEncoding(storage.ChainedSeriesMerge, func() chunkenc.Encoding { return chunkenc.EncXOR })
	return &fencedQuerier{from: p, q: storage.NewMergeChunkQuerier(qs, nil, merge), mint: mint, maxt: maxt}, nil
}

// readFence turns a panic over broken data into the error of the read.
func (p *idleBlocks) readFence(doing string, err *error) {
	if r := recover(); r != nil {
		p.head.log.Error("Reading a block panicked.", "doing", doing, "panic", r, "stack", string(debug.Stack()))
		*err = fmt.Errorf("tenant %q: %s in %s: %v", p.head.tenant, doing, p.head.dir, r)
	}
}

func (*idleBlocks) settled() error { return nil }

// leave is for a querier that has been closed.
func (p *idleBlocks) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.readers--
	if p.retired && p.readers == 0 {
		p.closeAll()
		close(p.closed)
	}
}

// retire refuses readers from now on, and closes the blocks once those there are
// have left, which closes the channel. It is called once.
func (p *idleBlocks) retire() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.retired = true
	if p.readers == 0 {
		p.closeAll()
		close(p.closed)
	}
	return p.closed
}

func (p *idleBlocks) closeAll() {
	for _, b := range p.blocks {
		if b.open == nil {
			continue
		}
		if err := b.open.Close(); err != nil {
			p.head.log.Warn("A block did not close cleanly.", "block", b.id, "err", err)
		}
		b.open = nil
	}
}

// tidy closes the blocks if nobody has read since the last time, and deletes
// those that may go. It returns how many are left.
func (p *idleBlocks) tidy() (left int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.readers > 0 {
		return len(p.blocks), nil
	}
	if !p.read {
		p.closeAll()
	}
	p.read = false
	deletable, err := p.deletable(time.Now())
	var errs []error
	for _, id := range deletable {
		errs = append(errs, p.drop(id))
	}
	return len(p.blocks), errors.Join(append(errs, err)...)
}

// deletable returns the blocks that may go. There is no log, so that the newest
// is not needed for what it says of one.
func (p *idleBlocks) deletable(now time.Time) (ids []ulid.ULID, err error) {
	opts := p.head.opts
	past := false
	for _, b := range p.blocks {
		past = past || b.past(opts, now)
	}
	if !past {
		return nil, nil
	}
	done, err := shipped.Read(p.head.dir)
	if err != nil {
		return nil, fmt.Errorf("tenant %q: no block is deleted: %w", p.head.tenant, err)
	}
	for _, b := range p.blocks {
		if b.past(opts, now) && (opts.LocalOnly || done[b.id]) {
			ids = append(ids, b.id)
		}
	}
	return ids, nil
}

func (p *idleBlocks) drop(id ulid.ULID) error {
	at := slices.IndexFunc(p.blocks, func(b *idleBlock) bool { return b.id == id })
	if open := p.blocks[at].open; open != nil {
		p.blocks[at].open = nil
		if err := open.Close(); err != nil {
			p.head.log.Warn("A block did not close cleanly.", "block", id, "err", err)
		}
	}
	if err := deleteClosedBlock(p.head.dir, id); err != nil {
		return fmt.Errorf("tenant %q: delete block %s: %w", p.head.tenant, id, err)
	}
	p.blocks = slices.Delete(p.blocks, at, at+1)
	return nil
}

// deleteClosedBlock deletes a block that no TSDB has open. It is renamed first,
// so that a crash leaves no block that lacks something; a TSDB removes
// directories of that name when it is opened.
func deleteClosedBlock(dir string, id ulid.ULID) error {
	block := filepath.Join(dir, id.String())
	gone := block + deletedSuffix
	if err := os.Rename(block, gone); err != nil {
		return err
	}
	return os.RemoveAll(gone)
}

// labelsOf returns the external labels that a block was cut under.
func (p *idleBlocks) labelsOf(id ulid.ULID) labels.Labels { return p.head.labelsOf(id) }
