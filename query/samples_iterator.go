package query

import (
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/varve-tsdb/varve/internal/xorchunk"
)

// millis is a timestamp. The name keeps go vet from taking Seek for that of
// io.Seeker.
type millis = int64

// layerIterator reads chunks that follow each other without overlap, one open
// at a time, and only samples in the inclusive range [mint, maxt].
//
// Chunks of floats are most of what there is, and reading them is most of what a
// query over long times does: they are decoded a few samples at a time, which
// takes half as long as one by one. More than a few would be no faster, and an
// engine may hold an iterator for each series.
type layerIterator struct {
	chunks     []chunks.Meta
	mint, maxt int64

	next  int // chunk to open next
	typ   chunkenc.ValueType
	err   error
	inner chunkenc.Iterator // of the open chunk, or one before; reused between chunks

	ofFloats bool // the open chunk is, and is decoded here instead
	decoder  xorchunk.Decoder
	floats   []xorchunk.Sample // the last decoded, none beyond maxt
	at       int               // the current one of floats
}

// portion is how many floats are decoded at a time.
const portion = 16

func (l *layerIterator) reset(list []chunks.Meta, mint, maxt int64) {
	l.chunks, l.mint, l.maxt = list, mint, maxt
	l.next, l.typ, l.err = 0, chunkenc.ValNone, nil
	l.floats, l.at = l.floats[:0], 0
}

// Next advances by one sample.
func (l *layerIterator) Next() chunkenc.ValueType {
	if l.at+1 < len(l.floats) {
		l.at++
		return chunkenc.ValFloat
	}
	if l.typ != chunkenc.ValNone {
		if l.advance() {
			return l.typ
		}
		if !l.finished() {
			return chunkenc.ValNone
		}
	}
	return l.open(l.mint)
}

// Seek advances to the first sample at or after t, if the current one is before
// that.
func (l *layerIterator) Seek(t millis) chunkenc.ValueType {
	t = max(t, l.mint)
	if l.typ != chunkenc.ValNone {
		if l.AtT() >= t {
			return l.typ
		}
		if l.chunks[l.next-1].MaxTime >= t {
			if l.seek(t) {
				return l.typ
			}
			if !l.finished() {
				return chunkenc.ValNone
			}
		}
	}
	return l.open(t)
}

// open finds the first sample at or after t in the chunks that were not opened
// yet.
func (l *layerIterator) open(t int64) chunkenc.ValueType {
	for l.typ, l.floats = chunkenc.ValNone, l.floats[:0]; l.next < len(l.chunks); {
		chunk := l.chunks[l.next]
		l.next++
		if chunk.MaxTime < t {
			continue
		}
		var xor *chunkenc.XORChunk
		if xor, l.ofFloats = chunk.Chunk.(*chunkenc.XORChunk); l.ofFloats {
			l.decoder.Reset(xor.Bytes())
		} else {
			l.inner = chunk.Chunk.Iterator(l.inner)
		}
		if chunk.MinTime < t && l.seek(t) || chunk.MinTime >= t && l.advance() {
			return l.typ
		}
		if !l.finished() {
			return chunkenc.ValNone
		}
	}
	return chunkenc.ValNone
}

// advance goes to the next sample of the open chunk and tells whether it has one
// in the range.
func (l *layerIterator) advance() bool {
	if l.ofFloats {
		return l.decode()
	}
	return l.found(l.inner.Next())
}

// seek goes on in the open chunk to the first sample at or after t, and tells
// whether it has one in the range.
func (l *layerIterator) seek(t int64) bool {
	if !l.ofFloats {
		return l.found(l.inner.Seek(t))
	}
	for {
		for ; l.at < len(l.floats); l.at++ {
			if l.floats[l.at].T >= t {
				return true
			}
		}
		if !l.decode() {
			return false
		}
	}
}

// decode reads the next floats of the open chunk.
func (l *layerIterator) decode() bool {
	l.at, l.typ = 0, chunkenc.ValNone
	l.floats = l.decoder.Append(l.floats[:0], portion)
	if l.chunks[l.next-1].MaxTime > l.maxt {
		for i, s := range l.floats {
			if s.T > l.maxt {
				l.floats = l.floats[:i]
				l.end()
				break
			}
		}
	}
	if len(l.floats) == 0 {
		return false
	}
	l.typ = chunkenc.ValFloat
	return true
}

// found takes what the open chunk's iterator has come to.
func (l *layerIterator) found(typ chunkenc.ValueType) bool {
	if l.typ = typ; typ != chunkenc.ValNone && l.chunks[l.next-1].MaxTime > l.maxt && l.inner.AtT() > l.maxt {
		l.typ = chunkenc.ValNone
		l.end()
	}
	return l.typ != chunkenc.ValNone
}

// end leaves out what comes after the samples that were decoded.
func (l *layerIterator) end() {
	l.next, l.decoder = len(l.chunks), xorchunk.Decoder{}
}

// finished reports that the open chunk came to its end without an error.
func (l *layerIterator) finished() bool {
	if l.ofFloats {
		l.err = l.decoder.Err()
	} else {
		l.err = l.inner.Err()
	}
	if l.err != nil {
		l.next = len(l.chunks)
	}
	return l.err == nil
}

// The current sample. Only to be called after Next or Seek found one.

func (l *layerIterator) At() (int64, float64) {
	if l.ofFloats {
		s := &l.floats[l.at]
		return s.T, s.V
	}
	return l.inner.At()
}

func (l *layerIterator) AtHistogram(h *histogram.Histogram) (int64, *histogram.Histogram) {
	return l.inner.AtHistogram(h)
}

func (l *layerIterator) AtFloatHistogram(fh *histogram.FloatHistogram) (int64, *histogram.FloatHistogram) {
	return l.inner.AtFloatHistogram(fh)
}

func (l *layerIterator) AtT() int64 {
	if l.ofFloats {
		return l.floats[l.at].T
	}
	return l.inner.AtT()
}

// AtST returns 0 for floats: XOR chunks have no start timestamps.
func (l *layerIterator) AtST() int64 {
	if l.ofFloats {
		return 0
	}
	return l.inner.AtST()
}

func (l *layerIterator) Err() error { return l.err }
