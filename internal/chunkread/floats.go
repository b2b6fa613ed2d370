package chunkread

import (
	"encoding/binary"
	"errors"
	"math"
	"math/bits"
	"slices"
)

// Sample is a sample of a float chunk: a timestamp in milliseconds and a value.
type Sample struct {
	T int64
	V float64
}

// ErrShort tells that the data ends before the samples it announces.
var ErrShort = errors.New("the data ends within a sample")

// Floats decodes the samples of an XOR chunk, as many at a time as its caller
// wants. The zero value has none; Reset starts on a chunk. It is not safe for
// concurrent use.
//
// The format is that of Prometheus' documentation, in
// tsdb/docs/format/chunks.md: the number of samples in two bytes; the first
// timestamp as a varint and its value in eight bytes; the time to the second as
// a uvarint; then bits, in which each value is told by how it differs from the
// one before, and each timestamp by how its distance does.
type Floats struct {
	bits              bitReader
	read, num         int // samples decoded, and all
	t, delta          int64
	v                 uint64
	leading, trailing uint8 // zeros around the bits that differ
	err               error // after num samples
}

// Reset starts on the data of an XOR chunk, which must not change while it is
// decoded.
func (f *Floats) Reset(data []byte) {
	*f = Floats{}
	if len(data) < 2 {
		f.err = ErrShort
		return
	}
	num := int(binary.BigEndian.Uint16(data))
	if data = data[2:]; num == 0 {
		return
	}
	t, n := binary.Varint(data)
	if n <= 0 || len(data) < n+8 {
		f.err = ErrShort
		return
	}
	f.t, f.v, f.num = t, binary.BigEndian.Uint64(data[n:]), num
	if data = data[n+8:]; num == 1 {
		return
	}
	delta, n := binary.Uvarint(data)
	if n <= 0 {
		f.num, f.err = 1, ErrShort
		return
	}
	f.delta, f.bits.data = int64(delta), data[n:]
}

// Append appends the next samples to out, as many as asked for but at the end of
// the chunk.
func (f *Floats) Append(out []Sample, most int) []Sample {
	if most = min(most, f.num-f.read); most > 0 {
		// A sample has two bits at least.
		out = slices.Grow(out, min(most, 4*len(f.bits.data)+40))
		if f.read == 0 {
			out = append(out, Sample{f.t, math.Float64frombits(f.v)})
			f.read++
			most--
		}
		out = f.appendCoded(out, most)
	}
	return out
}

// Err returns ErrShort if the data breaks off, once the samples before that are
// decoded.
func (f *Floats) Err() error {
	if f.read < f.num {
		return nil
	}
	return f.err
}

// appendCoded appends num samples that are told by their differences, or less if
// the data breaks off: the second of a chunk by a value only, as its distance is
// known. What most samples need is spelled out in the loop, twice even, so that
// the bits stay in registers: with calls in their place it takes as long as
// chunkenc does.
func (f *Floats) appendCoded(out []Sample, num int) []Sample {
	r, t, delta, v := f.bits, f.t, f.delta, f.v
	leading, trailing := f.leading, f.trailing
	first := f.read
	for i := first; i < first+num; i++ {
		if r.left < 40 { // the most but for bits of a value, and for a long distance
			if len(r.data) >= 8 {
				r.next |= binary.BigEndian.Uint64(r.data) >> (uint(r.left) & 63)
				n := uint(63-r.left) / 8
				r.data, r.left = r.data[n:], r.left+int(8*n)
			} else {
				r = r.filled()
			}
		}
		if i > 1 {
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
					return f.brokenOff(out, i)
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
			return f.brokenOff(out, i)
		}
		out = append(out, Sample{t, math.Float64frombits(v)})
	}
	f.bits, f.t, f.delta, f.v = r, t, delta, v
	f.leading, f.trailing = leading, trailing
	f.read += num
	return out
}

// brokenOff ends the chunk after its first samples.
func (f *Floats) brokenOff(out []Sample, samples int) []Sample {
	f.read, f.num, f.err = samples, samples, ErrShort
	return out
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
