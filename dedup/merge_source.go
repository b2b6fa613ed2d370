package dedup

import (
	"fmt"
	"math"

	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
)

// source is one of the series to merge: one chunk ahead of what was placed.
type source struct {
	it   chunks.Iterator
	peek chunks.Meta
	ok   bool
	lane *lane // that took, or already held, the source's last chunk
}

// openSources starts on the chunks of the series, reusing old iterators.
func (m *merger) openSources(series []storage.ChunkSeries) {
	for len(m.sources) < len(series) {
		m.sources = append(m.sources, source{})
	}
	clear(m.sources[len(series):])
	m.sources = m.sources[:len(series)]
	for i, s := range series {
		src := &m.sources[i]
		*src = source{it: s.Iterator(src.it)}
		m.pull(src, math.MinInt64)
	}
}

// pull reads the source's next chunk, which must not begin before after.
func (m *merger) pull(src *source, after int64) {
	src.peek, src.ok = chunks.Meta{}, false
	if m.err != nil {
		return
	}
	if !src.it.Next() {
		if err := src.it.Err(); err != nil {
			m.fail(err)
		}
		return
	}
	meta := src.it.At()
	switch {
	case meta.Chunk == nil:
		m.fail(fmt.Errorf("chunk at %d..%d: not there: %w", meta.MinTime, meta.MaxTime, ErrCorrupt))
	case !chunkenc.IsValidEncoding(meta.Chunk.Encoding()):
		m.fail(fmt.Errorf("chunk at %d..%d: encoding %d: %w", meta.MinTime, meta.MaxTime, meta.Chunk.Encoding(), ErrEncoding))
	case len(meta.Chunk.Bytes()) < chunkHeader(meta.Chunk.Encoding()) || meta.MaxTime < meta.MinTime:
		m.fail(fmt.Errorf("chunk at %d..%d: %d bytes: %w", meta.MinTime, meta.MaxTime, len(meta.Chunk.Bytes()), ErrCorrupt))
	case meta.MinTime < after:
		m.fail(fmt.Errorf("chunk at %d..%d after one at %d: %w", meta.MinTime, meta.MaxTime, after, ErrChunkOrder))
	default:
		src.peek, src.ok = meta, true
	}
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
	for i := range m.sources {
		src := &m.sources[i]
		for src.ok && src.peek.MinTime <= t {
			m.place(i, src.peek)
			m.pull(src, src.peek.MinTime)
			placed = true
		}
	}
	if placed {
		m.d = 0
		m.away = m.lane != nil && m.lane.order > 0
	}
	if m.began {
		for _, l := range m.lanes {
			if l != m.lane {
				l.prune(m.lastT)
			}
		}
	}
	return placed
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
// its source is a copy of that lane and continues there as long as it can.
func (m *merger) place(i int, meta chunks.Meta) {
	if meta.Chunk.NumSamples() == 0 {
		m.empty = meta
		return
	}
	src := &m.sources[i]
	for _, l := range m.lanes {
		if l.holds(meta) {
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
