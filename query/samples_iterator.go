package query

import (
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
)

// millis is a timestamp. The name keeps go vet from taking Seek for that of
// io.Seeker.
type millis = int64

// layerIterator reads chunks that follow each other without overlap, one open
// at a time, and only samples in the inclusive range [mint, maxt].
type layerIterator struct {
	chunks     []chunks.Meta
	mint, maxt int64

	next  int               // chunk to open next
	inner chunkenc.Iterator // of the chunk before that; reused between chunks
	typ   chunkenc.ValueType
	err   error
}

func (l *layerIterator) reset(list []chunks.Meta, mint, maxt int64) {
	l.chunks, l.mint, l.maxt = list, mint, maxt
	l.next, l.typ, l.err = 0, chunkenc.ValNone, nil
}

// Next advances by one sample.
func (l *layerIterator) Next() chunkenc.ValueType {
	if l.typ != chunkenc.ValNone {
		if l.typ = l.inner.Next(); l.typ != chunkenc.ValNone {
			return l.trimmed()
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
		if l.inner.AtT() >= t {
			return l.typ
		}
		if l.chunks[l.next-1].MaxTime >= t {
			if l.typ = l.inner.Seek(t); l.typ != chunkenc.ValNone {
				return l.trimmed()
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
	for l.typ = chunkenc.ValNone; l.next < len(l.chunks); {
		chunk := l.chunks[l.next]
		l.next++
		if chunk.MaxTime < t {
			continue
		}
		l.inner = chunk.Chunk.Iterator(l.inner)
		if chunk.MinTime < t {
			l.typ = l.inner.Seek(t)
		} else {
			l.typ = l.inner.Next()
		}
		if l.typ != chunkenc.ValNone {
			return l.trimmed()
		}
		if !l.finished() {
			return chunkenc.ValNone
		}
	}
	return chunkenc.ValNone
}

// finished reports that the open chunk came to its end without an error.
func (l *layerIterator) finished() bool {
	if l.err = l.inner.Err(); l.err != nil {
		l.next = len(l.chunks)
		return false
	}
	return true
}

// trimmed returns the type of the current sample, or ends the iterator if it
// lies beyond the range.
func (l *layerIterator) trimmed() chunkenc.ValueType {
	if l.chunks[l.next-1].MaxTime > l.maxt && l.inner.AtT() > l.maxt {
		l.next, l.typ = len(l.chunks), chunkenc.ValNone
	}
	return l.typ
}

// The current sample. Only to be called after Next or Seek found one.

func (l *layerIterator) At() (int64, float64) { return l.inner.At() }

func (l *layerIterator) AtHistogram(h *histogram.Histogram) (int64, *histogram.Histogram) {
	return l.inner.AtHistogram(h)
}

func (l *layerIterator) AtFloatHistogram(fh *histogram.FloatHistogram) (int64, *histogram.FloatHistogram) {
	return l.inner.AtFloatHistogram(fh)
}

func (l *layerIterator) AtT() int64  { return l.inner.AtT() }
func (l *layerIterator) AtST() int64 { return l.inner.AtST() }
func (l *layerIterator) Err() error  { return l.err }
