package aggrchunk

import (
	"math"
	"slices"
	"sync/atomic"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/varve-tsdb/varve/internal/sortedsets"
)

// WantsCounters tells whether the function sees counters, so that Counters is for what
// it reads.
func WantsCounters(function string) bool {
	return slices.Equal(ForFunc(function), []Aggregate{Counter})
}

// Counters returns the set with the counters in chunks of aggregates turned into
// ordinary chunks. The chunks of a series must be ordered by MinTime; ordinary
// ones may be among them. Series of which nothing is left are left out: readers do
// not expect any without chunks.
func Counters(set storage.ChunkSeriesSet) storage.ChunkSeriesSet {
	return &counterSet{ChunkSeriesSet: set}
}

type counterSet struct {
	storage.ChunkSeriesSet
	series *counterSeries
}

func (s *counterSet) Next() bool {
	for s.ChunkSeriesSet.Next() {
		inner := s.ChunkSeriesSet.At()
		it := &counterChunks{inner: inner.Iterator(nil)}
		if it.Next() || it.Err() != nil {
			it.peeked = true
			s.series = &counterSeries{ChunkSeries: inner}
			s.series.begun.Store(it)
			return true
		}
	}
	return false
}

func (s *counterSet) At() storage.ChunkSeries { return s.series }

type counterSeries struct {
	storage.ChunkSeries
	begun atomic.Pointer[counterChunks] // for the first who iterates
}

// Removed returns the labels that the series has lost, if it is known.
func (s *counterSeries) Removed() (lost labels.Labels, known bool) {
	return sortedsets.Removed(s.ChunkSeries)
}

// Memory is about what the series takes.
func (s *counterSeries) Memory() int64 { return sortedsets.Memory(s.ChunkSeries) }

func (s *counterSeries) Iterator(it chunks.Iterator) chunks.Iterator {
	if begun := s.begun.Swap(nil); begun != nil {
		return begun
	}
	c, ok := it.(*counterChunks)
	if !ok {
		c = &counterChunks{}
	}
	*c = counterChunks{inner: s.ChunkSeries.Iterator(c.inner)}
	return c
}

// counterChunks reads the chunks of one series.
type counterChunks struct {
	inner  chunks.Iterator
	chain  counterChain
	ready  []chunks.Meta // the first is the current one
	err    error
	peeked bool // whether Next was called once already
}

func (c *counterChunks) Next() bool {
	if c.peeked {
		c.peeked = false
		return c.err == nil && len(c.ready) > 0
	}
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
	// aggregated says that there was a chunk of aggregates, and until is its end: up
	// to there it has all samples, whatever overlaps it.
	aggregated bool
	until      int64
}

// chunk returns what becomes of the next chunk.
func (c *counterChain) chunk(m chunks.Meta) ([]chunks.Meta, error) {
	aggregates, ok := m.Chunk.(*Chunk)
	if ok {
		return c.aggregates(aggregates)
	}
	plain := m.Chunk != nil && (m.Chunk.Encoding() == chunkenc.EncXOR || m.Chunk.Encoding() == chunkenc.EncXOR2)
	if plain && (c.offset != 0 || c.aggregated && m.MinTime <= c.until) {
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
			continue // another chunk had it
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
		if v, ok := c.sample(t, v); ok {
			if err := e.float(chunkenc.EncXOR, 0, t, v); err != nil {
				return nil, err
			}
		}
	}
	c.aggregated, c.until = true, c.lastT
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
