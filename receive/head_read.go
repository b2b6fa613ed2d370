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

// fencedQuerier is a querier over one head, or over blocks: reading broken data ends in an
// error instead of a panic, hints cannot widen the querier's range, and closing
// it, which may be done twice, leaves what is read.
//
// All its Selects see the same samples, those that were committed when it was
// opened, so that an expression that names a series twice agrees with itself;
// only those out of order show up when they are stored, which the TSDB cannot
// help. Thus there is one querier of the TSDB for all of them. That one shares buffers
// between its Selects, while a reader may have them run side by side, so only
// one reads at a time.
type fencedQuerier struct {
	from       querySource
	mint, maxt int64

	mu     sync.Mutex // guards what follows
	q      storage.ChunkQuerier
	closed bool
}

// querySource is what is read: a head, or the blocks of an idle tenant.
type querySource interface {
	// readFence turns a panic into an error. It must be deferred.
	readFence(doing string, err *error)
	// settled returns when all that can be read so far is as durable as a commit
	// makes it.
	settled() error
	// leave is called once the querier has been closed.
	leave()
}

func (h *head) settled() error {
	if h.sync == nil {
		return nil
	}
	return h.logged()
}

func (h *head) leave() { h.readers.leave() }

// querier opens a querier on the head for the time from mint to maxt, both
// inclusive. The caller must have entered the readers' gate, which the querier
// leaves when it is closed.
func (h *head) querier(mint, maxt int64) (*fencedQuerier, error) {
	q, err := h.chunkQuerier(mint, maxt)
	if err != nil {
		return nil, err
	}
	return &fencedQuerier{from: h, q: q, mint: mint, maxt: maxt}, nil
}

// read calls use, which reads from the TSDB's querier or from what that has
// returned, alone and inside the head's fence.
func (q *fencedQuerier) read(doing string, err *error, use func()) {
	defer q.from.readFence(doing, err)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		*err = errQuerierClosed
		return
	}
	use()
}

// Select returns the matching series. Chunks are not cut to the range, because
// whoever reads them has to look at the times anyway.
func (q *fencedQuerier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.ChunkSeriesSet {
	narrowed := storage.SelectHints{Start: q.mint, End: q.maxt}
	if hints != nil {
		narrowed = *hints
		narrowed.Start, narrowed.End = max(hints.Start, q.mint), min(hints.End, q.maxt)
	}
	narrowed.DisableTrimming = true
	if narrowed.Start > narrowed.End {
		return storage.EmptyChunkSeriesSet()
	}
	var inner storage.ChunkSeriesSet
	var err error
	q.read("select series", &err, func() { inner = q.q.Select(ctx, sorted, &narrowed, matchers...) })
	if err != nil {
		return storage.ErrChunkSeriesSet(err)
	}
	return &fencedSet{querier: q, set: inner, mint: narrowed.Start, maxt: narrowed.End}
}

// LabelNames returns the names of the labels of the matching series.
func (q *fencedQuerier) LabelNames(ctx context.Context, hints *storage.LabelHints, matchers ...*labels.Matcher) (names []string, warnings annotations.Annotations, err error) {
	var failed error
	q.read("read label names", &failed, func() { names, warnings, err = q.q.LabelNames(ctx, hints, matchers...) })
	return names, warnings, errors.Join(failed, err)
}

// LabelValues returns the values of a label of the matching series.
func (q *fencedQuerier) LabelValues(ctx context.Context, name string, hints *storage.LabelHints, matchers ...*labels.Matcher) (values []string, warnings annotations.Annotations, err error) {
	var failed error
	q.read("read label values", &failed, func() { values, warnings, err = q.q.LabelValues(ctx, name, hints, matchers...) })
	return values, warnings, errors.Join(failed, err)
}

// Close releases the data. Closing again does nothing.
func (q *fencedQuerier) Close() (err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil
	}
	q.closed = true
	defer q.from.leave()
	defer q.from.readFence("close a querier", &err)
	return q.q.Close()
}

// fencedSet passes on the series that have a chunk in the range. The TSDB says
// of the chunk being filled that it lasts for ever, and only reading it tells
// its end.
type fencedSet struct {
	querier    *fencedQuerier
	set        storage.ChunkSeriesSet
	mint, maxt int64
	current    *fencedSeries
	err        error
}

func (s *fencedSet) Next() bool {
	for s.next() {
		series := &fencedSeries{querier: s.querier, series: s.set.At(), mint: s.mint, maxt: s.maxt}
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
	s.querier.read("read series", &s.err, func() { ok = s.set.Next() })
	return ok
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
	querier    *fencedQuerier
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
	*reuse = fencedChunks{querier: s.querier, mint: s.mint, maxt: s.maxt}
	s.querier.read("read chunks", &reuse.err, func() { reuse.it = s.series.Iterator(inner) })
	return reuse
}

// fencedChunks iterates over the chunks that overlap the range.
type fencedChunks struct {
	querier    *fencedQuerier
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
	c.querier.read("read chunks", &c.err, func() { ok = c.it.Next() })
	return ok
}

func (c *fencedChunks) At() chunks.Meta { return c.it.At() }

func (c *fencedChunks) Err() error {
	if c.err != nil {
		return c.err
	}
	return c.it.Err()
}
