package writepb

import (
	"encoding/binary"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// The tags of 1.0 beside those that Outline knows.
const (
	tagSeries        = 1<<3 | 2
	tagExemplar      = 3<<3 | 2
	tagHistogram     = 4<<3 | 2
	tagExemplarValue = 2<<3 | 1
	tagExemplarTime  = 3 << 3
)

// Encoded returns series i as it stands in the body, without tag and length. The
// bytes belong to the body.
func (r *Request) Encoded(i int) []byte { return r.slice(r.series[i]) }

// AppendMessage appends a series of a 1.0 request, encoded but for its tag and
// length, to a message that has nothing but series.
func AppendMessage(dst, series []byte) []byte {
	dst = append(dst, tagSeries)
	dst = binary.AppendUvarint(dst, uint64(len(series)))
	return append(dst, series...)
}

// AppendV1 appends s, of either version, to dst as a series of 1.0 with the labels
// ls, without tag and length. What 1.0 has no place for is left out: metadata and the start
// timestamps of floats. Those of histograms stay in their bytes, in a field that
// 1.0 does not know. Exemplars with bad references or more than MaxLabels labels
// are left out, too. Check must have passed. scratch is room for labels.
func (s *Series) AppendV1(dst []byte, ls, scratch []Label) []byte {
	dst = appendLabels(dst, ls)
	for _, p := range s.Samples {
		dst = appendSample(dst, p)
	}
	for _, raw := range s.Exemplars {
		if e, ls, err := s.Exemplar(raw, scratch[:0]); err == nil {
			dst = appendExemplar(dst, e, ls)
		}
	}
	for _, h := range s.Histograms {
		dst = append(dst, tagHistogram)
		dst = binary.AppendUvarint(dst, uint64(h.at.end-h.at.off))
		dst = append(dst, s.req.slice(h.at)...)
	}
	return dst
}

// AppendFloatV1 appends a series of one float to dst as AppendV1 does.
func AppendFloatV1(dst []byte, ls []Label, p Sample) []byte {
	return appendSample(appendLabels(dst, ls), p)
}

// OutlinedLabels appends the labels of a series of a 2.0 request to dst in the
// order they were sent. Outline must have described it since the last Reset: what
// it takes has references that are none but good ones, in pairs. The bytes belong
// to the body.
func (r *Request) OutlinedLabels(o *Outline, dst []Label) []Label {
	for pos := int(o.labels.off); pos < int(o.labels.end); {
		name, after := shortVarint(r.body, pos, int(o.labels.end))
		value, end := shortVarint(r.body, after, int(o.labels.end))
		dst = append(dst, Label{r.slice(r.texts[name]), r.slice(r.texts[value])})
		pos = end
	}
	return dst
}

func appendSample(dst []byte, p Sample) []byte {
	dst = append(dst, tagSample, byte(1+8+1+protowire.SizeVarint(uint64(p.Timestamp))), tagSampleValue)
	dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(p.Value))
	return binary.AppendUvarint(append(dst, tagSampleTime), uint64(p.Timestamp))
}

func appendExemplar(dst []byte, e DecodedExemplar, ls []Label) []byte {
	size := 1 + 8 + 1 + protowire.SizeVarint(uint64(e.Timestamp))
	for _, l := range ls {
		size += 1 + protowire.SizeBytes(labelSize(l))
	}
	dst = binary.AppendUvarint(append(dst, tagExemplar), uint64(size))
	dst = append(appendLabels(dst, ls), tagExemplarValue)
	dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(e.Value))
	return binary.AppendUvarint(append(dst, tagExemplarTime), uint64(e.Timestamp))
}

func appendLabels(dst []byte, ls []Label) []byte {
	for _, l := range ls {
		dst = binary.AppendUvarint(append(dst, tagLabels), uint64(labelSize(l)))
		dst = binary.AppendUvarint(append(dst, tagName), uint64(len(l.Name)))
		dst = append(dst, l.Name...)
		dst = binary.AppendUvarint(append(dst, tagValue), uint64(len(l.Value)))
		dst = append(dst, l.Value...)
	}
	return dst
}

func labelSize(l Label) int {
	return 1 + protowire.SizeBytes(len(l.Name)) + 1 + protowire.SizeBytes(len(l.Value))
}
