package store

import (
	"context"
	"errors"
	"slices"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-tsdb/varve/block"
	"github.com/varve-tsdb/varve/internal/readcost"
)

// answer runs read on the block. If the block has left the bucket meanwhile, as
// when a compactor deletes what it has replaced and nobody saw the deletion mark in
// time, it goes on with the block that took its place, narrowed to the time of this one.
func (r *blockReader) answer(ctx context.Context, read func(context.Context, *blockReader) error) error {
	err := r.repeated(ctx, func(ctx context.Context) error { return read(ctx, r) })
	fault, ok := r.block.faultIn(err)
	if !ok {
		return err
	}
	if errors.Is(err, ErrMissing) && fault.Since.IsZero() {
		left, unsure := r.block.hasLeft(ctx)
		if unsure != nil {
			r.block.failed(fault, false)
			return err
		}
		if left {
			return r.heirs(ctx, fault, read)
		}
		// The view says it must be there. It may have come back meanwhile.
		r.forgetMissing()
		err = r.repeated(ctx, func(ctx context.Context) error { return read(ctx, r) })
		if fault, ok = r.block.faultIn(err); !ok {
			return err
		}
	}
	r.block.failed(fault, true)
	return err
}

// heirs runs read on the block that took the place of this one.
func (r *blockReader) heirs(ctx context.Context, fault *BlockError, read func(context.Context, *blockReader) error) error {
	heir := r.block.src.heir(r.block)
	if heir == nil {
		gone := *fault
		gone.Err = ErrReplaced
		return &gone
	}
	defer heir.release()
	r.block.src.metrics.replaced.Inc()
	next := &blockReader{block: heir, readBytes: r.readBytes, reach: r.reach, without: r.without}
	err := next.repeated(ctx, func(ctx context.Context) error { return read(ctx, next) })
	if fault, ok := heir.faultIn(err); ok {
		heir.failed(fault, !errors.Is(err, ErrMissing))
	}
	return err
}

// faultIn returns the fault of the block that an error is. It may be that of
// another, by which a read that needs both was ended.
func (b *openBlock) faultIn(err error) (*BlockError, bool) {
	fault, ok := errors.AsType[*BlockError](err)
	return fault, ok && fault.Block == b.id
}

// failed notes that the block could not be read, and, if it is certain that the
// fault is the object's, that it need not be read again.
func (b *openBlock) failed(fault *BlockError, certain bool) {
	b.src.metrics.failures.Inc()
	if certain {
		b.src.quarantine.add(b, fault)
	}
	b.warn(fault)
}

// hasLeft looks whether the block is still in the bucket.
func (b *openBlock) hasLeft(ctx context.Context) (bool, error) {
	if b.gone.Load() {
		return true, nil
	}
	there, err := abandonable(ctx, func() (bool, error) {
		ctx, bill := bill(ctx, readcost.Header)
		defer bill.end(0)
		return b.src.bkt.Exists(ctx, block.MetaObject(b.id))
	})
	if err != nil || there {
		return false, err
	}
	err = b.src.refresh(ctx)
	return b.gone.Load(), err
}

// heir returns the block of the view that has all that old had, or nil. The
// caller gets a reference to it.
func (b *Bucket) heir(old *openBlock) *openBlock {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.set == nil || len(old.sources) == 0 {
		return nil
	}
	for _, s := range b.set.streams {
		if !labels.Equal(s.external, old.external) {
			continue
		}
		for _, block := range s.blocks {
			covers := block != old && block.resolution == old.resolution && block.minTime <= old.minTime && old.maxTime <= block.maxTime
			if covers && !slices.ContainsFunc(old.sources, func(id ulid.ULID) bool { return !slices.Contains(block.sources, id) }) {
				block.retain()
				return block
			}
		}
	}
	return nil
}

// narrowed returns the selection for a block that stands in for b: the samples that b
// would have had.
func (s selection) narrowed(b *openBlock) selection {
	from, to := b.minTime, b.maxTime-1
	s.mint, s.maxt = max(s.mint, from), min(s.maxt, to)
	if s.form.clip {
		from, to = max(from, s.form.from), min(to, s.form.to)
	}
	s.form.clip, s.form.from, s.form.to = true, from, to
	return s
}

// progress is how far a set has come.
type progress struct {
	matched bool // whether there are series that may match
	sent    int
	last    labels.Labels // of the last series sent
}

// before returns how many of decoded series are not after the last one sent.
func (p *progress) before(decoded []series) int {
	if p.sent == 0 {
		return 0
	}
	for i, s := range decoded {
		if labels.Compare(s.labels, p.last) > 0 {
			return i
		}
	}
	return len(decoded)
}
