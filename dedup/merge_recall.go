package dedup

import (
	"fmt"

	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
)

// readAhead reads the open chunk to its end, once in a lane, for its intervals
// and for rises and falls.
func (l *lane) readAhead() {
	if l.ahead > 0 || !l.open {
		return
	}
	l.ahead = l.seq
	it, _ := l.m.scratch.of(l.chunk.Chunk)
	l.m.d = 0
	l.iv.n = 0
	var prev sample
	for typ := it.Next(); typ != chunkenc.ValNone; typ = it.Next() {
		s := l.m.scratch.read(&l.m.reader, it, typ)
		if s.stale {
			continue
		}
		if prev.ok() {
			l.iv.observe(s.t - prev.t)
			l.m.observe(prev, s)
		}
		prev = s
	}
	// An error comes again when the lane itself gets there.
}

// recall decodes the chunk before the present position, if it was skipped
// undecoded, to learn the last sample before and the resets up to it.
func (l *lane) recall() {
	if l.prev.dim {
		l.recallDim()
		return
	}
	if l.prev.ok() || l.last.Chunk == nil {
		return
	}
	it, _ := l.m.scratch.of(l.last.Chunk)
	for typ := it.Next(); typ != chunkenc.ValNone; typ = it.Next() {
		s := l.m.scratch.read(&l.m.reader, it, typ)
		l.stale = s.stale
		if s.stale {
			continue
		}
		if fell(l.prev, s) {
			l.drop = dropBetween(l.prev, s)
		}
		l.prev = s
	}
	if err := it.Err(); err != nil {
		l.m.fail(fmt.Errorf("decode chunk at %d..%d: %w", l.last.MinTime, l.last.MaxTime, err))
	}
	if l.open && fell(l.prev, l.cur) {
		l.drop = dropBetween(l.prev, l.cur)
	}
	l.last = chunks.Meta{}
}

// recallDim learns the last sample before the present position, of which nothing
// but the time was read.
func (l *lane) recallDim() {
	meta, until := l.chunk, l.prev.t
	if !l.open || meta.MinTime > until {
		meta = l.last
	}
	if l.prev = (sample{}); meta.Chunk == nil {
		return
	}
	it, _ := l.m.scratch.of(meta.Chunk)
	for typ := it.Next(); typ != chunkenc.ValNone && it.AtT() <= until; typ = it.Next() {
		s := l.m.scratch.read(&l.m.reader, it, typ)
		if fell(l.prev, s) {
			l.drop = dropBetween(l.prev, s)
		}
		l.prev = s
	}
	if l.open && fell(l.prev, l.cur) {
		l.drop = dropBetween(l.prev, l.cur)
	}
}
