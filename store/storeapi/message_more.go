package storeapi

import (
	"math"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/varve-tsdb/varve/internal/grpcwire"
)

// exemplarsRequest is the message ExemplarsRequest.
type exemplarsRequest struct {
	query      string // an expression whose selectors say of which series
	mint, maxt int64  // both inclusive, ms
	strict     bool
}

func (r *exemplarsRequest) encode() []byte {
	return appendBool(appendInt(appendInt(appendString(nil, 1, r.query), 2, r.mint), 3, r.maxt), 4, r.strict)
}

func decodeExemplarsRequest(body []byte) (*exemplarsRequest, error) {
	r := &exemplarsRequest{}
	return r, grpcwire.Each(body, func(f grpcwire.Field) error {
		switch {
		case f.Is(1, protowire.BytesType):
			r.query = string(f.Bytes)
		case f.Is(2, protowire.VarintType):
			r.mint = int64(f.Number)
		case f.Is(3, protowire.VarintType):
			r.maxt = int64(f.Number)
		case f.Is(4, protowire.VarintType):
			r.strict = f.Number != 0
		}
		return nil
	})
}

// encodeExemplars makes the message ExemplarsResponse.
func encodeExemplars(r exemplar.QueryResult) []byte {
	data := appendMessage(nil, 1, labelSet(r.SeriesLabels))
	for _, e := range r.Exemplars {
		one := appendMessage(nil, 1, labelSet(e.Labels))
		if e.Value != 0 || math.Signbit(e.Value) {
			one = protowire.AppendFixed64(protowire.AppendTag(one, 2, protowire.Fixed64Type), math.Float64bits(e.Value))
		}
		data = appendMessage(data, 2, appendInt(one, 3, e.Ts))
	}
	return appendMessage(nil, 1, data)
}

// decodeExemplars reads the message ExemplarsResponse, which is either.
func decodeExemplars(body []byte) (r exemplar.QueryResult, warning string, err error) {
	err = grpcwire.Each(body, func(f grpcwire.Field) (err error) {
		switch {
		case f.Is(1, protowire.BytesType):
			r, err = decodeExemplarData(f.Bytes)
		case f.Is(2, protowire.BytesType):
			warning = string(f.Bytes)
		}
		return err
	})
	return r, warning, err
}

func decodeExemplarData(body []byte) (r exemplar.QueryResult, err error) {
	err = grpcwire.Each(body, func(f grpcwire.Field) (err error) {
		switch {
		case f.Is(1, protowire.BytesType):
			r.SeriesLabels, err = decodeLabelSet(f.Bytes)
		case f.Is(2, protowire.BytesType):
			var e exemplar.Exemplar
			e, err = decodeExemplar(f.Bytes)
			r.Exemplars = append(r.Exemplars, e)
		}
		return err
	})
	return r, err
}

func decodeExemplar(body []byte) (e exemplar.Exemplar, err error) {
	e.HasTs = true
	err = grpcwire.Each(body, func(f grpcwire.Field) (err error) {
		switch {
		case f.Is(1, protowire.BytesType):
			e.Labels, err = decodeLabelSet(f.Bytes)
		case f.Is(2, protowire.Fixed64Type):
			e.Value = f.Float()
		case f.Is(3, protowire.VarintType):
			e.Ts = int64(f.Number)
		}
		return err
	})
	return e, err
}

// metadataRequest is the message MetricMetadataRequest.
type metadataRequest struct {
	metric string // empty for all
	limit  int64  // of metrics; negative is none
	strict bool
}

func (r *metadataRequest) encode() []byte {
	return appendBool(appendInt(appendString(nil, 1, r.metric), 2, r.limit), 3, r.strict)
}

func decodeMetadataRequest(body []byte) (*metadataRequest, error) {
	r := &metadataRequest{}
	return r, grpcwire.Each(body, func(f grpcwire.Field) error {
		switch {
		case f.Is(1, protowire.BytesType):
			r.metric = string(f.Bytes)
		case f.Is(2, protowire.VarintType):
			r.limit = int64(int32(f.Number))
		case f.Is(3, protowire.VarintType):
			r.strict = f.Number != 0
		}
		return nil
	})
}

// encodeMetadata makes the message MetricMetadataResponse, of one metric.
func encodeMetadata(family string, list []metadata.Metadata) []byte {
	var metas []byte
	for _, m := range list {
		one := appendString(nil, 1, string(m.Type))
		one = appendString(one, 2, m.Help)
		metas = appendMessage(metas, 2, appendString(one, 3, m.Unit))
	}
	entry := appendMessage(appendString(nil, 1, family), 2, metas)
	return appendMessage(nil, 1, appendMessage(nil, 1, entry))
}

// decodeMetadata reads the message MetricMetadataResponse, and adds to all what it
// has.
func decodeMetadata(body []byte, all map[string][]metadata.Metadata) (warning string, err error) {
	err = grpcwire.Each(body, func(f grpcwire.Field) error {
		switch {
		case f.Is(1, protowire.BytesType):
			return grpcwire.Each(f.Bytes, func(f grpcwire.Field) error {
				if !f.Is(1, protowire.BytesType) {
					return nil
				}
				family, list, err := decodeMetadataEntry(f.Bytes)
				if family != "" {
					all[family] = append(all[family], list...)
				}
				return err
			})
		case f.Is(2, protowire.BytesType):
			warning = string(f.Bytes)
		}
		return nil
	})
	return warning, err
}

func decodeMetadataEntry(body []byte) (family string, list []metadata.Metadata, err error) {
	err = grpcwire.Each(body, func(f grpcwire.Field) error {
		switch {
		case f.Is(1, protowire.BytesType):
			family = string(f.Bytes)
		case f.Is(2, protowire.BytesType):
			return grpcwire.Each(f.Bytes, func(f grpcwire.Field) error {
				if !f.Is(2, protowire.BytesType) {
					return nil
				}
				var m metadata.Metadata
				err := grpcwire.Each(f.Bytes, func(f grpcwire.Field) error {
					switch {
					case f.Is(1, protowire.BytesType):
						m.Type = model.MetricType(f.Bytes)
					case f.Is(2, protowire.BytesType):
						m.Help = string(f.Bytes)
					case f.Is(3, protowire.BytesType):
						m.Unit = string(f.Bytes)
					}
					return nil
				})
				list = append(list, m)
				return err
			})
		}
		return nil
	})
	return family, list, err
}

// selectorText writes a selector in PromQL.
func selectorText(matchers []*labels.Matcher) string {
	texts := make([]string, len(matchers))
	for i, m := range matchers {
		texts[i] = m.String()
	}
	return "{" + strings.Join(texts, ",") + "}"
}
