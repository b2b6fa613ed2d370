package receive

import (
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/encoding"
	"github.com/prometheus/prometheus/tsdb/record"
)

// decodable is checkRecord without the reference.
func decodable(rec []byte) bool {
	_, ok := checkRecord(rec)
	return ok
}

// checkRecord tells whether the TSDB can decode a record of a log, and append what
// is in it: the formats are those of the package record, in part documented in
// Prometheus' tsdb/docs/format/wal.md. Of a record that it cannot decode the TSDB
// does not read on, at best: over a length that leads out of the record it panics
// in a goroutine of its own, or goes on for ever.
//
// A type that is not known is one of a later version, of which the TSDB would
// say nothing, or damage: what decompresses a record is in no checksum.
//
// It also returns the greatest reference to a series in the record.
func checkRecord(rec []byte) (greatest chunks.HeadSeriesRef, ok bool) {
	r := &recordReader{Decbuf: encoding.Decbuf{B: rec}}
	switch record.Type(r.Byte()) {
	case record.Series:
		r.each((*recordReader).reference, (*recordReader).labels)
	case record.Samples:
		r.base()
		r.each((*recordReader).place, (*recordReader).number)
	case record.SamplesV2:
		r.each((*recordReader).placeV2, (*recordReader).number)
	case record.HistogramSamples, record.CustomBucketsHistogramSamples:
		r.base()
		r.each((*recordReader).place, (*recordReader).histogram)
	case record.HistogramSamplesV2:
		r.each((*recordReader).placeV2, (*recordReader).histogram)
	case record.FloatHistogramSamples, record.CustomBucketsFloatHistogramSamples:
		r.base()
		r.each((*recordReader).place, (*recordReader).floatHistogram)
	case record.FloatHistogramSamplesV2:
		r.each((*recordReader).placeV2, (*recordReader).floatHistogram)
	case record.Exemplars:
		r.base()
		r.each((*recordReader).place, (*recordReader).exemplar)
	case record.Tombstones:
		r.each((*recordReader).reference, (*recordReader).interval)
	case record.MmapMarkers:
		r.each((*recordReader).reference, (*recordReader).number)
	case record.Metadata:
		r.each((*recordReader).metadata, (*recordReader).labels)
	default:
		return 0, false
	}
	return r.greatest, r.Err() == nil
}

// recordReader goes through a record without keeping anything. It remembers the
// first error, and is at the end from then on.
type recordReader struct {
	encoding.Decbuf
	entries  int
	from     chunks.HeadSeriesRef // which references are counted from
	greatest chunks.HeadSeriesRef
}

// each reads entries of two parts up to the end.
func (r *recordReader) each(one, other func(*recordReader)) {
	for r.Len() > 0 && r.Err() == nil {
		one(r)
		other(r)
		r.entries++
	}
}

func (r *recordReader) invalid() { r.E = encoding.ErrInvalidSize }

func (r *recordReader) see(ref chunks.HeadSeriesRef) {
	if ref <= greatestRef && r.Err() == nil {
		r.greatest = max(r.greatest, ref)
	}
}

func (r *recordReader) number() { r.Be64() }

func (r *recordReader) reference() { r.see(chunks.HeadSeriesRef(r.Be64())) }

func (r *recordReader) interval() {
	r.Varint64()
	r.Varint64()
}

// base is the reference and the time from which those that follow are counted.
func (r *recordReader) base() {
	if r.Len() > 0 {
		r.from = chunks.HeadSeriesRef(r.Be64())
		r.Be64()
	}
}

// place is a reference and a time.
func (r *recordReader) place() {
	r.see(r.from + chunks.HeadSeriesRef(r.Varint64()))
	r.Varint64()
}

// placeV2 is a reference, counted from the last one, a time and a start time,
// which all but the first entry may abbreviate.
func (r *recordReader) placeV2() {
	const abbreviated = 1 // The greatest mark that stands for a start time.
	r.from += chunks.HeadSeriesRef(r.Varint64())
	r.see(r.from)
	r.Varint64()
	if r.entries == 0 || r.Byte() > abbreviated {
		r.Varint64()
	}
}

// count is how many things follow, each of at least so many bytes.
func (r *recordReader) count(size int) int {
	n := r.Uvarint64()
	if n > uint64(r.Len()/size) {
		r.invalid()
		return 0
	}
	return int(n)
}

func (r *recordReader) labels() {
	for range r.count(2) {
		r.Skip(r.count(1))
		r.Skip(r.count(1))
	}
}

func (r *recordReader) exemplar() {
	r.number()
	r.labels()
}

// metadata is the reference and the type. Pairs of strings follow, like labels.
func (r *recordReader) metadata() {
	r.see(chunks.HeadSeriesRef(r.Uvarint64()))
	r.Byte()
}

func (r *recordReader) histogram() {
	schema := r.scale()
	r.Uvarint64() // zero count
	r.Uvarint64() // count
	r.Be64()      // sum
	positive, negative := r.spans(), r.spans()
	for _, want := range []uint64{positive, negative} {
		n := r.count(1)
		if uint64(n) != want {
			r.invalid()
		}
		for range n {
			r.Varint64()
		}
	}
	r.bounds(schema)
}

func (r *recordReader) floatHistogram() {
	schema := r.scale()
	r.Skip(3 * 8) // zero count, count, sum
	positive, negative := r.spans(), r.spans()
	for _, want := range []uint64{positive, negative} {
		n := r.count(8)
		if uint64(n) != want {
			r.invalid()
		}
		r.Skip(8 * n)
	}
	r.bounds(schema)
}

// scale is what a histogram begins with.
func (r *recordReader) scale() (schema int32) {
	r.Byte() // counter reset hint
	schema = int32(r.Varint64())
	r.Be64() // zero threshold
	return schema
}

// spans returns how many buckets there are in spans, which the head checks in
// what it is given, and relies on.
func (r *recordReader) spans() (buckets uint64) {
	for i := range r.count(2) {
		if offset := int32(r.Varint64()); offset < 0 && i > 0 {
			r.invalid()
		}
		buckets += uint64(r.Uvarint32())
	}
	return buckets
}

func (r *recordReader) bounds(schema int32) {
	if histogram.IsCustomBucketsSchema(schema) {
		r.Skip(8 * r.count(8))
	}
}
