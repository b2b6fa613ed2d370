package chunkcheck

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// checkHistograms looks at the layout that a chunk of histograms begins with:
// zero threshold, schema and the spans of buckets, positive and negative. With
// a right checksum it may still not be one that Prometheus writes, whose
// iterators take its word: for memory for all the buckets it names, before they
// read the first; and, where they reduce the resolution, for spans in order, or
// they panic.
func checkHistograms(enc chunkenc.Encoding, data []byte) error {
	if binary.BigEndian.Uint16(data) == 0 {
		return nil // No samples, so nobody reads on.
	}
	leastBits := uint64(1) // of a bucket in the first sample, which has them all
	if enc == chunkenc.EncFloatHistogram || enc == chunkenc.EncFloatHistogramST {
		leastBits = 64
	}
	r := bitReader{data: data[3:]}
	if r.bits(8) == 0xff { // the zero threshold is not in the byte itself
		r.bits(64)
	}
	schema := int32(r.varbitInt())
	reduced := schema > histogram.ExponentialSchemaMax
	buckets := uint64(0)
	for range 2 {
		for i, n := uint64(0), r.varbit(); i < n && !r.failed; i++ {
			length, offset := r.varbit(), int32(r.varbitInt())
			if length > math.MaxUint32 || reduced && i > 0 && offset < 0 {
				return fmt.Errorf("a chunk of histograms has a span of %d buckets at %d after the one before", length, offset)
			}
			buckets += length
		}
	}
	if r.failed || buckets > r.left()/leastBits {
		return fmt.Errorf("a chunk of histograms has %d bytes, which cannot hold the %d buckets it names", len(data), buckets)
	}
	return nil
}

// bitReader reads bits, the highest of a byte first. Behind the end there are
// zeroes, and it has failed.
type bitReader struct {
	data   []byte
	at     uint64 // in bits
	failed bool
}

func (r *bitReader) left() uint64 { return uint64(len(r.data))*8 - r.at }

func (r *bitReader) bits(n uint64) (v uint64) {
	if n > r.left() {
		r.at, r.failed = uint64(len(r.data))*8, true
		return 0
	}
	for ; n > 0; n-- {
		v = v<<1 | uint64(r.data[r.at/8]>>(7-r.at%8)&1)
		r.at++
	}
	return v
}

// varbitBits is how many bits a number has behind as many ones.
var varbitBits = [...]uint64{0, 3, 6, 9, 12, 18, 25, 56, 64}

// number reads the bits of a number of the variable length that package
// chunkenc uses, and says how many they are.
func (r *bitReader) number() (v, n uint64) {
	ones := 0
	for ones < len(varbitBits)-1 && r.bits(1) == 1 {
		ones++
	}
	n = varbitBits[ones]
	return r.bits(n), n
}

func (r *bitReader) varbit() uint64 {
	v, _ := r.number()
	return v
}

// varbitInt is varbit with a sign: the upper half of what n bits can say, save
// for its first, is negative.
func (r *bitReader) varbitInt() int64 {
	v, n := r.number()
	if n > 0 && n < 64 && v > 1<<(n-1) {
		v -= 1 << n
	}
	return int64(v)
}
