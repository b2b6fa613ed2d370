package aggrchunk

import (
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
)

// maxSamples is where chunks are cut that are encoded anew. Chunks of downsampled
// blocks hold about 140 windows.
const maxSamples = 240

// encoder makes chunks of samples.
type encoder struct {
	out   []chunks.Meta
	chunk chunkenc.Chunk // being written, nil if none
	app   chunkenc.Appender
	first int64
	last  int64
	n     int
	whole bool // chunks may be of any length
}

// begin makes sure that there is a chunk of the encoding to append to.
func (e *encoder) begin(enc chunkenc.Encoding, t int64) error {
	if e.chunk != nil && (e.chunk.Encoding() != enc || e.n >= maxSamples && !e.whole) {
		e.cut()
	}
	if e.chunk == nil {
		chunk, err := chunkenc.NewEmptyChunk(enc)
		if err != nil {
			return err
		}
		if e.app, err = chunk.Appender(); err != nil {
			return err
		}
		e.chunk, e.first = chunk, t
	}
	return nil
}

// added notes a sample. c, if not nil, is the chunk it is in, and fresh says that
// it is the first one there.
func (e *encoder) added(t int64, c chunkenc.Chunk, fresh bool, app chunkenc.Appender) {
	if c != nil && fresh {
		e.cut()
		e.first = t
	}
	if c != nil {
		e.chunk = c
	}
	e.app, e.last = app, t
	e.n++
}

// cut ends the chunk.
func (e *encoder) cut() {
	if e.chunk != nil && e.n > 0 {
		e.out = append(e.out, chunks.Meta{Chunk: e.chunk, MinTime: e.first, MaxTime: e.last})
	}
	e.chunk, e.app, e.n = nil, nil, 0
}

func (e *encoder) float(enc chunkenc.Encoding, st, t int64, v float64) error {
	if err := e.begin(enc, t); err != nil {
		return err
	}
	e.app.Append(st, t, v)
	e.added(t, nil, false, e.app)
	return nil
}

func (e *encoder) floatHistogram(enc chunkenc.Encoding, st, t int64, h *histogram.FloatHistogram) error {
	if err := e.begin(enc, t); err != nil {
		return err
	}
	c, recoded, app, err := e.app.AppendFloatHistogram(nil, st, t, h, false)
	if err != nil {
		return err
	}
	e.added(t, c, !recoded, app)
	return nil
}

func (e *encoder) histogram(enc chunkenc.Encoding, st, t int64, h *histogram.Histogram) error {
	if err := e.begin(enc, t); err != nil {
		return err
	}
	c, recoded, app, err := e.app.AppendHistogram(nil, st, t, h, false)
	if err != nil {
		return err
	}
	e.added(t, c, !recoded, app)
	return nil
}

// current appends the sample that it is at, of the given type, to a chunk of the
// given encoding.
func (e *encoder) current(enc chunkenc.Encoding, it chunkenc.Iterator, typ chunkenc.ValueType) error {
	switch typ {
	case chunkenc.ValHistogram:
		t, h := it.AtHistogram(nil)
		return e.histogram(enc, it.AtST(), t, h)
	case chunkenc.ValFloatHistogram:
		t, h := it.AtFloatHistogram(nil)
		return e.floatHistogram(enc, it.AtST(), t, h)
	default:
		t, v := it.At()
		return e.float(enc, it.AtST(), t, v)
	}
}

// finish returns the chunks.
func (e *encoder) finish() []chunks.Meta {
	e.cut()
	return e.out
}

// guard turns a panic into an error: Prometheus' encoder trusts histograms, which
// here come from a bucket that somebody may have tampered with.
func guard(err *error) {
	if p := recover(); p != nil {
		*err = corrupt("its samples cannot be encoded: %v", p)
	}
}

// Clip returns the samples of an ordinary chunk from from to to, both inclusive,
// as chunks of the same encoding, which bear the chunk's mark if it has one; the chunk
// itself if it does not reach out.
func Clip(m chunks.Meta, from, to int64) (clipped []chunks.Meta, err error) {
	defer guard(&err)
	if from <= m.MinTime && m.MaxTime <= to {
		return []chunks.Meta{m}, nil
	}
	var e encoder
	if err := e.between(m.Chunk, from, to); err != nil {
		return nil, err
	}
	clipped = e.finish()
	for i := range clipped {
		clipped[i].Chunk = Mark(clipped[i].Chunk, resolutionOf(m.Chunk))
	}
	return clipped, nil
}
