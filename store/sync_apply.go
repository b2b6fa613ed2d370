package store

import (
	"errors"
	"slices"

	"github.com/oklog/ulid/v2"

	"github.com/varve-tsdb/varve/block"
)

// What becomes of a complete block, as metrics call it.
const (
	stateServed     = "served"
	stateUnreadable = "unreadable"
)

// apply makes the blocks of view those that are served.
func (b *Bucket) apply(view *block.View) bool {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return false
	}
	first := b.set == nil
	c := b.compare(view)
	news := c.unreadable
	if b.set != nil {
		news = notIn(b.set.unreadable, c.unreadable)
	}
	b.set = newBlockSet(c.served)
	b.set.unreadable = c.unreadable
	b.mu.Unlock()

	for _, block := range c.rewritten {
		block.header.forget() // of an index that is not there any more
	}
	for _, block := range c.left {
		block.drop()
	}
	b.metrics.blocks.WithLabelValues(stateServed).Set(float64(len(c.served)))
	b.metrics.blocks.WithLabelValues(stateUnreadable).Set(float64(len(c.unreadable)))
	b.report(c.opened, len(c.left), len(c.served), news, c.lost)
	if first && len(c.served) == 0 {
		b.opts.Logger.Info("the bucket has no blocks to serve yet; if there should be any, check its name, prefix and directory in the configuration", "bucket", b.name())
	}
	return true
}

// changes are what a view makes of the blocks that are served.
type changes struct {
	served     []*openBlock // from now on
	unreadable []*BlockError
	opened     int // of those served
	// left are those that were served and are not any more. Of these, rewritten have
	// other objects under their ULID now, and lost have no meta.json.
	left      map[ulid.ULID]*openBlock
	rewritten []*openBlock
	lost      []ulid.ULID
}

// compare holds a view against what is served. b.mu is held.
func (b *Bucket) compare(view *block.View) changes {
	c := changes{served: make([]*openBlock, 0, len(view.Blocks)), left: map[ulid.ULID]*openBlock{}}
	if b.set != nil {
		for _, s := range b.set.streams {
			for _, block := range s.blocks {
				c.left[block.id] = block
			}
		}
	}
	for _, m := range view.Blocks {
		written := view.DataWritten(m.ULID)
		if known := c.left[m.ULID]; known != nil {
			same := known.content == contentVersion(m, written)
			if same && known.described(m) {
				c.keep(known)
				continue
			}
			if !same {
				c.rewritten = append(c.rewritten, known)
			}
		}
		c.opened++
		c.served = append(c.served, newOpenBlock(m, written, b.src, b.dir))
	}
	for _, p := range view.Partial {
		c.partial(p)
	}
	return c
}

// keep goes on serving a block.
func (c *changes) keep(known *openBlock) {
	c.served = append(c.served, known)
	delete(c.left, known.id)
}

// partial takes in a block without a meta.json that could be read.
func (c *changes) partial(p block.Partial) {
	known := c.left[p.ID]
	switch {
	case errors.Is(p.Err, block.ErrMetaNotFound):
		// There is no block yet, or none any more.
		if known != nil {
			c.lost = append(c.lost, p.ID)
		}
	case known != nil:
		// It just could not be read this time. The block is not gone, and has not
		// changed.
		c.keep(known)
	default:
		c.unreadable = append(c.unreadable, unreadable(p))
	}
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
