package aggrchunk

import (
	"math"

	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
)

// Counters returns the set with the counters in chunks of aggregates turned into
// ordinary chunks. The chunks of a series must be ordered by MinTime; ordinary
// ones may be among them. Series of which nothing is left are left out: readers do
// not expect any without chunks.
func Counters(set storage.ChunkSeriesSet) storage.ChunkSeriesSet {
	return &counterSet{ChunkSeriesSet: set}
}

type counterSet struct {
	storage.ChunkSeriesSet
	it chunks.Iterator // reused
}

func (s *counterSet) Next() bool {
	for s.ChunkSeriesSet.Next() {
		s.it = s.At().Iterator(s.it)
		if s.it.Next() || s.it.Err() != nil {
			return true
		}
	}
	return false
}

func (s *counterSet) At() storage.ChunkSeries { return counterSeries{s.ChunkSeriesSet.At()} }

type counterSeries struct{ storage.ChunkSeries }

func (s counterSeries) Iterator(it chunks.Iterator) chunks.Iterator {
	c, ok := it.(*counterChunks)
	if !ok {
		c = &counterChunks{}
	}
	*c = counterChunks{inner: s.ChunkSeries.Iterator(c.inner)}
	return c
}

// counterChunks reads the chunks of one series.
type counterChunks struct {
	inner chunks.Iterator
	chain counterChain
	ready []chunks.Meta // the first is the current one
	err   error
}

func (c *counterChunks) Next() bool {
	if len(c.ready) > 0 {
		c.ready = c.ready[1:]
	}
	for len(c.ready) == 0 && c.err == nil && c.inner.Next() {
		c.ready, c.err = c.chain.chunk(c.inner.At())
	}
	return c.err == nil && len(c.ready) > 0
}

func (c *counterChunks) At() chunks.Meta { return c.ready[0] }

func (c *counterChunks) Err() error {
	if c.err != nil {
		return c.err
	}
	return c.inner.Err()
}

// counterChain follows a counter through its chunks.
type counterChain struct {
	// offset is what was added to the last sample emitted: what was lost in
	// resets that do not show.
	offset float64
	begun  bool
	lastT  int64
	last   float64 // true value at lastT, if known
	known  bool
}

// chunk returns what becomes of the next chunk.
func (c *counterChain) chunk(m chunks.Meta) ([]chunks.Meta, error) {
	aggregates, ok := m.Chunk.(*Chunk)
	if ok {
		return c.aggregates(aggregates)
	}
	plain := m.Chunk != nil && (m.Chunk.Encoding() == chunkenc.EncXOR || m.Chunk.Encoding() == chunkenc.EncXOR2)
	if plain && c.offset != 0 {
		return c.raw(m)
	}
	if !c.begun || m.MaxTime > c.lastT {
		c.lastT = m.MaxTime
	}
	c.begun, c.known, c.offset = true, false, 0
	return []chunks.Meta{m}, nil
}

// raw lifts raw samples by the offset, as long as that holds.
func (c *counterChain) raw(m chunks.Meta) ([]chunks.Meta, error) {
	var e encoder
	it := m.Chunk.Iterator(nil)
	for it.Next() != chunkenc.ValNone {
		t, v := it.At()
		if c.begun && t <= c.lastT {
			continue
		}
		if !math.IsNaN(v) { // markers of staleness are passed on
			v, _ = c.sample(t, v)
		}
		if err := e.float(m.Chunk.Encoding(), it.AtST(), t, v); err != nil {
			return nil, err
		}
	}
	return e.finish(), it.Err()
}

func (c *counterChain) aggregates(a *Chunk) ([]chunks.Meta, error) {
	s, ok := a.Slot(Counter)
	if !ok {
		return nil, nil
	}
	if s.Encoding != chunkenc.EncXOR || len(s.Data) < 2 {
		return nil, corrupt("a counter of encoding %s with %d bytes", s.Encoding, len(s.Data))
	}
	chunk, err := chunkenc.FromData(s.Encoding, s.Data)
	if err != nil {
		return nil, err
	}
	var e encoder
	it := chunk.Iterator(nil)
	for it.Next() != chunkenc.ValNone {
		t, v := it.At()
		if v, ok := c.sample(t, v); ok && a.wants(t) {
			if err := e.float(chunkenc.EncXOR, 0, t, v); err != nil {
				return nil, err
			}
		}
	}
	return e.finish(), it.Err()
}

// sample returns what is emitted for a sample, or false if nothing is.
func (c *counterChain) sample(t int64, v float64) (float64, bool) {
	switch {
	case math.IsNaN(v), c.begun && t < c.lastT:
		return 0, false
	case c.begun && t == c.lastT:
		// What the counter really stood at.
		if c.known {
			c.offset += c.last - v
		}
		c.last, c.known = v, true
		return 0, false
	case c.known && v < c.last:
		c.offset = 0
	}
	c.begun, c.lastT, c.last, c.known = true, t, v, true
	return v + c.offset, true
}
