package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"

	"github.com/oklog/ulid/v2"

	"github.com/varve-tsdb/varve/block"
)

// What becomes of a complete block, as metrics call it.
const (
	stateServed     = "served"
	stateUnreadable = "unreadable"
)

// Sync makes one pass: it finds out which blocks the bucket holds, opens those
// that are new and lets go of those that are gone. It reads metas only. If it
// fails the blocks known so far go on being served. Passes do not overlap.
func (b *Bucket) Sync(ctx context.Context) error {
	select {
	case b.syncing <- struct{}{}:
		defer func() { <-b.syncing }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	b.metrics.syncs.Inc()
	view, err := b.fetcher.Fetch(ctx)
	if err != nil {
		b.metrics.syncFailures.Inc()
		return err
	}
	if !b.apply(view) {
		return ErrClosed
	}
	b.metrics.lastSync.SetToCurrentTime()
	if !b.cleaned {
		b.cleaned = true
		b.clean(view)
	}
	return nil
}

// apply makes the blocks of view those that are served.
func (b *Bucket) apply(view *block.View) bool {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return false
	}
	old := map[ulid.ULID]*openBlock{}
	if b.set != nil {
		for _, s := range b.set.streams {
			for _, block := range s.blocks {
				old[block.id] = block
			}
		}
	}
	var next []*openBlock
	opened := 0
	for _, m := range view.Blocks {
		if known := old[m.ULID]; known != nil {
			next = append(next, known)
			delete(old, m.ULID)
			continue
		}
		opened++
		next = append(next, newOpenBlock(m, b.src, b.dir))
	}
	var broken []*BlockError
	var lost []ulid.ULID
	for _, p := range view.Partial {
		// Without a meta.json there is no block yet, or none any more.
		if errors.Is(p.Err, block.ErrMetaNotFound) {
			if old[p.ID] != nil {
				lost = append(lost, p.ID)
			}
			continue
		}
		// A block whose meta.json just could not be read this time is not
		// gone, and one that was known has not changed.
		if known := old[p.ID]; known != nil {
			next = append(next, known)
			delete(old, p.ID)
			continue
		}
		broken = append(broken, unreadable(p))
	}
	news := broken
	if b.set != nil {
		news = notIn(b.set.unreadable, broken)
	}
	b.set = newBlockSet(next)
	b.set.unreadable = broken
	b.mu.Unlock()

	for _, block := range old {
		block.drop()
	}
	b.metrics.blocks.WithLabelValues(stateServed).Set(float64(len(next)))
	b.metrics.blocks.WithLabelValues(stateUnreadable).Set(float64(len(broken)))
	b.report(opened, len(old), len(next), news, lost)
	return true
}

// notIn returns those of broken that were not reported before in the same
// words: a block that stays broken is news once.
func notIn(before, broken []*BlockError) (news []*BlockError) {
	for _, err := range broken {
		if !slices.ContainsFunc(before, func(e *BlockError) bool { return e.Block == err.Block && e.Error() == err.Error() }) {
			news = append(news, err)
		}
	}
	return news
}

// report logs what a pass has changed. broken are blocks that cannot be read
// since then, lost are those that were served and have no meta.json any more.
func (b *Bucket) report(opened, dropped, served int, broken []*BlockError, lost []ulid.ULID) {
	for _, err := range broken {
		b.opts.Logger.Warn("a block cannot be served", "err", err)
	}
	for _, id := range lost {
		b.opts.Logger.Info("a block is no longer served: its meta.json is gone while other objects of it are there, "+
			"as while it is being deleted; if nobody is doing that, restore it", "bucket", b.name(), "block", id, "object", block.MetaObject(id))
	}
	if dropped > 0 && served == 0 {
		b.opts.Logger.Warn("all blocks have left the bucket", "bucket", b.name(), "dropped", dropped)
	}
	if opened+dropped > 0 {
		b.opts.Logger.Info("synced the blocks of the bucket", "bucket", b.name(), "opened", opened, "dropped", dropped, "served", served)
	}
}

// clean removes headers of blocks that left the bucket while nobody looked.
func (b *Bucket) clean(view *block.View) {
	entries, err := os.ReadDir(b.dir)
	if err != nil {
		return
	}
	there := map[ulid.ULID]bool{}
	for _, m := range view.Blocks {
		there[m.ULID] = true
	}
	for _, h := range view.Hidden {
		there[h.Meta.ULID] = true
	}
	for _, e := range entries {
		id, err := ulid.ParseStrict(e.Name())
		if err != nil || !e.IsDir() || there[id] {
			continue
		}
		removeHeader(filepath.Join(b.dir, e.Name()))
	}
}
