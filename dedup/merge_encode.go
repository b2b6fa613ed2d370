package dedup

import (
	"fmt"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/varve-tsdb/varve/internal/aggrchunk"
)

// maxChunkSamples is where Prometheus' own heads and compactions cut chunks,
// and what readers size their buffers for.
const maxChunkSamples = 120

// encoder turns the chosen samples into chunks. As long as they are the samples
// of one source chunk from its first on, it writes nothing and only counts; if
// they go on to the chunk's last, the source chunk itself is the output.
type encoder struct {
	out  []chunks.Meta // finished, in order of time
	next int           // index in out of the next one to hand out

	src   *lane // whose chunk is being followed verbatim, nil if none
	seq   uint64
	meta  chunks.Meta
	taken int // samples of meta taken so far

	chunk  chunkenc.Chunk // being written, nil if none
	app    chunkenc.Appender
	typ    chunkenc.ValueType
	window int64 // ms, of the samples in chunk, see aggrchunk.Mark
	n      int
	mint   int64
	maxt   int64
	replay samples
}

func (e *encoder) reset() {
	clear(e.out)
	*e = encoder{out: e.out[:0], replay: e.replay}
}

// ready reports whether there is a finished chunk.
func (e *encoder) ready() bool { return e.next < len(e.out) }

// pop hands out the next finished chunk.
func (e *encoder) pop() (chunks.Meta, bool) {
	if !e.ready() {
		e.out, e.next = e.out[:0], 0
		return chunks.Meta{}, false
	}
	meta := e.out[e.next]
	e.out[e.next] = chunks.Meta{}
	e.next++
	return meta, true
}

// follows reports whether the current sample of l is the next of the chunk that
// is being taken over.
func (e *encoder) follows(l *lane) bool {
	return e.src == l && e.seq == l.seq && e.taken == l.idx
}

// followed reports whether the current sample of l was taken over like that.
func (e *encoder) followed(l *lane) bool {
	return e.src == l && e.seq == l.seq && e.taken == l.idx+1
}

// take adds the current sample of l.
//
// A chunk's first sample may follow one of another replica, whatever the
// chunk's header says of a counter reset before it: iterators give that sample
// an unknown hint, because they cannot know its predecessor either.
func (e *encoder) take(l *lane) error {
	if e.follows(l) {
		e.taken++
		return nil
	}
	if err := e.breakOff(); err != nil {
		return err
	}
	if l.idx == 0 && !l.coarse() {
		e.src, e.seq, e.meta, e.taken = l, l.seq, l.chunk, 1
		return nil
	}
	return e.append(&l.samples, l.it, l.cur.typ, !l.adjacent, l.finest)
}

// chunkDone is told that l has read its chunk to the end.
func (e *encoder) chunkDone(l *lane) {
	if !e.follows(l) {
		return
	}
	e.flush()
	if l.xor {
		e.meta.Chunk = l.samples.floats.lend(e.meta.Chunk)
	}
	e.out = append(e.out, e.meta)
	e.src, e.meta, e.taken = nil, chunks.Meta{}, 0
}

// pass adds a whole chunk undecoded.
func (e *encoder) pass(meta chunks.Meta) error {
	if err := e.breakOff(); err != nil {
		return err
	}
	e.flush()
	if xor, ok := meta.Chunk.(*chunkenc.XORChunk); ok {
		meta.Chunk = floatsChunk{xor}
	}
	e.out = append(e.out, meta)
	return nil
}

// finish completes the last chunk.
func (e *encoder) finish() error {
	err := e.breakOff()
	e.flush()
	return err
}

// breakOff writes the samples taken so far of a chunk that is not taken whole.
func (e *encoder) breakOff() error {
	if e.src == nil {
		return nil
	}
	meta, taken := e.meta, e.taken
	e.src, e.meta, e.taken = nil, chunks.Meta{}, 0
	it, _ := e.replay.of(meta.Chunk)
	for range taken {
		typ := it.Next()
		if typ == chunkenc.ValNone {
			return fmt.Errorf("decode chunk at %d..%d again: %w", meta.MinTime, meta.MaxTime, it.Err())
		}
		if err := e.append(&e.replay, it, typ, false, anySchema); err != nil {
			return err
		}
	}
	return nil
}

// append writes the sample at it, which is from of. One that does not follow its predecessor in
// its own replica says nothing about counter resets; readers then compare.
func (e *encoder) append(of *samples, it chunkenc.Iterator, typ chunkenc.ValueType, jumped bool, finest int8) error {
	st := it.AtST()
	if of.window != e.window {
		e.flush()
		e.window = of.window
	}
	if err := e.cut(typ, st); err != nil {
		return err
	}
	var (
		t       int64
		v       float64
		h       *histogram.Histogram
		fh      *histogram.FloatHistogram
		fresh   chunkenc.Chunk
		recoded bool
		err     error
	)
	switch typ {
	case chunkenc.ValFloat:
		t, v = it.At()
		e.app.Append(st, t, v)
	case chunkenc.ValHistogram:
		// The appender may keep parts of the histogram: no buffer here.
		t, h = it.AtHistogram(nil)
		h = coarser(h, finest)
		h.CounterResetHint = hintAfter(h.CounterResetHint, jumped)
		fresh, recoded, e.app, err = e.app.AppendHistogram(nil, st, t, h, false)
	case chunkenc.ValFloatHistogram:
		t, fh = it.AtFloatHistogram(nil)
		fh = coarserFloat(fh, finest)
		fh.CounterResetHint = hintAfter(fh.CounterResetHint, jumped)
		fresh, recoded, e.app, err = e.app.AppendFloatHistogram(nil, st, t, fh, false)
	}
	if err != nil {
		return fmt.Errorf("encode sample at %d: %w", t, err)
	}
	if fresh != nil {
		if !recoded {
			e.push()
		}
		e.chunk = fresh
	}
	if e.n == 0 {
		e.mint = t
	}
	e.maxt = t
	e.n++
	return nil
}

// cut makes sure that the chunk being written takes a sample of the type.
func (e *encoder) cut(typ chunkenc.ValueType, st int64) error {
	want := typ.ChunkEncoding(st != 0, st != 0)
	if e.chunk != nil && e.typ == typ && e.n < maxChunkSamples {
		have := e.chunk.Encoding()
		if have == want || chunkenc.CompatibleValues(have, want) && want == chunkenc.EncXOR {
			return nil
		}
	}
	e.flush()
	chunk, err := chunkenc.NewEmptyChunk(want)
	if err != nil {
		return fmt.Errorf("new chunk for a %s: %w", typ, err)
	}
	e.app, err = chunk.Appender()
	if err != nil {
		return fmt.Errorf("new chunk for a %s: %w", typ, err)
	}
	e.chunk, e.typ = chunk, typ
	return nil
}

// flush finishes the chunk being written.
func (e *encoder) flush() {
	e.push()
	e.chunk, e.app, e.typ = nil, nil, chunkenc.ValNone
}

func (e *encoder) push() {
	if e.n > 0 {
		e.out = append(e.out, chunks.Meta{Chunk: aggrchunk.Mark(e.chunk, e.window), MinTime: e.mint, MaxTime: e.maxt})
	}
	e.n = 0
}

func hintAfter(hint histogram.CounterResetHint, jumped bool) histogram.CounterResetHint {
	if jumped && hint != histogram.GaugeType {
		return histogram.UnknownCounterReset
	}
	return hint
}
