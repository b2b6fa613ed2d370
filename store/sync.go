package store

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/varve-tsdb/varve/block"
)

// Sync makes one pass: it finds out which blocks the bucket holds, opens those
// that are new and lets go of those that are gone. It reads metas only. If it
// fails the blocks known so far go on being served. Passes do not overlap.
func (b *Bucket) Sync(ctx context.Context) error {
	if err := b.takeTurn(ctx); err != nil {
		return err
	}
	defer b.giveTurn()
	if err := b.sync(ctx, b.fetcher.Fetch); err != nil {
		return err
	}
	b.lookAtSuspects(ctx)
	return nil
}

func (b *Bucket) takeTurn(ctx context.Context) error {
	select {
	case b.syncing <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (b *Bucket) giveTurn() { <-b.syncing }

// rechecker is a Fetcher that may believe what it should not when a block is not
// there any more.
type rechecker interface {
	Recheck(ctx context.Context) (*block.View, error)
}

// refreshTimeout is how long a pass may take that a read has caused. The reads that
// wait for it go on without what it would have told.
const refreshTimeout = time.Minute

// refresh is a Sync after a block has turned out to be gone. It is left out if one
// has begun and succeeded since the call. Others may wait for the same pass, and none
// for a bucket that does not answer, so that it ends neither with ctx nor much later
// than its own time.
func (b *Bucket) refresh(ctx context.Context) error {
	asked := time.Now()
	_, err := abandonable(ctx, func() (struct{}, error) {
		ctx, cancel := context.WithTimeout(b.life, refreshTimeout)
		defer cancel()
		return struct{}{}, b.refreshSince(ctx, asked)
	})
	return err
}

func (b *Bucket) refreshSince(ctx context.Context, asked time.Time) error {
	if err := b.takeTurn(ctx); err != nil {
		return err
	}
	defer b.giveTurn()
	if b.began.After(asked) {
		return nil
	}
	fetch := b.fetcher.Fetch
	if f, ok := b.fetcher.(rechecker); ok {
		fetch = f.Recheck
	}
	return b.sync(ctx, func(ctx context.Context) (*block.View, error) {
		return abandonable(ctx, func() (*block.View, error) { return fetch(ctx) })
	})
}

// sync brings the view up to date. It is the caller's turn.
func (b *Bucket) sync(ctx context.Context, fetch func(context.Context) (*block.View, error)) error {
	began := time.Now()
	b.metrics.syncs.Inc()
	view, err := fetch(ctx)
	if err != nil {
		b.metrics.syncFailures.Inc()
		return err
	}
	if !b.apply(view) {
		return ErrClosed
	}
	b.began = began
	b.metrics.lastSync.SetToCurrentTime()
	if !b.cleaned {
		b.cleaned = true
		b.clean(view)
	}
	return nil
}

// mostSuspects is how many objects one pass looks at because they were broken.
const mostSuspects = 32

// lookAtSuspects asks the bucket about objects that were broken, and lets go of
// what is known of those that were written since. An index may have become another
// one with that, and no longer fit its header.
func (b *Bucket) lookAtSuspects(ctx context.Context) {
	b.src.quarantine.expire()
	for _, s := range b.src.quarantine.suspects(mostSuspects) {
		attributes, err := b.bkt.Attributes(ctx, s.object)
		if err != nil || !b.src.quarantine.look(s, attributes) {
			continue
		}
		b.opts.Logger.Info("a broken object was written anew and is read again", "bucket", b.name(), "block", s.block.id, "object", s.object)
		// What a cache has of the object may be of the time before.
		s.block.rewritten.Store(attributes.LastModified.UnixNano())
		if s.object == s.block.indexObject() {
			s.block.header.forget()
		}
	}
}

// clean removes headers of blocks that left the bucket while nobody looked, and
// counts those that are left.
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
		if err != nil || !e.IsDir() {
			continue
		}
		dir := filepath.Join(b.dir, e.Name())
		if !there[id] {
			removeHeader(dir)
			continue
		}
		path := filepath.Join(dir, headerFilename)
		if info, err := os.Stat(path); err == nil {
			b.src.headers.found(path, info.Size(), info.ModTime())
		}
	}
	b.src.headers.trim()
}
