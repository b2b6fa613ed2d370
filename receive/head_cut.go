package receive

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/tsdb"

	"github.com/varve-tsdb/varve/internal/shipped"
)

// maintain is one pass over a healthy head: full chunks go from memory to
// mapped files, what is due becomes a block, and blocks that may go are
// deleted.
func (h *head) maintain(ctx context.Context) error {
	var errs []error
	if err := h.space.check(); err == nil {
		errs = append(errs, h.mapChunks())
	}
	if h.failure() == nil {
		errs = append(errs, h.cutDue(ctx))
	}
	if h.failure() == nil {
		errs = append(errs, h.dropBlocks(), h.releaseBroken())
	}
	return errors.Join(errs...)
}

func (h *head) mapChunks() (err error) {
	// The TSDB gives up its locks on the way, so what is there stays readable.
	defer h.fence("write chunks", false, &err)
	h.db.ForceHeadMMap()
	return nil
}

// due tells whether the samples in memory span enough time for a block to be
// cut: the half beyond one block is where samples may still arrive.
func (h *head) due() bool {
	mint, maxt := h.db.Head().MinTime(), h.db.Head().MaxTime()
	return maxt > mint && maxt-mint > h.opts.BlockDuration.Milliseconds()/2*3
}

// leastMostCuts is how many blocks a pass may always cut of one tenant.
const leastMostCuts = 8

// mostCuts bounds the blocks cut of one tenant in a pass, since other tenants
// wait for the pass: one whose samples lie far apart may have hundreds due.
// Twice what becomes due from one pass to the next, so that a tenant that is
// behind catches up.
func (o TenantsOptions) mostCuts() int {
	return max(leastMostCuts, 2+2*int(o.Interval/o.BlockDuration))
}

// cutDue cuts the blocks that are due, beside writers, as far as a pass may.
//
// Out-of-order samples go first. Cutting a block truncates the write-ahead log,
// and with it can go the records that say which series the references in the
// log of out-of-order samples stand for, if they are from before a restart.
// Should the process die before that log has been emptied, its samples would be
// lost. The TSDB's own order is the other one.
func (h *head) cutDue(ctx context.Context) (err error) {
	defer h.fence("cut a block", false, &err)
	if !h.due() {
		return nil
	}
	if err := h.setBrokenAsideMeanwhile(); err != nil {
		return err
	}
	if err := h.cutOutOfOrder(ctx); err != nil {
		return err
	}
	inMemory := h.db.Head()
	for n := h.opts.mostCuts(); n > 0 && h.due(); n-- {
		if err := ctx.Err(); err != nil {
			return err
		}
		maxt := rangeEnd(inMemory.MinTime(), h.opts.BlockDuration.Milliseconds()) - 1
		// No new appender takes samples this old, but some may be open.
		inMemory.WaitForAppendersOverlapping(maxt)
		if err := h.cutInOrder(maxt); err != nil {
			return err
		}
	}
	return nil
}

// cutInOrder cuts what is in memory up to maxt, inclusive, into a block.
func (h *head) cutInOrder(maxt int64) error {
	inMemory := h.db.Head()
	// Cutting drops the series that have no other samples.
	defer h.refs.Forget()
	block := tsdb.NewRangeHeadWithIsolationDisabled(inMemory, inMemory.MinTime(), maxt)
	if err := h.db.CompactHead(block); err != nil {
		return fmt.Errorf("tenant %q: cut a block in %s: %w", h.tenant, h.dir, err)
	}
	return nil
}

func (h *head) cutOutOfOrder(ctx context.Context) error {
	defer h.refs.Forget() // as in cutInOrder
	// The TSDB looks through all series for chunks to write, and drops those that
	// are older than the newest it has found. A commit in the meantime could give
	// such a chunk to a series that it has passed already.
	h.committing.Lock()
	looked := sync.OnceFunc(h.committing.Unlock)
	defer looked()
	h.cutter.begun = looked
	defer func() { h.cutter.begun = nil }()
	if err := h.db.CompactOOOHead(ctx); err != nil {
		return fmt.Errorf("tenant %q: cut out-of-order samples into blocks in %s: %w", h.tenant, h.dir, err)
	}
	return nil
}

// dropBlocks deletes the blocks that may go.
//
// A TSDB looks at its blocks, and deletes those that may go, only after it has
// cut one. Cutting may be due and fail for want of space, which is when the
// deletion is needed most. So it is made to cut an empty range before all time,
// of which there is nothing to write and nothing to truncate.
func (h *head) dropBlocks() (err error) {
	defer h.fence("delete blocks", false, &err)
	if len(h.blocksToDelete(h.db.Blocks())) == 0 {
		return nil
	}
	if err := h.setBrokenAsideMeanwhile(); err != nil {
		return err
	}
	// The last millisecond of a range head is inclusive: the one after it, where
	// the block would end, is again math.MinInt64.
	nothing := tsdb.NewRangeHeadWithIsolationDisabled(h.db.Head(), math.MinInt64, math.MaxInt64)
	if err := h.db.CompactHead(nothing); err != nil {
		return fmt.Errorf("tenant %q: delete blocks in %s: %w", h.tenant, h.dir, err)
	}
	return nil
}

// blocksToDelete is asked by the TSDB, too, whenever it looks at its blocks.
func (h *head) blocksToDelete(blocks []*tsdb.Block) map[ulid.ULID]struct{} {
	done, err := shipped.Read(h.dir)
	if err != nil {
		h.log.Warn("Cannot tell which blocks have been shipped; none is deleted.", "err", err)
		return nil
	}
	return deletableBlocks(localBlocks(blocks), done, h.opts, time.Now())
}

// flush cuts all samples in memory into blocks, each within one multiple of the
// block duration. Writers wait meanwhile: a sample that arrived in a range that
// is being cut would be lost.
func (h *head) flush(ctx context.Context) error {
	if err := h.failure(); err != nil {
		return err
	}
	if err := h.writers.pause(ctx); err != nil {
		return fmt.Errorf("tenant %q: waiting for appenders to be committed: %w", h.tenant, err)
	}
	defer h.writers.resume()
	return h.cutAll(ctx)
}

// cutAll cuts all there is; see cutDue for the order. No writer may be inside.
func (h *head) cutAll(ctx context.Context) (err error) {
	defer h.fence("flush", false, &err)
	if err := h.setBrokenAsideMeanwhile(); err != nil {
		return err
	}
	if err := h.cutOutOfOrder(ctx); err != nil {
		return err
	}
	inMemory := h.db.Head()
	if inMemory.NumSeries() == 0 {
		return nil
	}
	for last := inMemory.MaxTime(); inMemory.MinTime() <= last; {
		if err := ctx.Err(); err != nil {
			return err
		}
		end := rangeEnd(inMemory.MinTime(), h.opts.BlockDuration.Milliseconds())
		if err := h.cutInOrder(min(end-1, last)); err != nil {
			return err
		}
	}
	return nil
}

// rangeEnd returns the end, exclusive, of the multiple of width that t lies in.
func rangeEnd(t, width int64) int64 {
	start := t - t%width
	if t < 0 && t%width != 0 {
		start -= width
	}
	if start > math.MaxInt64-width {
		return math.MaxInt64
	}
	return start + width
}
