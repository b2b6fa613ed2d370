package query

import (
	"bytes"

	"github.com/prometheus/prometheus/tsdb/chunks"
)

// partIterator reads the chunks of a series in one source. Its failure is the
// failure of the source.
type partIterator struct {
	inner chunks.Iterator
	from  *sourceSet
	err   error
}

func (p *partIterator) reset(part fanoutPart) {
	p.inner = part.series.Iterator(p.inner)
	p.from = part.from
	p.err = nil
}

// Next advances to the next chunk.
func (p *partIterator) Next() bool {
	if p.err != nil {
		return false
	}
	if p.inner.Next() {
		return true
	}
	if err := p.inner.Err(); err != nil {
		p.from.fail(err)
		p.err = p.from.failed() // nil if it became a warning
	}
	return false
}

// At returns the current chunk.
func (p *partIterator) At() chunks.Meta { return p.inner.At() }

// Err returns the failure of the source unless it became a warning.
func (p *partIterator) Err() error { return p.err }

// mergedChunks reads the chunks of a series in several sources, ordered by
// MinTime then MaxTime. Chunks of the same bytes, as a head and the block cut
// from it have, come once, and are never decoded.
type mergedChunks struct {
	parts   []*partIterator
	waiting []chunks.Meta // current chunk of each part
	has     []bool
	same    []chunks.Meta // returned ones with the latest MinTime
	err     error
}

func (m *mergedChunks) reset(parts []fanoutPart) {
	for len(m.parts) < len(parts) {
		m.parts = append(m.parts, &partIterator{})
	}
	m.parts = m.parts[:len(parts)]
	m.waiting = make([]chunks.Meta, len(parts))
	m.has = make([]bool, len(parts))
	m.same, m.err = m.same[:0], nil
	for i, part := range parts {
		m.parts[i].reset(part)
		m.advance(i)
	}
}

func (m *mergedChunks) advance(i int) {
	if m.has[i] = m.parts[i].Next(); m.has[i] {
		m.waiting[i] = m.parts[i].At()
	} else if err := m.parts[i].Err(); err != nil && m.err == nil {
		m.err = err
	}
}

// Next advances to the next chunk that was not yet returned.
func (m *mergedChunks) Next() bool {
	for m.err == nil {
		next := -1
		for i, has := range m.has {
			if has && (next < 0 || earlier(m.waiting[i], m.waiting[next])) {
				next = i
			}
		}
		if next < 0 {
			return false
		}
		chunk := m.waiting[next]
		m.advance(next)
		if m.err == nil && !m.seen(chunk) {
			m.same = append(m.same, chunk)
			return true
		}
	}
	return false
}

func earlier(a, b chunks.Meta) bool {
	if a.MinTime != b.MinTime {
		return a.MinTime < b.MinTime
	}
	return a.MaxTime < b.MaxTime
}

// seen reports whether chunk has been returned. It forgets those that started
// earlier, for no equal one can follow.
func (m *mergedChunks) seen(chunk chunks.Meta) bool {
	if len(m.same) > 0 && m.same[0].MinTime != chunk.MinTime {
		m.same = m.same[:0]
	}
	for _, s := range m.same {
		if s.MaxTime == chunk.MaxTime && sameChunk(s, chunk) {
			return true
		}
	}
	return false
}

func sameChunk(a, b chunks.Meta) bool {
	if a.Chunk == nil || b.Chunk == nil {
		return a.Chunk == b.Chunk
	}
	return a.Chunk.Encoding() == b.Chunk.Encoding() && bytes.Equal(a.Chunk.Bytes(), b.Chunk.Bytes())
}

// At returns the current chunk.
func (m *mergedChunks) At() chunks.Meta { return m.same[len(m.same)-1] }

// Err returns the first failure that is no warning.
func (m *mergedChunks) Err() error { return m.err }
