package dedup

import (
	"math"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/varve-tsdb/varve/internal/aggrchunk"
	"github.com/varve-tsdb/varve/internal/chunkread"
)

// floatsIterator iterates over an XOR chunk that was decoded at once, which is
// what pays for merging, see package chunkread.
//
// A chunk that breaks off has the samples before that, and then an error.
type floatsIterator struct {
	all  []chunkread.Sample // those of own
	next int                // of all; the current sample is the one before
	err  error
	own  *floats

	lent  *loan       // where own went, if it is nil
	block []lentChunk // chunks that share an allocation
}

// reset starts on the data of an XOR chunk. It keeps nothing of it.
func (f *floatsIterator) reset(data []byte) {
	if f.endLoan(); f.own == nil {
		f.own = &floats{}
	}
	var d chunkread.Floats
	d.Reset(data)
	f.all, f.next = d.Append(f.own.all[:0], math.MaxInt), 0
	f.own.all, f.err = f.all, d.Err()
}

func (f *floatsIterator) Next() chunkenc.ValueType {
	if f.next >= len(f.all) {
		return chunkenc.ValNone
	}
	f.next++
	return chunkenc.ValFloat
}

func (f *floatsIterator) Seek(t millis) chunkenc.ValueType {
	for f.next == 0 || f.all[f.next-1].T < t {
		if f.Next() == chunkenc.ValNone {
			return chunkenc.ValNone
		}
	}
	return chunkenc.ValFloat
}

func (f *floatsIterator) At() (int64, float64) {
	s := &f.all[f.next-1]
	return s.T, s.V
}

func (f *floatsIterator) AtT() int64 { return f.all[f.next-1].T }

// AtST returns 0: XOR chunks have no start timestamps.
func (*floatsIterator) AtST() int64  { return 0 }
func (f *floatsIterator) Err() error { return f.err }

// AtHistogram is not called, as there are none.
func (*floatsIterator) AtHistogram(*histogram.Histogram) (int64, *histogram.Histogram) {
	return 0, &histogram.Histogram{}
}

// AtFloatHistogram is not called, as there are none.
func (*floatsIterator) AtFloatHistogram(*histogram.FloatHistogram) (int64, *histogram.FloatHistogram) {
	return 0, &histogram.FloatHistogram{}
}

// samples decodes chunks, each time with the same memory.
type samples struct {
	floats floatsIterator
	other  chunkenc.Iterator
	window int64 // ms, that a sample of the chunk stands for, see aggrchunk.Resolution
}

// of returns an iterator over chunk, which ends what the last one was for, and
// whether it is that of floats.
func (s *samples) of(chunk chunkenc.Chunk) (it chunkenc.Iterator, floats bool) {
	s.window = 0
	switch chunk.(type) {
	case *chunkenc.XORChunk, floatsChunk, *lentChunk:
		s.floats.reset(chunk.Bytes())
		return &s.floats, true
	}
	s.window = aggrchunk.Resolution(chunk)
	s.other = chunk.Iterator(s.other)
	return s.other, false
}

// read returns the sample that it, which is from of, is at.
func (s *samples) read(r *sampleReader, it chunkenc.Iterator, typ chunkenc.ValueType) sample {
	got := r.read(it, typ)
	got.gauge = got.gauge || s.window > 0 && got.float()
	return got
}
