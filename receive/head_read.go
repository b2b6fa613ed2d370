package receive

import (
	"context"
	"errors"
	"sync"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
)

// fencedQuerier is a querier over one head: reading broken data ends in an
// error instead of a panic, hints cannot widen the querier's range, and closing
// it, which may be done twice, leaves the head's readers' gate.
type fencedQuerier struct {
	head       *head
	q          storage.ChunkQuerier // for labels
	mint, maxt int64

	// Each Select has a querier of its own: the TSDB's keeps a cache of chunks
	// that all its Selects write to, while a reader may have them run side by
	// side.
	mu       sync.Mutex // guards what follows
	selected []storage.ChunkQuerier
	closed   bool
}

// querier opens a querier on the head for the time from mint to maxt, both
// inclusive. The caller must have entered the readers' gate, which the querier
// leaves when it is closed.
func (h *head) querier(mint, maxt int64) (storage.ChunkQuerier, error) {
	q, err := h.chunkQuerier(mint, maxt)
	if err != nil {
		return nil, err
	}
	return &fencedQuerier{head: h, q: q, mint: mint, maxt: maxt}, nil
}

// Select returns the matching series. Chunks are not cut to the range, because
// whoever reads them has to look at the times anyway.
func (q *fencedQuerier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, matchers ...*labels.Matcher) (set storage.ChunkSeriesSet) {
	narrowed := storage.SelectHints{Start: q.mint, End: q.maxt}
	if hints != nil {
		narrowed = *hints
		narrowed.Start, narrowed.End = max(hints.Start, q.mint), min(hints.End, q.maxt)
	}
	narrowed.DisableTrimming = true
	if narrowed.Start > narrowed.End {
		return storage.EmptyChunkSeriesSet()
	}
	var err error // of the fence
	defer func() {
		if err != nil {
			set = storage.ErrChunkSeriesSet(err)
		}
	}()
	defer q.head.readFence("select series", &err)
	own, err := q.open()
	if err != nil {
		return storage.ErrChunkSeriesSet(err)
	}
	inner := own.Select(ctx, sorted, &narrowed, matchers...)
	return &fencedSet{head: q.head, set: inner, mint: narrowed.Start, maxt: narrowed.End}
}

// LabelNames returns the names of the labels of the matching series.
func (q *fencedQuerier) LabelNames(ctx context.Context, hints *storage.LabelHints, matchers ...*labels.Matcher) (_ []string, _ annotations.Annotations, err error) {
	defer q.head.readFence("read label names", &err)
	return q.q.LabelNames(ctx, hints, matchers...)
}

// LabelValues returns the values of a label of the matching series.
func (q *fencedQuerier) LabelValues(ctx context.Context, name string, hints *storage.LabelHints, matchers ...*labels.Matcher) (_ []string, _ annotations.Annotations, err error) {
	defer q.head.readFence("read label values", &err)
	return q.q.LabelValues(ctx, name, hints, matchers...)
}

// Close releases the data. Closing again does nothing.
func (q *fencedQuerier) Close() (err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil
	}
	q.closed = true
	defer q.head.readers.leave()
	defer q.head.readFence("close a querier", &err)
	errs := []error{q.q.Close()}
	for _, own := range q.selected {
		errs = append(errs, own.Close())
	}
	return errors.Join(errs...)
}

// open returns a querier for one Select.
func (q *fencedQuerier) open() (storage.ChunkQuerier, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil, errQuerierClosed
	}
	own, err := q.head.chunkQuerier(q.mint, q.maxt)
	if err == nil {
		q.selected = append(q.selected, own)
	}
	return own, err
}

// fencedSet passes on the series that have a chunk in the range. The TSDB says
// of the chunk being filled that it lasts for ever, and only reading it tells
// its end.
type fencedSet struct {
	head       *head
	set        storage.ChunkSeriesSet
	mint, maxt int64
	current    *fencedSeries
	err        error
}

func (s *fencedSet) Next() bool {
	for s.next() {
		series := &fencedSeries{head: s.head, series: s.set.At(), mint: s.mint, maxt: s.maxt}
		first := series.iterator(nil)
		if first.Next() {
			first.again = true
			series.first, s.current = first, series
			return true
		}
		if s.err = first.Err(); s.err != nil {
			return false
		}
	}
	return false
}

func (s *fencedSet) next() (ok bool) {
	if s.err != nil {
		return false
	}
	defer s.head.readFence("read series", &s.err)
	return s.set.Next()
}

func (s *fencedSet) At() storage.ChunkSeries { return s.current }

func (s *fencedSet) Err() error {
	if s.err != nil {
		return s.err
	}
	return s.set.Err()
}

func (s *fencedSet) Warnings() annotations.Annotations { return s.set.Warnings() }

type fencedSeries struct {
	head       *head
	series     storage.ChunkSeries
	mint, maxt int64
	// first is what the set has read of the chunks to find out whether there
	// are any. Whoever iterates first gets it.
	first *fencedChunks
}

func (s *fencedSeries) Labels() labels.Labels { return s.series.Labels() }

func (s *fencedSeries) Iterator(reuse chunks.Iterator) chunks.Iterator {
	if first := s.first; first != nil {
		s.first = nil
		return first
	}
	used, _ := reuse.(*fencedChunks)
	return s.iterator(used)
}

func (s *fencedSeries) iterator(reuse *fencedChunks) *fencedChunks {
	var inner chunks.Iterator
	if reuse == nil {
		reuse = &fencedChunks{}
	} else {
		inner = reuse.it
	}
	*reuse = fencedChunks{head: s.head, mint: s.mint, maxt: s.maxt}
	func() {
		defer s.head.readFence("read chunks", &reuse.err)
		reuse.it = s.series.Iterator(inner)
	}()
	return reuse
}

// fencedChunks iterates over the chunks that overlap the range.
type fencedChunks struct {
	head       *head
	it         chunks.Iterator // nil only if err is set
	mint, maxt int64
	again      bool // the next Next stays where it is
	err        error
}

func (c *fencedChunks) Next() bool {
	if c.again {
		c.again = false
		return true
	}
	for c.next() {
		if chunk := c.it.At(); chunk.MinTime <= c.maxt && chunk.MaxTime >= c.mint {
			return true
		}
	}
	return false
}

func (c *fencedChunks) next() (ok bool) {
	if c.err != nil {
		return false
	}
	defer c.head.readFence("read chunks", &c.err)
	return c.it.Next()
}

func (c *fencedChunks) At() chunks.Meta { return c.it.At() }

func (c *fencedChunks) Err() error {
	if c.err != nil {
		return c.err
	}
	return c.it.Err()
}
