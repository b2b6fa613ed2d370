package writepb

import (
	"fmt"

	"github.com/prometheus/prometheus/model/histogram"
	"google.golang.org/protobuf/encoding/protowire"
)

// The field numbers of a Histogram, which both versions share.
const (
	fieldCountInt       = 1
	fieldCountFloat     = 2
	fieldSum            = 3
	fieldSchema         = 4
	fieldZeroThreshold  = 5
	fieldZeroCountInt   = 6
	fieldZeroCountFloat = 7
	fieldNegativeSpans  = 8
	fieldNegativeDeltas = 9
	fieldNegativeCounts = 10
	fieldPositiveSpans  = 11
	fieldPositiveDeltas = 12
	fieldPositiveCounts = 13
	fieldResetHint      = 14
	fieldTimestamp      = 15
	fieldCustomValues   = 16
	fieldStart          = 17 // 2.0 only
)

// histogram notes where a histogram lies and reads only its times.
func (s *Series) histogram(parent *reader, at span, v Version) {
	if parent.err != nil {
		return
	}
	out := Histogram{at: at}
	rd := newReader(parent.body, at, "Histogram")
	for {
		num, typ, ok := rd.next()
		if !ok {
			break
		}
		switch {
		case num == fieldTimestamp:
			if rd.want(typ, protowire.VarintType) {
				out.Timestamp = int64(rd.varint())
			}
		case num == fieldStart && v == V2:
			if rd.want(typ, protowire.VarintType) {
				out.StartTimestamp = int64(rd.varint())
			}
		default:
			rd.skip(typ)
		}
	}
	parent.adopt(&rd)
	s.Histograms = append(s.Histograms, out)
}

// rawHistogram holds every field of a Histogram message.
type rawHistogram struct {
	count, zeroCount           uint64
	countFloat, zeroCountFloat float64
	isFloat, zeroIsFloat       bool // which member of each oneof came last
	hasZero                    bool
	sum, zeroThreshold         float64
	schema                     int32
	hint                       histogram.CounterResetHint
	negSpans, posSpans         []histogram.Span
	negDeltas, posDeltas       []int64
	negCounts, posCounts       []float64
	custom                     []float64
}

// Histogram decodes h, which is one of s.Histograms. Exactly one of the two
// results is set unless there is an error. They are freshly allocated and
// belong to the caller. They are not validated; an error matches ErrMalformed
// or, if integer and float fields are mixed, ErrHistogram.
func (s *Series) Histogram(h Histogram) (*histogram.Histogram, *histogram.FloatHistogram, error) {
	var raw rawHistogram
	rd := newReader(s.req.body, h.at, "Histogram")
	for {
		num, typ, ok := rd.next()
		if !ok {
			break
		}
		if num >= fieldNegativeSpans && num <= fieldPositiveCounts || num == fieldCustomValues {
			raw.list(&rd, num, typ)
		} else {
			raw.scalar(&rd, num, typ)
		}
	}
	if rd.err != nil {
		return nil, nil, rd.err
	}
	if err := raw.mixed(); err != nil {
		return nil, nil, err
	}
	if raw.isFloat {
		return nil, raw.float(), nil
	}
	return raw.integer(), nil, nil
}

func (raw *rawHistogram) scalar(rd *reader, num int, typ protowire.Type) {
	switch num {
	case fieldCountInt, fieldSchema, fieldZeroCountInt, fieldResetHint:
		if !rd.want(typ, protowire.VarintType) {
			return
		}
	case fieldCountFloat, fieldSum, fieldZeroThreshold, fieldZeroCountFloat:
		if !rd.want(typ, protowire.Fixed64Type) {
			return
		}
	}
	switch num {
	case fieldCountInt:
		raw.count, raw.isFloat = rd.varint(), false
	case fieldCountFloat:
		raw.countFloat, raw.isFloat = rd.double(), true
	case fieldSum:
		raw.sum = rd.double()
	case fieldSchema:
		raw.schema = zigzag32(rd.varint())
	case fieldZeroThreshold:
		raw.zeroThreshold = rd.double()
	case fieldZeroCountInt:
		raw.zeroCount, raw.zeroIsFloat, raw.hasZero = rd.varint(), false, true
	case fieldZeroCountFloat:
		raw.zeroCountFloat, raw.zeroIsFloat, raw.hasZero = rd.double(), true, true
	case fieldResetHint:
		// The hint goes into two bits of a chunk: a value of the future must
		// not get that far.
		raw.hint = histogram.UnknownCounterReset
		if v := int32(rd.varint()); v > 0 && v <= int32(histogram.GaugeType) {
			raw.hint = histogram.CounterResetHint(v)
		}
	default:
		rd.skip(typ)
	}
}

func (raw *rawHistogram) list(rd *reader, num int, typ protowire.Type) {
	switch num {
	case fieldNegativeSpans:
		raw.negSpans = rd.bucketSpan(typ, raw.negSpans)
	case fieldPositiveSpans:
		raw.posSpans = rd.bucketSpan(typ, raw.posSpans)
	case fieldNegativeDeltas:
		raw.negDeltas = rd.integers(typ, raw.negDeltas)
	case fieldPositiveDeltas:
		raw.posDeltas = rd.integers(typ, raw.posDeltas)
	case fieldNegativeCounts:
		raw.negCounts = rd.doubles(typ, raw.negCounts)
	case fieldPositiveCounts:
		raw.posCounts = rd.doubles(typ, raw.posCounts)
	case fieldCustomValues:
		raw.custom = rd.doubles(typ, raw.custom)
	}
}

func (r *reader) bucketSpan(typ protowire.Type, dst []histogram.Span) []histogram.Span {
	if !r.want(typ, protowire.BytesType) {
		return dst
	}
	at := r.bytes()
	if r.err != nil {
		return dst
	}
	var out histogram.Span
	rd := newReader(r.body, at, "BucketSpan")
	for {
		num, typ, ok := rd.next()
		if !ok {
			break
		}
		if num != 1 && num != 2 {
			rd.skip(typ)
			continue
		}
		if !rd.want(typ, protowire.VarintType) {
			break
		}
		if v := rd.varint(); num == 1 {
			out.Offset = zigzag32(v)
		} else {
			out.Length = uint32(v)
		}
	}
	r.adopt(&rd)
	return append(dst, out)
}

// mixed finds a histogram that carries numbers of the other kind than its
// count. Taking only those of its kind would lose observations.
func (raw *rawHistogram) mixed() error {
	switch {
	case raw.isFloat && (len(raw.negDeltas) > 0 || len(raw.posDeltas) > 0):
		return fmt.Errorf("%w: float count with integer buckets", ErrHistogram)
	case !raw.isFloat && (len(raw.negCounts) > 0 || len(raw.posCounts) > 0):
		return fmt.Errorf("%w: integer count with float buckets", ErrHistogram)
	case raw.isFloat && raw.hasZero && !raw.zeroIsFloat && raw.zeroCount != 0:
		return fmt.Errorf("%w: float count with integer zero count", ErrHistogram)
	case !raw.isFloat && raw.hasZero && raw.zeroIsFloat && raw.zeroCountFloat != 0:
		return fmt.Errorf("%w: integer count with float zero count", ErrHistogram)
	}
	return nil
}

func (raw *rawHistogram) integer() *histogram.Histogram {
	h := &histogram.Histogram{
		CounterResetHint: raw.hint, Schema: raw.schema, ZeroThreshold: raw.zeroThreshold,
		Count: raw.count, Sum: raw.sum,
		PositiveSpans: raw.posSpans, NegativeSpans: raw.negSpans,
		PositiveBuckets: raw.posDeltas, NegativeBuckets: raw.negDeltas,
		CustomValues: raw.custom,
	}
	if !raw.zeroIsFloat {
		h.ZeroCount = raw.zeroCount
	}
	return h
}

func (raw *rawHistogram) float() *histogram.FloatHistogram {
	h := &histogram.FloatHistogram{
		CounterResetHint: raw.hint, Schema: raw.schema, ZeroThreshold: raw.zeroThreshold,
		Count: raw.countFloat, Sum: raw.sum,
		PositiveSpans: raw.posSpans, NegativeSpans: raw.negSpans,
		PositiveBuckets: raw.posCounts, NegativeBuckets: raw.negCounts,
		CustomValues: raw.custom,
	}
	if raw.zeroIsFloat {
		h.ZeroCount = raw.zeroCountFloat
	}
	return h
}

// zigzag32 decodes a 32-bit signed number; bits beyond 32 are cut off, as
// protobuf asks.
func zigzag32(v uint64) int32 {
	u := uint32(v)
	return int32(u>>1) ^ -int32(u&1)
}
