package dedup

import (
	"math"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunks"
)

// chunkIterator iterates over merged replicas chunk by chunk.
type chunkIterator struct {
	m   merger
	enc encoder
	cur chunks.Meta
}

func (c *chunkIterator) reset(lset labels.Labels, replicas []storage.ChunkSeries) {
	c.enc.reset()
	c.m.reset(lset, &c.enc)
	c.m.openSeries(replicas)
}

// Next moves to the next chunk.
func (c *chunkIterator) Next() bool {
	for {
		if meta, ok := c.enc.pop(); ok {
			c.cur = meta
			return true
		}
		if c.m.done || c.m.err != nil {
			c.cur = chunks.Meta{}
			c.m.endLoans()
			return false
		}
		c.step()
	}
}

func (c *chunkIterator) step() {
	if c.m.glide.on {
		c.m.glideOn(math.MaxInt64)
		if c.enc.ready() {
			return // before the next chunk is decoded, see lentChunk
		}
	}
	for c.m.glide.on && c.m.glideOnce() {
		continue
	}
	c.m.step()
	if c.m.done && c.m.err == nil {
		c.finish()
	}
}

// finish writes what is left. A series without any chunk is more than readers
// expect of a series that is there, so one without samples is given out rather
// than none.
func (c *chunkIterator) finish() {
	c.m.fail(c.enc.finish())
	if !c.m.began && c.m.empty.Chunk != nil {
		c.m.fail(c.enc.pass(c.m.empty))
	}
}

// At returns the chunk Next moved to. It stays valid as the sources' chunks do.
func (c *chunkIterator) At() chunks.Meta { return c.cur }

// Err returns what ended the iteration early. It names the series.
func (c *chunkIterator) Err() error { return c.m.err }
