package dedup

import (
	"fmt"
	"math"

	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/varve-tsdb/varve/internal/sortedsets"
)

// lane is a sequence of chunks that do not overlap: one replica, or as much of
// one as its source kept in order. Its chunks are decoded only when a sample of
// them must be looked at.
type lane struct {
	m      *merger
	source int

	queue []chunks.Meta // known and not yet begun, in order of time
	tail  int64         // MaxTime of the last chunk ever queued
	last  chunks.Meta   // the chunk before the open or first queued one, if known

	open    bool // chunk is being decoded
	chunk   chunks.Meta
	seq     uint64 // number of the open chunk among those opened in this lane
	idx     int    // index of cur in chunk
	size    int    // samples of chunk
	it      chunkenc.Iterator
	xor     bool // whether it is that of samples.floats
	samples samples
	cur     sample // the next sample of the open chunk

	prev     sample // the last real sample before cur, if it was decoded
	born     int64  // time of the lane's first sample, if that was decoded
	stale    bool   // the last sample before cur was a stale marker
	drop     drop   // the last fall of this lane's values, as far as decoded
	adjacent bool   // the sample before cur was the last one emitted
	finest   int8   // schema of what is emitted of the lane, see merge_coarsen.go

	ahead uint64 // seq of the chunk that was read ahead, 0 if none was
	iv    interval
	run   int // decoded samples in a row without a gap, up to cur
	proof int // the run that is needed to be followed again
	order int // the how-manieth lane to be followed, -1 if it never was
}

// reinit makes l new, keeping what can be used again.
func (l *lane) reinit(m *merger, source int) {
	clear(l.queue)
	*l = lane{
		m: m, source: source, queue: l.queue[:0], samples: l.samples,
		tail: never, born: never, drop: noDrop(), order: -1, finest: anySchema,
	}
}

// push appends a chunk that begins after the lane's last one.
func (l *lane) push(meta chunks.Meta) {
	if l.iv.n == 0 {
		l.observeChunk(meta)
	}
	if l.iv.n == 0 && l.tail != never {
		l.iv.observe(meta.MinTime - l.tail)
	}
	l.queue = append(l.queue, meta)
	l.tail = meta.MaxTime
}

// observeChunk estimates the interval of a chunk that was not decoded. Gaps in
// it make the estimate too long, which the first decoded samples correct.
func (l *lane) observeChunk(meta chunks.Meta) {
	if n := meta.Chunk.NumSamples(); n > 1 && meta.MaxTime != math.MaxInt64 {
		l.iv.observe((meta.MaxTime - meta.MinTime) / int64(n-1))
	}
}

// holds reports whether the lane has queued the very same chunk.
func (l *lane) holds(meta chunks.Meta) bool {
	if l.tail < meta.MaxTime {
		return false
	}
	for i := len(l.queue) - 1; i >= 0; i-- {
		q := &l.queue[i]
		if q.MinTime < meta.MinTime {
			return false
		}
		if sortedsets.SameChunk(*q, meta) {
			return true
		}
	}
	return false
}

// start returns the time of the lane's next data, decoding nothing.
func (l *lane) start() (int64, bool) {
	switch {
	case l.open:
		return l.cur.t, true
	case len(l.queue) > 0:
		return l.queue[0].MinTime, true
	}
	return 0, false
}

// reaches reports whether the lane is known to have data at t or later.
func (l *lane) reaches(t int64) bool {
	return l.tail >= t && (l.open || len(l.queue) > 0)
}

// pop takes the first chunk off the queue without decoding it.
func (l *lane) pop() chunks.Meta {
	meta := l.queue[0]
	copy(l.queue, l.queue[1:])
	l.queue[len(l.queue)-1] = chunks.Meta{}
	l.queue = l.queue[:len(l.queue)-1]
	return meta
}

// leap moves past chunk undecoded, so that what came before it is forgotten.
func (l *lane) leap(meta chunks.Meta) {
	l.adjacent = false
	l.last = meta
	l.prev = sample{}
	l.stale = false
	l.run = 0
	l.observeChunk(meta)
	l.m.d = 0
}

// ready makes cur the next sample, opening a chunk if need be, and reports
// whether there is one among the chunks known so far.
func (l *lane) ready() bool {
	for !l.open {
		if len(l.queue) == 0 || l.m.err != nil {
			return false
		}
		l.chunk = l.pop()
		l.it, l.xor = l.samples.of(l.chunk.Chunk)
		l.size = l.chunk.Chunk.NumSamples()
		l.open = true
		l.seq++
		l.idx = -1
		l.step()
	}
	return true
}

// skip drops cur, noting whether the lane has been without a gap.
func (l *lane) skip() {
	switch {
	case l.cur.stale, !l.prev.ok(), l.stale, l.m.late(l.prev.t, l.cur.t):
		l.run = 0
	default:
		l.run++
	}
	l.adjacent = false
	l.advance()
}

// advance moves to the next sample of the open chunk, or closes it. The sample
// it leaves becomes prev.
func (l *lane) advance() {
	l.stale = l.cur.stale
	if !l.cur.stale {
		l.prev = l.cur
	}
	l.step()
}

// step reads the next sample of the open chunk into cur.
func (l *lane) step() {
	l.idx++
	l.land(l.it.Next())
}

// land makes the sample that the iterator has moved to the current one.
func (l *lane) land(typ chunkenc.ValueType) {
	if typ == chunkenc.ValNone {
		if err := l.it.Err(); err != nil {
			l.m.fail(fmt.Errorf("decode chunk at %d..%d: %w", l.chunk.MinTime, l.chunk.MaxTime, err))
		} else if l.m.enc != nil {
			l.m.enc.chunkDone(l)
		}
		l.close()
		return
	}
	l.cur = l.samples.read(&l.m.reader, l.it, typ)
	if l.seq == 1 && l.idx == 0 && l.last.Chunk == nil {
		l.born = l.cur.t
	}
	if l.cur.stale || !l.prev.ok() {
		return
	}
	if fell(l.prev, l.cur) {
		l.drop = dropBetween(l.prev, l.cur)
	}
	if l.seq == l.ahead {
		return // was counted then
	}
	if !l.stale {
		l.observeDelta(l.cur.t - l.prev.t)
	}
	if l.cur.t > later(l.prev.t, l.iv.d, 3, 2) {
		l.m.d = 0 // it is away
	}
	if l.seq != l.ahead {
		l.m.observe(l.prev, l.cur)
	}
}

// observeDelta notes the time between two decoded samples. If the first is not
// what the chunk as a whole made expect, there are gaps in it, and its samples
// tell better.
func (l *lane) observeDelta(delta int64) {
	if off := delta - l.iv.d; l.iv.n == 1 && (off > l.iv.d/8 || -off > l.iv.d/8) {
		l.readAhead()
	}
	if l.seq == l.ahead {
		return
	}
	if l.iv.observe(delta) {
		l.m.d = 0
	}
}

// close forgets the open chunk; prev stays.
func (l *lane) close() {
	l.open = false
	l.last = l.chunk
	l.chunk = chunks.Meta{}
	l.cur = sample{}
	l.m.d = 0
}

// drain drops the samples of the open chunk up to and including t.
func (l *lane) drain(t int64) {
	for l.open && l.cur.t <= t {
		if !l.hurry(t) {
			l.skip()
		}
	}
}

// sync drops all samples up to and including t, unopened chunks undecoded, and
// opens the chunk of the one after.
func (l *lane) sync(t int64) {
	for {
		l.drain(t)
		if l.open {
			return
		}
		for len(l.queue) > 0 && l.queue[0].MaxTime <= t {
			l.leap(l.pop())
		}
		if !l.ready() {
			return
		}
	}
}

// prune drops chunks that ended by t, so that a lane nobody looks at holds
// no more than the others.
func (l *lane) prune(t int64) {
	if l.open {
		if l.chunk.MaxTime > t || l.cur.t > t {
			return
		}
		meta := l.chunk
		l.close()
		l.leap(meta)
	}
	for len(l.queue) > 0 && l.queue[0].MaxTime <= t {
		l.leap(l.pop())
	}
}
