package dedup

import (
	"fmt"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
)

// millis is a timestamp. The name keeps go vet from taking Seek for that of
// io.Seeker.
type millis = int64

// sampleIterator iterates over the samples of merged replicas. They stay where
// they are decoded, in the iterators of the merger's lanes, so that each sample
// that comes out was decoded once and, unless lanes have to be compared, no
// other was.
type sampleIterator struct {
	m          merger
	mint, maxt int64
	plain      []chunks.Meta // to be read one after the other, as there is nothing to merge

	started bool
	typ     chunkenc.ValueType // of the current sample
	it      chunkenc.Iterator  // has it
	whole   bool               // whether that is of a chunk that is read whole
	chunk   chunks.Meta        // that one
	own     chunkenc.Iterator  // of chunks that are read whole
}

func (s *sampleIterator) reset(of *mergedSamples) {
	s.m.reset(of.labels, nil)
	*s = sampleIterator{m: s.m, own: s.own, mint: of.mint, maxt: of.maxt}
	if of.plain {
		s.plain = of.lists[0]
		s.m.done = true
		return
	}
	s.m.openLists(of.lists)
}

// Next moves to the next sample.
func (s *sampleIterator) Next() chunkenc.ValueType {
	if s.m.glide.on && s.m.glideOn() {
		if s.m.lastT > s.maxt {
			return s.end()
		}
		return s.typ
	}
	if !s.started {
		return s.Seek(s.mint)
	}
	s.typ = s.advance(never)
	return s.trimmed()
}

// Seek moves to the first sample at or after t, if the current one is before
// that. Which sample that is depends on those before it, so they are merged,
// too.
func (s *sampleIterator) Seek(t millis) chunkenc.ValueType {
	if s.started && (s.typ == chunkenc.ValNone || s.it.AtT() >= t) {
		return s.typ
	}
	s.started = true
	t = max(t, s.mint)
	for s.typ = s.advance(t); s.typ != chunkenc.ValNone && s.it.AtT() < t; {
		s.typ = s.advance(t)
	}
	return s.trimmed()
}

// trimmed returns the type of the current sample, or ends the iterator if it
// lies beyond the range.
func (s *sampleIterator) trimmed() chunkenc.ValueType {
	if s.typ == chunkenc.ValNone || s.whole && s.chunk.MaxTime <= s.maxt || s.it.AtT() <= s.maxt {
		return s.typ
	}
	return s.end()
}

// end is the end of what was asked for.
func (s *sampleIterator) end() chunkenc.ValueType {
	s.typ, s.whole, s.plain = chunkenc.ValNone, false, nil
	s.m.done, s.m.glide.on, s.m.found = true, false, nothing
	return chunkenc.ValNone
}

// advance moves to the next sample, or to one after it where those before from
// have no part in merging.
func (s *sampleIterator) advance(from int64) chunkenc.ValueType {
	if s.m.glide.on && s.m.glideOn() {
		return chunkenc.ValFloat
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

// advanceWhole moves to the next sample within chunks that are read whole.
func (s *sampleIterator) advanceWhole(from int64) chunkenc.ValueType {
	for s.whole || s.nextPlain(from) {
		var typ chunkenc.ValueType
		if from > s.chunk.MinTime {
			typ = s.it.Seek(from)
		} else {
			typ = s.it.Next()
		}
		if typ != chunkenc.ValNone {
			return typ
		}
		s.whole = false
		if err := s.it.Err(); err != nil {
			s.m.fail(fmt.Errorf("decode chunk at %d..%d: %w", s.chunk.MinTime, s.chunk.MaxTime, err))
			s.plain = nil
		}
	}
	return chunkenc.ValNone
}

// nextPlain opens the next chunk with samples at or after from, if there is
// nothing to merge.
func (s *sampleIterator) nextPlain(from int64) bool {
	for len(s.plain) > 0 {
		meta := s.plain[0]
		s.plain = s.plain[1:]
		if meta.MaxTime >= from {
			s.open(meta)
			return true
		}
	}
	return false
}

func (s *sampleIterator) open(meta chunks.Meta) {
	s.own = meta.Chunk.Iterator(s.own)
	s.it, s.whole, s.chunk = s.own, true, meta
}

// Err returns what ended the iteration early. It names the series.
func (s *sampleIterator) Err() error { return s.m.err }

// The current sample. Only to be called after Next or Seek found one.

func (s *sampleIterator) At() (int64, float64) { return s.it.At() }
func (s *sampleIterator) AtT() int64           { return s.it.AtT() }
func (s *sampleIterator) AtST() int64          { return s.it.AtST() }

func (s *sampleIterator) AtHistogram(h *histogram.Histogram) (int64, *histogram.Histogram) {
	t, h := s.it.AtHistogram(h)
	h.CounterResetHint = hintAfter(h.CounterResetHint, s.m.jumped)
	return t, h
}

func (s *sampleIterator) AtFloatHistogram(fh *histogram.FloatHistogram) (int64, *histogram.FloatHistogram) {
	t, fh := s.it.AtFloatHistogram(fh)
	fh.CounterResetHint = hintAfter(fh.CounterResetHint, s.m.jumped)
	return t, fh
}
