package dedup

import (
	"fmt"
	"math"

	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/varve-tsdb/varve/internal/aggrchunk"
)

// source is one of the series to merge: one chunk ahead of what was placed.
type source struct {
	it   chunks.Iterator
	list []chunks.Meta // what it would give, if it is nil
	peek chunks.Meta
	ok   bool
	lane *lane // that took, or already held, the source's last chunk
}

// openSeries starts on the chunks of series, reusing old iterators.
func (m *merger) openSeries(series []storage.ChunkSeries) {
	m.sizeSources(len(series))
	for i, s := range series {
		src := &m.sources[i]
		*src = source{it: s.Iterator(src.it)}
		m.pull(src, math.MinInt64)
	}
}

// openLists starts on chunks that were read already. It keeps the lists.
func (m *merger) openLists(lists [][]chunks.Meta) {
	m.sizeSources(len(lists))
	for i, list := range lists {
		src := &m.sources[i]
		*src = source{list: list}
		m.pull(src, math.MinInt64)
	}
}

func (m *merger) sizeSources(n int) {
	for len(m.sources) < n {
		m.sources = append(m.sources, source{})
	}
	clear(m.sources[n:])
	m.sources = m.sources[:n]
}

// next returns the source's next chunk, whatever it is.
func (src *source) next() (meta chunks.Meta, ok bool) {
	switch {
	case src.it == nil && len(src.list) > 0:
		meta, src.list = src.list[0], src.list[1:]
		return meta, true
	case src.it != nil && src.it.Next():
		return src.it.At(), true
	}
	return chunks.Meta{}, false
}

// pull reads the source's next chunk, which must not begin before after.
func (m *merger) pull(src *source, after int64) {
	src.peek, src.ok = chunks.Meta{}, false
	if m.err != nil {
		return
	}
	meta, ok := src.next()
	if !ok {
		if src.it != nil {
			m.fail(src.it.Err())
		}
		return
	}
	err := checkChunk(meta)
	if err == nil && meta.MinTime < after {
		err = fmt.Errorf("chunk at %d..%d after one at %d: %w", meta.MinTime, meta.MaxTime, after, ErrChunkOrder)
	}
	if err != nil {
		m.fail(err)
		return
	}
	src.peek, src.ok = meta, true
}

// checkChunk checks what can be seen of a chunk without decoding it.
func checkChunk(meta chunks.Meta) error {
	if meta.Chunk == nil {
		return fmt.Errorf("chunk at %d..%d: not there: %w", meta.MinTime, meta.MaxTime, ErrCorrupt)
	}
	enc := meta.Chunk.Encoding()
	if !chunkenc.IsValidEncoding(enc) {
		return fmt.Errorf("chunk at %d..%d: encoding %d: %w", meta.MinTime, meta.MaxTime, enc, ErrEncoding)
	}
	if n := len(meta.Chunk.Bytes()); n < chunkHeader(enc) || meta.MaxTime < meta.MinTime {
		return fmt.Errorf("chunk at %d..%d: %d bytes: %w", meta.MinTime, meta.MaxTime, n, ErrCorrupt)
	}
	return nil
}

// chunkHeader returns how many bytes even an empty chunk has.
func chunkHeader(enc chunkenc.Encoding) int {
	if enc == chunkenc.EncXOR {
		return 2
	}
	return 3
}

// need brings all chunks that begin by t into lanes and reports whether there
// were new ones.
func (m *merger) need(t int64) (placed bool) {
	if t <= m.horizon && m.horizon != never {
		return false
	}
	m.horizon = t
	if t < m.beyond {
		return false
	}
	for i := range m.sources {
		src := &m.sources[i]
		for src.ok && src.peek.MinTime <= t {
			m.place(i, src.peek)
			m.pull(src, src.peek.MinTime)
			placed = true
		}
	}
	m.beyond, _ = m.nextStart()
	if !placed {
		return false
	}
	m.d = 0
	m.away = m.lane != nil && m.lane.order > 0
	if m.began {
		for _, l := range m.lanes {
			if l != m.lane {
				m.fallBehind(l)
			}
		}
	}
	return true
}

// nextStart returns the time of the first chunk beyond the horizon.
func (m *merger) nextStart() (int64, bool) {
	t, ok := int64(math.MaxInt64), false
	for i := range m.sources {
		if src := &m.sources[i]; src.ok {
			t, ok = min(t, src.peek.MinTime), true
		}
	}
	return t, ok
}

// place puts a chunk into the lane of its source, or into another or new lane
// if it overlaps what is there. A chunk that some lane has already is dropped:
// its source is a copy of that lane and continues there as long as it can. That is
// nothing to go by if it holds an aggregate: replicas with the same counts have
// different sums, and what is chosen must not differ.
func (m *merger) place(i int, meta chunks.Meta) {
	if meta.Chunk.NumSamples() == 0 {
		m.empty = meta
		return
	}
	src := &m.sources[i]
	for _, l := range m.lanes {
		if aggrchunk.Resolution(meta.Chunk) == 0 && l.holds(meta) {
			src.lane = l
			return
		}
	}
	if src.lane == nil || src.lane.tail >= meta.MinTime {
		src.lane = nil
		for _, l := range m.lanes {
			if l.source == i && l.tail < meta.MinTime {
				src.lane = l
				break
			}
		}
		if src.lane == nil {
			src.lane = m.addLane(i)
		}
	}
	src.lane.push(meta)
}

// addLane adds a lane for source i, in the order of sources, taking the place
// of one that is exhausted where possible.
func (m *merger) addLane(i int) *lane {
	m.dropLanes()
	var l *lane
	if n := len(m.spare); n > 0 {
		l, m.spare = m.spare[n-1], m.spare[:n-1]
	} else {
		l = &lane{}
	}
	l.reinit(m, i)
	at := len(m.lanes)
	for at > 0 && m.lanes[at-1].source > i {
		at--
	}
	m.lanes = append(m.lanes, nil)
	copy(m.lanes[at+1:], m.lanes[at:])
	m.lanes[at] = l
	return l
}

// dropLanes retires lanes that cannot get another chunk, so that a hundred
// sources one after the other do not cost a hundred lanes at each step.
func (m *merger) dropLanes() {
	kept := m.lanes[:0]
	for _, l := range m.lanes {
		if l == m.lane || l.open || len(l.queue) > 0 || m.sources[l.source].ok || m.current(l) {
			kept = append(kept, l)
			continue
		}
		m.spare = append(m.spare, l)
	}
	clear(m.lanes[len(kept):])
	m.lanes = kept
}

// current reports whether some source goes on in the lane.
func (m *merger) current(l *lane) bool {
	for i := range m.sources {
		if m.sources[i].ok && m.sources[i].lane == l {
			return true
		}
	}
	return false
}

// reached reports whether any replica but the followed one has data at t or
// later.
func (m *merger) reached(t int64) bool {
	for _, l := range m.lanes {
		if l != m.lane && l.reaches(t) {
			return true
		}
	}
	for i := range m.sources {
		if m.sources[i].ok && m.sources[i].peek.MaxTime >= t {
			return true
		}
	}
	return false
}
