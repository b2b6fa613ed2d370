package dedup

import (
	"encoding/binary"
	"errors"
	"math"
	"math/bits"
	"slices"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/varve-tsdb/varve/internal/aggrchunk"
)

// float is a sample of a float chunk.
type float struct {
	t int64
	v float64
}

// floatsIterator iterates over an XOR chunk that was decoded at once. That is
// what pays for merging: sample by sample behind an interface, as chunkenc's own
// iterator does it, decoding takes nearly twice as long, and comparing a sample
// with its predecessor several times as long as in a list. BenchmarkFloats has
// the figures.
//
// A chunk that breaks off has the samples before that, and then an error.
type floatsIterator struct {
	all  []float // those of own
	next int     // of all; the current sample is the one before
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
	f.next = 0
	f.all, f.err = appendFloats(f.own.all[:0], data)
	f.own.all = f.all
}

func (f *floatsIterator) Next() chunkenc.ValueType {
	if f.next >= len(f.all) {
		return chunkenc.ValNone
	}
	f.next++
	return chunkenc.ValFloat
}

func (f *floatsIterator) Seek(t millis) chunkenc.ValueType {
	for f.next == 0 || f.all[f.next-1].t < t {
		if f.Next() == chunkenc.ValNone {
			return chunkenc.ValNone
		}
	}
	return chunkenc.ValFloat
}

func (f *floatsIterator) At() (int64, float64) {
	s := &f.all[f.next-1]
	return s.t, s.v
}

func (f *floatsIterator) AtT() int64 { return f.all[f.next-1].t }

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

var errShort = errors.New("the data ends within a sample")

// appendFloats appends the samples of an XOR chunk to out; if the data breaks
// off, those before. The format is that of Prometheus' documentation, in
// tsdb/docs/format/chunks.md: the number of samples in two bytes; the first
// timestamp as a varint and its value in eight bytes; the time to the second as
// a uvarint; then bits, in which each value is told by how it differs from the
// one before, and each timestamp by how its distance does.
func appendFloats(out []float, data []byte) ([]float, error) {
	if len(data) < 2 {
		return out, errShort
	}
	num := int(binary.BigEndian.Uint16(data))
	if data = data[2:]; num == 0 {
		return out, nil
	}
	t, n := binary.Varint(data)
	if n <= 0 || len(data) < n+8 {
		return out, errShort
	}
	v := binary.BigEndian.Uint64(data[n:])
	out = append(out, float{t, math.Float64frombits(v)})
	if data = data[n+8:]; num == 1 {
		return out, nil
	}
	delta, n := binary.Uvarint(data)
	if n <= 0 {
		return out, errShort
	}
	return appendCoded(out, data[n:], num-1, t, int64(delta), v)
}

// appendCoded appends num samples that are told by their differences: the first
// of them by a value only, as its distance delta from the sample before, at t
// with the value v, is known. What most samples need is spelled out in the loop,
// twice even, so that the bits stay in registers: with calls in their place it
// takes as long as chunkenc does.
func appendCoded(out []float, data []byte, num int, t, delta int64, v uint64) ([]float, error) {
	var (
		r                 = bitReader{data: data}
		leading, trailing uint8 // zeros around the bits that differ
	)
	out = slices.Grow(out, min(num, 4*len(data))) // a sample has two bits at least
	for i := range num {
		if r.left < 40 { // the most but for bits of a value, and for a long distance
			if len(r.data) >= 8 {
				r.next |= binary.BigEndian.Uint64(r.data) >> (uint(r.left) & 63)
				n := uint(63-r.left) / 8
				r.data, r.left = r.data[n:], r.left+int(8*n)
			} else {
				r = r.filled()
			}
		}
		if i > 0 {
			if int64(r.next) >= 0 {
				r.next, r.left = r.next<<1, r.left-1
			} else if r.next>>62 == 2 { // by up to 8 s, as jitter has it
				dod := int64(r.next<<2) >> 50
				if dod == -1<<13 {
					dod = 1 << 13 // the range is shifted by one
				}
				delta += dod
				r.next, r.left = r.next<<16, r.left-16
			} else {
				var dod int64
				if dod, r = r.deltaOfDelta(); r.left < 0 {
					return out, errShort
				}
				delta += dod
			}
		}
		t += delta
		if int64(r.next) >= 0 { // as before
			r.next, r.left = r.next<<1, r.left-1
		} else {
			if r.next>>62 == 2 { // other bits in the same place
				r.next, r.left = r.next<<2, r.left-2
			} else {
				leading = uint8(r.next>>57) & 31
				significant := uint8(r.next>>51) & 63
				if significant == 0 {
					significant = 64
				}
				trailing = 64 - leading - significant
				r.next, r.left = r.next<<13, r.left-13
			}
			n := 64 - leading - trailing
			if r.left < int(n) && len(r.data) >= 8 && r.left >= 0 {
				r.next |= binary.BigEndian.Uint64(r.data) >> (uint(r.left) & 63)
				n := uint(63-r.left) / 8
				r.data, r.left = r.data[n:], r.left+int(8*n)
			} else if r.left < int(n) {
				r = r.filled()
			}
			var x uint64
			if r.left >= int(n) {
				x = r.next >> ((64 - n) & 63)
				r.next, r.left = r.next<<n, r.left-int(n)
			} else {
				x, r = r.long(n)
			}
			v ^= x << trailing
		}
		if r.left < 0 {
			return out, errShort
		}
		out = append(out, float{t, math.Float64frombits(v)})
	}
	return out, nil
}

// bitReader reads bits from the highest on. Reading more than there are gives
// zeros and makes left negative. It is passed by value, for the same reason.
type bitReader struct {
	data []byte
	next uint64 // the bits to be read next, from the highest on
	left int    // how many of next are bits of the data
}

// filled has at least 56 bits ready, or all that are left.
func (r bitReader) filled() bitReader {
	if r.left >= 56 || r.left < 0 {
		return r
	}
	if len(r.data) >= 8 {
		// Bits beyond left are there, too, and the same when they come again.
		n := (63 - r.left) / 8
		r.next |= binary.BigEndian.Uint64(r.data) >> uint(r.left)
		r.data = r.data[n:]
		r.left += 8 * n
		return r
	}
	r.next &= ^(math.MaxUint64 >> uint(r.left))
	for r.left <= 56 && len(r.data) > 0 {
		r.next |= uint64(r.data[0]) << uint(56-r.left)
		r.data = r.data[1:]
		r.left += 8
	}
	return r
}

// long reads up to 64 bits, more than are ready.
func (r bitReader) long(n uint8) (uint64, bitReader) {
	if n <= 56 {
		x := r.next >> (64 - n)
		r.next, r.left = r.next<<n, r.left-int(n)
		return x, r
	}
	high := r.next >> 32
	r.next, r.left = r.next<<32, r.left-32
	r = r.filled()
	x := high<<(n-32) | r.next>>(96-n)
	r.next, r.left = r.next<<(n-32), r.left-int(n-32)
	return x, r
}

// deltaOfDelta reads by how much the distance of a timestamp differs from that
// before: as many ones as say how long the number is, and the number.
func (r bitReader) deltaOfDelta() (int64, bitReader) {
	ones := uint8(min(bits.LeadingZeros64(^r.next), 4))
	if ones == 4 {
		r.next, r.left = r.next<<4, r.left-4
		r = r.filled()
		x, r := r.long(64)
		return int64(x), r.filled()
	}
	n := [4]uint8{0, 14, 17, 20}[ones]
	r.next, r.left = r.next<<(ones+1), r.left-int(ones+1)
	x := r.next >> (64 - n)
	r.next, r.left = r.next<<n, r.left-int(n)
	if x > 1<<(n-1) {
		x -= 1 << n
	}
	return int64(x), r.filled()
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
