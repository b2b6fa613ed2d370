package chunkread

import (
	"fmt"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
)

// millis is a timestamp. The name keeps go vet from taking Seek for that of
// io.Seeker.
type millis = int64

// Iterator reads chunks of any encoding that follow each other without overlap,
// one open at a time, and only samples in the inclusive range [mint, maxt], in
// milliseconds, as far as the times of the chunks are true. Iterate makes one. Err
// tells of a chunk that breaks off, after the samples before that. It is not safe for
// concurrent use.
//
// Chunks of floats are most of what there is, and reading them is most of what a
// query over long times does: they are decoded a few samples at a time, which
// takes half as long as one by one. More than a few would be no faster, and an
// engine may hold an iterator for each series.
type Iterator struct {
	series     labels.Labels
	chunks     []chunks.Meta
	mint, maxt int64

	next  int // chunk to open next
	typ   chunkenc.ValueType
	err   error
	inner chunkenc.Iterator // of the open chunk, or one before; reused between chunks

	ofFloats bool // the open chunk is, and is decoded here instead
	decoder  Floats
	floats   []Sample // the last decoded, none beyond maxt
	at       int      // the current one of floats
}

// portion is how many floats are decoded at a time.
const portion = 16

// Iterate starts on chunks in order of time, which it does not change, of a series
// that errors are to name. It uses the memory of it, if that is an Iterator.
func Iterate(it chunkenc.Iterator, series labels.Labels, list []chunks.Meta, mint, maxt int64) *Iterator {
	used, ok := it.(*Iterator)
	if !ok {
		used = &Iterator{}
	}
	used.series, used.chunks, used.mint, used.maxt = series, list, mint, maxt
	used.next, used.typ, used.err = 0, chunkenc.ValNone, nil
	used.floats, used.at = used.floats[:0], 0
	return used
}

// Next advances by one sample.
func (it *Iterator) Next() chunkenc.ValueType {
	if it.at+1 < len(it.floats) {
		it.at++
		return chunkenc.ValFloat
	}
	if it.typ != chunkenc.ValNone {
		if it.advance() {
			return it.typ
		}
		if !it.finished() {
			return chunkenc.ValNone
		}
	}
	return it.open(it.mint)
}

// Seek advances to the first sample at or after t, if the current one is before
// that.
func (it *Iterator) Seek(t millis) chunkenc.ValueType {
	t = max(t, it.mint)
	if it.typ != chunkenc.ValNone {
		if it.AtT() >= t {
			return it.typ
		}
		if it.chunks[it.next-1].MaxTime >= t {
			if it.seek(t) {
				return it.typ
			}
			if !it.finished() {
				return chunkenc.ValNone
			}
		}
	}
	return it.open(t)
}

// open finds the first sample at or after t in the chunks that were not opened
// yet.
func (it *Iterator) open(t int64) chunkenc.ValueType {
	for it.typ, it.floats = chunkenc.ValNone, it.floats[:0]; it.next < len(it.chunks); {
		chunk := it.chunks[it.next]
		it.next++
		if chunk.MaxTime < t {
			continue
		}
		var xor *chunkenc.XORChunk
		if xor, it.ofFloats = chunk.Chunk.(*chunkenc.XORChunk); it.ofFloats {
			it.decoder.Reset(xor.Bytes())
		} else {
			it.inner = chunk.Chunk.Iterator(it.inner)
		}
		if chunk.MinTime < t && it.seek(t) || chunk.MinTime >= t && it.advance() {
			return it.typ
		}
		if !it.finished() {
			return chunkenc.ValNone
		}
	}
	return chunkenc.ValNone
}

// advance goes to the next sample of the open chunk and tells whether it has one
// in the range.
func (it *Iterator) advance() bool {
	if it.ofFloats {
		return it.decode()
	}
	return it.found(it.inner.Next())
}

// seek goes on in the open chunk to the first sample at or after t, and tells
// whether it has one in the range.
func (it *Iterator) seek(t int64) bool {
	if !it.ofFloats {
		return it.found(it.inner.Seek(t))
	}
	for {
		for ; it.at < len(it.floats); it.at++ {
			if it.floats[it.at].T >= t {
				return true
			}
		}
		if !it.decode() {
			return false
		}
	}
}

// decode reads the next floats of the open chunk.
func (it *Iterator) decode() bool {
	it.at, it.typ = 0, chunkenc.ValNone
	it.floats = it.decoder.Append(it.floats[:0], portion)
	if it.chunks[it.next-1].MaxTime > it.maxt {
		for i, s := range it.floats {
			if s.T > it.maxt {
				it.floats = it.floats[:i]
				it.end()
				break
			}
		}
	}
	if len(it.floats) == 0 {
		return false
	}
	it.typ = chunkenc.ValFloat
	return true
}

// found takes what the open chunk's iterator has come to.
func (it *Iterator) found(typ chunkenc.ValueType) bool {
	if it.typ = typ; typ != chunkenc.ValNone && it.chunks[it.next-1].MaxTime > it.maxt && it.inner.AtT() > it.maxt {
		it.typ = chunkenc.ValNone
		it.end()
	}
	return it.typ != chunkenc.ValNone
}

// end leaves out what comes after the samples that were decoded.
func (it *Iterator) end() {
	it.next, it.decoder = len(it.chunks), Floats{}
}

// finished reports that the open chunk came to its end without an error.
func (it *Iterator) finished() bool {
	var err error
	if it.ofFloats {
		err = it.decoder.Err()
	} else {
		err = it.inner.Err()
	}
	if err != nil {
		chunk := it.chunks[it.next-1]
		it.err = fmt.Errorf("series %s: decode chunk at %d..%d: %w", it.series, chunk.MinTime, chunk.MaxTime, err)
		it.next = len(it.chunks)
	}
	return err == nil
}

// The current sample. Only to be called after Next or Seek found one.

func (it *Iterator) At() (int64, float64) {
	if it.ofFloats {
		s := &it.floats[it.at]
		return s.T, s.V
	}
	return it.inner.At()
}

func (it *Iterator) AtHistogram(h *histogram.Histogram) (int64, *histogram.Histogram) {
	return it.inner.AtHistogram(h)
}

func (it *Iterator) AtFloatHistogram(fh *histogram.FloatHistogram) (int64, *histogram.FloatHistogram) {
	return it.inner.AtFloatHistogram(fh)
}

func (it *Iterator) AtT() int64 {
	if it.ofFloats {
		return it.floats[it.at].T
	}
	return it.inner.AtT()
}

// AtST returns 0 for floats: XOR chunks have no start timestamps.
func (it *Iterator) AtST() int64 {
	if it.ofFloats {
		return 0
	}
	return it.inner.AtST()
}

func (it *Iterator) Err() error { return it.err }
