package writepb

import (
	"fmt"
	"math"

	"github.com/prometheus/common/model"
	"google.golang.org/protobuf/encoding/protowire"
)

// Version of the remote write protocol.
type Version uint8

// The versions this package decodes.
const (
	V1 Version = 1 // prometheus.WriteRequest
	V2 Version = 2 // io.prometheus.write.v2.Request
)

// String returns the version as it stands in metrics and messages.
func (v Version) String() string {
	switch v {
	case V1:
		return "1.0"
	case V2:
		return "2.0"
	}
	return "unknown"
}

// Request is one decoded frame. The zero value is ready for Reset. It may be
// read by several goroutines as long as each uses a Series of its own, but for
// Seed, Outline and Series.ASCII.
type Request struct {
	version Version
	body    []byte
	series  []span
	texts   []span // the symbols of 2.0, the metadata of 1.0

	// For the keys of Outline.
	seed   uint64
	hashes [][2]uint64 // of the symbols

	looked, ascii bool // see Series.ASCII
}

// Reset makes r stand for body, which is a decompressed message of version v.
// It keeps body until the next Reset or Release; the caller must not change it
// before. On error r stands for an empty request.
func (r *Request) Reset(v Version, body []byte) error {
	r.Release()
	if uint64(len(body)) > math.MaxUint32 {
		return fmt.Errorf("%w: body of %d bytes is longer than the 4 GiB that remote write allows", ErrMalformed, len(body))
	}
	r.version, r.body = v, body
	err := r.frame(frames[v])
	if err != nil {
		r.Release()
	}
	return err
}

// Release drops the body and keeps only the tables for reuse.
func (r *Request) Release() {
	r.body, r.looked = nil, false
	r.series, r.texts, r.hashes = r.series[:0], r.texts[:0], r.hashes[:0]
}

// Footprint returns the bytes that the tables of r hold on to.
func (r *Request) Footprint() int {
	return 8*(cap(r.series)+cap(r.texts)) + 16*cap(r.hashes)
}

// frame is the outermost message of a version.
type frame struct {
	message, sentAs, other string
	series, texts          int    // field numbers
	foreign                [2]int // those that only the other version has
}

var frames = [...]frame{
	V1: {
		message: "WriteRequest", sentAs: "prometheus.WriteRequest (1.0)", other: "io.prometheus.write.v2.Request (2.0)",
		series: 1, texts: 3, foreign: [2]int{4, 5},
	},
	V2: {
		message: "Request", sentAs: "io.prometheus.write.v2.Request (2.0)", other: "prometheus.WriteRequest (1.0)",
		series: 5, texts: 4, foreign: [2]int{1, 3},
	},
}

// frame notes where everything lies. The tables take several times what an
// empty element takes in the body, so their lengths are bounded on the way.
func (r *Request) frame(f frame) error {
	rd := newReader(r.body, r.whole(), f.message)
	mostSeries, mostTexts := mostElements(r.whole(), leastSeries), mostElements(r.whole(), leastText)
	var foreign int
	for {
		num, typ, ok := rd.next()
		if !ok {
			break
		}
		switch num {
		case f.series:
			if rd.want(typ, protowire.BytesType) {
				r.series = rd.element(r.series, mostSeries)
			}
		case f.texts:
			if rd.want(typ, protowire.BytesType) {
				r.texts = rd.element(r.texts, mostTexts)
			}
		case f.foreign[0], f.foreign[1]:
			foreign++
			rd.skip(typ)
		default:
			rd.skip(typ)
		}
	}
	if rd.err == nil && foreign > 0 && len(r.series)+len(r.texts) == 0 {
		return fmt.Errorf("%w: it was sent as %s but holds only fields of %s", ErrOtherVersion, f.sentAs, f.other)
	}
	return rd.err
}

// element appends where the next element of a table lies. A table that is too
// small gets the room for all that are to come at once.
func (r *reader) element(table []span, most int) []span {
	n := len(table) + 1
	if n > cap(table) {
		ahead := *r
		ahead.bytes()
		n += countFields(r.body, span{uint32(ahead.pos), uint32(r.end)}, r.message)[r.field]
	}
	if n > most {
		r.fail(r.pos, tooManyElements)
		return table
	}
	if n > cap(table) {
		table = append(make([]span, 0, n), table...)
	}
	return append(table, r.bytes())
}

func (r *Request) whole() span { return span{0, uint32(len(r.body))} }

func (r *Request) slice(s span) []byte { return r.body[s.off:s.end:s.end] }

// Version returns the version given to Reset.
func (r *Request) Version() Version { return r.version }

// NumSeries returns how many series the request holds.
func (r *Request) NumSeries() int { return len(r.series) }

// NumMetadata returns how many entries Metadata has. A 2.0 request has none:
// there metadata is part of each series.
func (r *Request) NumMetadata() int {
	if r.version == V2 {
		return 0
	}
	return len(r.texts)
}

// Symbol returns entry ref of the symbol table of a 2.0 request. The bytes
// belong to the body. The error matches ErrSymbol.
func (r *Request) Symbol(ref uint32) ([]byte, error) {
	if uint64(ref) >= uint64(len(r.texts)) {
		return nil, fmt.Errorf("%w: %d is outside of the %d symbols of the request", ErrSymbol, ref, len(r.texts))
	}
	return r.slice(r.texts[ref]), nil
}

// FamilyMetadata is an entry of the metadata of a 1.0 request. Its bytes
// belong to the body.
type FamilyMetadata struct {
	Type               model.MetricType
	Family, Help, Unit []byte
}

// Metadata decodes entry i of the metadata of a 1.0 request.
func (r *Request) Metadata(i int) (FamilyMetadata, error) {
	m := FamilyMetadata{Type: model.MetricTypeUnknown}
	rd := newReader(r.body, r.texts[i], "MetricMetadata")
	for {
		num, typ, ok := rd.next()
		if !ok {
			return m, rd.err
		}
		switch num {
		case 1:
			if rd.want(typ, protowire.VarintType) {
				m.Type = metricType(int32(rd.varint()))
			}
		case 2:
			if rd.want(typ, protowire.BytesType) {
				m.Family = r.slice(rd.bytes())
			}
		case 4:
			if rd.want(typ, protowire.BytesType) {
				m.Help = r.slice(rd.bytes())
			}
		case 5:
			if rd.want(typ, protowire.BytesType) {
				m.Unit = r.slice(rd.bytes())
			}
		default:
			rd.skip(typ)
		}
	}
}

// metricType maps the enumeration that both versions share. Types of the
// future are unknown today.
func metricType(v int32) model.MetricType {
	switch v {
	case 1:
		return model.MetricTypeCounter
	case 2:
		return model.MetricTypeGauge
	case 3:
		return model.MetricTypeHistogram
	case 4:
		return model.MetricTypeGaugeHistogram
	case 5:
		return model.MetricTypeSummary
	case 6:
		return model.MetricTypeInfo
	case 7:
		return model.MetricTypeStateset
	}
	return model.MetricTypeUnknown
}
