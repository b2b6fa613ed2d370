package writepb

import (
	"errors"
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
// read by several goroutines as long as each uses a Series of its own.
type Request struct {
	version  Version
	body     []byte
	series   []span
	symbols  []span // 2.0 only
	metadata []span // 1.0 only
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
	var err error
	if v == V2 {
		err = r.frameV2()
	} else {
		err = r.frameV1()
	}
	if err != nil {
		r.Release()
	}
	return err
}

// Release drops the body and keeps only the tables for reuse.
func (r *Request) Release() {
	r.body = nil
	r.series, r.symbols, r.metadata = r.series[:0], r.symbols[:0], r.metadata[:0]
}

// Footprint returns the bytes that the tables of r hold on to.
func (r *Request) Footprint() int {
	return 8 * (cap(r.series) + cap(r.symbols) + cap(r.metadata))
}

func (r *Request) frameV1() error {
	rd := newReader(r.body, r.whole(), "WriteRequest")
	n := countFields(r.body, r.whole(), "WriteRequest")
	if err := errors.Join(n.limit(1, leastSeries, r.whole(), "WriteRequest"), n.limit(3, leastText, r.whole(), "WriteRequest")); err != nil {
		return err
	}
	r.series, r.metadata = room(r.series, n[1]), room(r.metadata, n[3])
	var foreign int
	for {
		num, typ, ok := rd.next()
		if !ok {
			break
		}
		switch num {
		case 1:
			if rd.want(typ, protowire.BytesType) {
				r.series = append(r.series, rd.bytes())
			}
		case 3:
			if rd.want(typ, protowire.BytesType) {
				r.metadata = append(r.metadata, rd.bytes())
			}
		case 4, 5:
			foreign++
			rd.skip(typ)
		default:
			rd.skip(typ)
		}
	}
	if rd.err == nil && foreign > 0 && len(r.series)+len(r.metadata) == 0 {
		return fmt.Errorf("%w: it was sent as prometheus.WriteRequest (1.0) but holds only fields of io.prometheus.write.v2.Request (2.0)", ErrOtherVersion)
	}
	return rd.err
}

func (r *Request) frameV2() error {
	rd := newReader(r.body, r.whole(), "Request")
	n := countFields(r.body, r.whole(), "Request")
	if err := errors.Join(n.limit(5, leastSeries, r.whole(), "Request"), n.limit(4, leastText, r.whole(), "Request")); err != nil {
		return err
	}
	r.series, r.symbols = room(r.series, n[5]), room(r.symbols, n[4])
	var foreign int
	for {
		num, typ, ok := rd.next()
		if !ok {
			break
		}
		switch num {
		case 4:
			if rd.want(typ, protowire.BytesType) {
				r.symbols = append(r.symbols, rd.bytes())
			}
		case 5:
			if rd.want(typ, protowire.BytesType) {
				r.series = append(r.series, rd.bytes())
			}
		case 1, 3:
			foreign++
			rd.skip(typ)
		default:
			rd.skip(typ)
		}
	}
	if rd.err == nil && foreign > 0 && len(r.series)+len(r.symbols) == 0 {
		return fmt.Errorf("%w: it was sent as io.prometheus.write.v2.Request (2.0) but holds only fields of prometheus.WriteRequest (1.0)", ErrOtherVersion)
	}
	return rd.err
}

func (r *Request) whole() span { return span{0, uint32(len(r.body))} }

func (r *Request) slice(s span) []byte { return r.body[s.off:s.end:s.end] }

// Version returns the version given to Reset.
func (r *Request) Version() Version { return r.version }

// NumSeries returns how many series the request holds.
func (r *Request) NumSeries() int { return len(r.series) }

// NumMetadata returns how many entries Metadata has. A 2.0 request has none:
// there metadata is part of each series.
func (r *Request) NumMetadata() int { return len(r.metadata) }

// NumSymbols returns the length of the symbol table of a 2.0 request.
func (r *Request) NumSymbols() int { return len(r.symbols) }

// Symbol returns entry ref of the symbol table of a 2.0 request. The bytes
// belong to the body. The error matches ErrSymbol.
func (r *Request) Symbol(ref uint32) ([]byte, error) {
	if uint64(ref) >= uint64(len(r.symbols)) {
		return nil, fmt.Errorf("%w: %d is outside of the %d symbols of the request", ErrSymbol, ref, len(r.symbols))
	}
	return r.slice(r.symbols[ref]), nil
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
	rd := newReader(r.body, r.metadata[i], "MetricMetadata")
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
