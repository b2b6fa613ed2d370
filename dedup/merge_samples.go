package dedup

import (
	"fmt"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/varve-tsdb/varve/internal/chunkread"
)

// millis is a timestamp. The name keeps go vet from taking Seek for that of
// io.Seeker.
type millis = int64

// sampleIterator iterates over the samples of merged replicas. Those that come
// out were decoded once, and of the others only what lanes had to be compared by.
// Floats are read ahead up to the end of their chunk, and others stay where they
// are decoded, in the iterators of the merger's lanes.
type sampleIterator struct {
	m          merger
	mint, maxt int64

	started bool
	typ     chunkenc.ValueType // of the current sample

	floats []chunkread.Sample // read ahead
	next   int                // of floats; the current sample is the one before, if there is one

	it     chunkenc.Iterator // has the current sample, if that is none of floats
	whole  bool              // whether that is of a chunk that is read whole
	inside bool              // whether all of that is within the range
	chunk  chunks.Meta       // that one
	own    samples           // of chunks that are read whole
}

func (s *sampleIterator) reset(of *mergedSamples) {
	s.m.reset(of.labels, nil)
	*s = sampleIterator{m: s.m, own: s.own, mint: of.mint, maxt: of.maxt}
	s.m.openLists(of.lists)
}

// Next moves to the next sample. The ways that nearly all samples take are kept
// short.
func (s *sampleIterator) Next() chunkenc.ValueType {
	switch {
	case s.next < len(s.floats):
		s.next++
		return chunkenc.ValFloat
	case s.whole:
		if s.typ = s.it.Next(); s.typ != chunkenc.ValNone {
			if s.inside {
				return s.typ
			}
			return s.trimmed()
		}
	case !s.started:
		return s.Seek(s.mint)
	}
	s.typ = s.advance(never)
	return s.trimmed()
}

// Seek moves to the first sample at or after t, if the current one is before
// that. Which sample that is depends on those before it, so they are merged,
// too.
func (s *sampleIterator) Seek(t millis) chunkenc.ValueType {
	if s.started && (s.typ == chunkenc.ValNone || s.AtT() >= t) {
		return s.typ
	}
	s.started = true
	t = max(t, s.mint)
	for s.typ = s.advance(t); s.typ != chunkenc.ValNone && s.AtT() < t; {
		s.typ = s.advance(t)
	}
	return s.trimmed()
}

// trimmed returns the type of the current sample, or ends the iterator if it
// lies beyond the range.
func (s *sampleIterator) trimmed() chunkenc.ValueType {
	if s.typ == chunkenc.ValNone || s.whole && s.inside || s.AtT() <= s.maxt {
		return s.typ
	}
	s.typ, s.whole = chunkenc.ValNone, false
	s.m.done, s.m.glide.on = true, false
	return chunkenc.ValNone
}

// advance moves to the next sample, or to one after it where those before from
// have no part in merging.
func (s *sampleIterator) advance(from int64) chunkenc.ValueType {
	if s.next < len(s.floats) || s.readAhead() {
		s.next++
		return chunkenc.ValFloat
	}
	if s.m.glide.on && s.m.glideOnce() {
		return s.m.last.typ
	}
	if typ := s.advanceWhole(from); typ != chunkenc.ValNone {
		return typ
	}
	for !s.m.done && s.m.err == nil {
		s.m.step()
		switch s.m.found {
		case oneSample:
			s.it = s.m.lane.it
			return s.m.lane.cur.typ
		case oneChunk:
			s.open(s.m.whole)
			if typ := s.advanceWhole(from); typ != chunkenc.ValNone {
				return typ
			}
		}
	}
	return chunkenc.ValNone
}

// readAhead fills floats, if those that come next are as expected, and reports
// whether there are any.
func (s *sampleIterator) readAhead() bool {
	s.next, s.floats = 0, nil
	if s.m.glide.on && s.m.lane.xor {
		s.floats = s.m.glideOn(s.maxt)
	}
	return len(s.floats) > 0
}

// advanceWhole moves to the next sample of a chunk that is read whole, if one is.
func (s *sampleIterator) advanceWhole(from int64) (typ chunkenc.ValueType) {
	switch {
	case !s.whole:
		return chunkenc.ValNone
	case from > s.chunk.MinTime:
		typ = s.it.Seek(from)
	default:
		typ = s.it.Next()
	}
	if typ != chunkenc.ValNone {
		return typ
	}
	s.whole = false
	if err := s.it.Err(); err != nil {
		s.m.fail(fmt.Errorf("decode chunk at %d..%d: %w", s.chunk.MinTime, s.chunk.MaxTime, err))
	}
	return chunkenc.ValNone
}

func (s *sampleIterator) open(meta chunks.Meta) {
	s.it, _ = s.own.of(meta.Chunk)
	s.whole, s.chunk, s.inside = true, meta, meta.MaxTime <= s.maxt
}

// Err returns what ended the iteration early. It names the series.
func (s *sampleIterator) Err() error { return s.m.err }

// The current sample. Only to be called after Next or Seek found one.

func (s *sampleIterator) At() (int64, float64) {
	if s.next > 0 {
		f := &s.floats[s.next-1]
		return f.T, f.V
	}
	return s.it.At()
}

func (s *sampleIterator) AtT() int64 {
	if s.next > 0 {
		return s.floats[s.next-1].T
	}
	return s.it.AtT()
}

func (s *sampleIterator) AtST() int64 {
	if s.next > 0 {
		return 0 // XOR chunks have none
	}
	return s.it.AtST()
}

func (s *sampleIterator) AtHistogram(h *histogram.Histogram) (int64, *histogram.Histogram) {
	t, h := s.it.AtHistogram(h)
	h = coarser(h, s.m.lane.finest)
	h.CounterResetHint = hintAfter(h.CounterResetHint, s.m.jumped)
	return t, h
}

func (s *sampleIterator) AtFloatHistogram(fh *histogram.FloatHistogram) (int64, *histogram.FloatHistogram) {
	t, fh := s.it.AtFloatHistogram(fh)
	fh = coarserFloat(fh, s.m.lane.finest)
	fh.CounterResetHint = hintAfter(fh.CounterResetHint, s.m.jumped)
	return t, fh
}
