package dedup

import (
	"encoding/binary"
	"errors"
	"math"
	"math/bits"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// float is a sample of a float chunk.
type float struct {
	t int64
	v float64
}

// floatsIterator iterates over an XOR chunk that was decoded at once. That is
// what lets a merged read cost no more than a plain one: bit by bit behind an
// interface, as chunkenc's own iterator does it, a sample costs three times as
// much, and comparing it with its predecessor as much again.
//
// A chunk that breaks off has the samples before that, and then an error.
type floatsIterator struct {
	all  []float
	next int // of all; the current sample is the one before
	err  error
}

// reset starts on the data of an XOR chunk. It keeps nothing of it.
func (f *floatsIterator) reset(data []byte) {
	f.next = 0
	f.all, f.err = appendFloats(f.all[:0], data)
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
// with the value v, is known.
func appendCoded(out []float, data []byte, num int, t, delta int64, v uint64) ([]float, error) {
	var (
		r                 = bitReader{data: data}
		leading, trailing uint8 // zeros around the bits that differ
	)
	for i := range num {
		r.fill() // no less than is needed up to the bits of a value
		if i > 0 {
			dod, ok := r.deltaOfDelta()
			if !ok {
				return out, errShort
			}
			delta += dod
		}
		t += delta
		if r.left < 2 && (r.left < 1 || int64(r.next) < 0) {
			return out, errShort
		}
		switch r.next >> 62 {
		case 0, 1: // as before
			r.skip(1)
		case 2: // other bits in the same place
			r.skip(2)
			v ^= r.take(64-leading-trailing) << trailing
		case 3:
			r.skip(2)
			leading = uint8(r.take(5))
			significant := uint8(r.take(6))
			if significant == 0 {
				significant = 64
			}
			trailing = 64 - leading - significant
			v ^= r.take(significant) << trailing
		}
		if r.left < 0 {
			return out, errShort
		}
		out = append(out, float{t, math.Float64frombits(v)})
	}
	return out, nil
}

// bitReader reads bits from the highest on. Reading more than there are gives
// zeros and makes left negative.
type bitReader struct {
	data []byte
	next uint64 // the bits to be read next, from the highest on
	left int    // how many of next are bits of the data
}

// fill has at least 56 bits ready, or all that are left.
func (r *bitReader) fill() {
	if r.left >= 56 || r.left < 0 {
		return
	}
	if len(r.data) >= 8 {
		n := (63 - r.left) / 8
		r.next |= binary.BigEndian.Uint64(r.data) >> uint(r.left)
		r.data = r.data[n:]
		r.left += 8 * n
		// Bits beyond left may be there too. They are the same when they come again.
		return
	}
	r.next &= ^(math.MaxUint64 >> uint(r.left))
	for r.left <= 56 && len(r.data) > 0 {
		r.next |= uint64(r.data[0]) << uint(56-r.left)
		r.data = r.data[1:]
		r.left += 8
	}
}

func (r *bitReader) skip(n uint8) {
	r.next <<= n
	r.left -= int(n)
}

// take reads up to 64 bits.
func (r *bitReader) take(n uint8) uint64 {
	if int(n) <= r.left {
		x := r.next >> (64 - n)
		r.skip(n)
		return x
	}
	return r.takeLong(n)
}

func (r *bitReader) takeLong(n uint8) uint64 {
	r.fill()
	if n <= 56 || n > 64 {
		x := r.next >> (64 - n)
		r.skip(n)
		return x
	}
	high := r.next >> 32
	r.skip(32)
	r.fill()
	x := high<<(n-32) | r.next>>(96-n)
	r.skip(n - 32)
	return x
}

// deltaOfDelta reads by how much the distance of a timestamp differs from that
// before: as many ones as say how long the number is, and the number.
func (r *bitReader) deltaOfDelta() (int64, bool) {
	var n uint8
	switch bits.LeadingZeros64(^r.next) {
	case 0:
		r.skip(1)
		return 0, r.left >= 0
	case 1:
		r.skip(2)
		n = 14
	case 2:
		r.skip(3)
		n = 17
	case 3:
		r.skip(4)
		n = 20
	default:
		r.skip(4)
		n = 64
	}
	x := r.take(n)
	r.fill()
	if n < 64 && x > 1<<(n-1) {
		x -= 1 << n
	}
	return int64(x), r.left >= 0
}

// samples decodes chunks, each time with the same memory.
type samples struct {
	floats floatsIterator
	other  chunkenc.Iterator
}

// of returns an iterator over chunk, which ends what the last one was for, and
// whether it is that of floats.
func (s *samples) of(chunk chunkenc.Chunk) (it chunkenc.Iterator, floats bool) {
	if xor, ok := chunk.(*chunkenc.XORChunk); ok {
		s.floats.reset(xor.Bytes())
		return &s.floats, true
	}
	s.other = chunk.Iterator(s.other)
	return s.other, false
}
