package storeapi

import (
	"github.com/prometheus/prometheus/model/labels"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/varve-tsdb/varve/internal/grpcwire"
)

// seriesRequest is the message SeriesRequest.
type seriesRequest struct {
	mint, maxt    int64 // both inclusive, ms
	matchers      []*labels.Matcher
	maxResolution int64 // ms; 0 is raw data only
	aggregates    aggregateSet
	strict        bool // the strategy ABORT; else WARN
	skipChunks    bool
	hints         queryHints
	shard         shard
	without       []string
	limit         int64 // of series; 0 is none
	batch         int64 // series in a message; 0 and 1 are one
	removed       bool  // the client wants to know which labels series have lost; an extension
}

// queryHints is the message QueryHints, as far as it is used.
type queryHints struct {
	step     int64 // ms
	fn       string
	by       bool
	grouping []string
	rng      int64 // ms
}

// fieldRemoved is the number of fields that only Varve knows. In a SeriesRequest
// it is a bool: series shall say which labels they have lost. In a Series it is a
// LabelSet of those. In a StoreInfo it is a bool: it will be done. Whoever does not
// know it passes it over.
const fieldRemoved = 1000

func (r *seriesRequest) encode() []byte {
	var b []byte
	b = appendInt(b, 1, r.mint)
	b = appendInt(b, 2, r.maxt)
	for _, m := range r.matchers {
		b = appendMatcher(b, 3, m)
	}
	b = appendInt(b, 4, r.maxResolution)
	b = r.aggregates.append(b, 5)
	b = appendBool(b, 6, r.strict)
	b = appendBool(b, 7, r.strict) // ABORT is 1
	b = appendBool(b, 8, r.skipChunks)
	if hints := r.hints.encode(); len(hints) > 0 {
		b = appendMessage(b, 12, hints)
	}
	if r.shard.total > 0 {
		b = appendMessage(b, 13, r.shard.encode())
	}
	b = appendStrings(b, 14, r.without)
	b = appendInt(b, 15, r.limit)
	b = appendInt(b, 16, r.batch)
	return appendBool(b, fieldRemoved, r.removed)
}

func decodeSeriesRequest(body []byte) (*seriesRequest, error) {
	r := &seriesRequest{}
	err := grpcwire.Each(body, func(f grpcwire.Field) (err error) {
		if f.Type == protowire.VarintType {
			r.number(f)
			return nil
		}
		if f.Type != protowire.BytesType {
			return nil
		}
		switch f.Num {
		case 3:
			var m *labels.Matcher
			m, err = decodeMatcher(f.Bytes)
			r.matchers = append(r.matchers, m)
		case 5:
			err = r.aggregates.unpack(f.Bytes)
		case 12:
			err = r.hints.decode(f.Bytes)
		case 13:
			r.shard = shard{} // the last one counts
			err = r.shard.decode(f.Bytes)
		case 14:
			r.without = append(r.without, string(f.Bytes))
		}
		return err
	})
	return r, err
}

// number takes a field that is one.
func (r *seriesRequest) number(f grpcwire.Field) {
	switch f.Num {
	case 1:
		r.mint = int64(f.Number)
	case 2:
		r.maxt = int64(f.Number)
	case 4:
		r.maxResolution = int64(f.Number)
	case 5:
		r.aggregates.add(f.Number)
	case 6, 7:
		r.strict = r.strict || f.Number != 0
	case 8:
		r.skipChunks = f.Number != 0
	case 10: // until QueryHints took over
		r.hints.step = int64(f.Number)
	case 11:
		r.hints.rng = int64(f.Number)
	case 15:
		r.limit = int64(f.Number)
	case 16:
		r.batch = int64(f.Number)
	case fieldRemoved:
		r.removed = f.Number != 0
	}
}

func (h *queryHints) encode() []byte {
	var b []byte
	b = appendInt(b, 1, h.step)
	if h.fn != "" {
		b = appendMessage(b, 2, appendString(nil, 1, h.fn))
	}
	if h.by || len(h.grouping) > 0 {
		b = appendMessage(b, 4, appendStrings(appendBool(nil, 1, h.by), 3, h.grouping))
	}
	if h.rng != 0 {
		b = appendMessage(b, 5, appendInt(nil, 1, h.rng))
	}
	return b
}

func (h *queryHints) decode(body []byte) error {
	return grpcwire.Each(body, func(f grpcwire.Field) error {
		switch {
		case f.Is(1, protowire.VarintType):
			h.step = int64(f.Number)
		case f.Is(2, protowire.BytesType), f.Is(4, protowire.BytesType), f.Is(5, protowire.BytesType):
			return h.part(f.Num, f.Bytes)
		}
		return nil
	})
}

// part reads one of the messages Func, Grouping and Range.
func (h *queryHints) part(which protowire.Number, body []byte) error {
	return grpcwire.Each(body, func(f grpcwire.Field) error {
		switch {
		case which == 2 && f.Is(1, protowire.BytesType):
			h.fn = string(f.Bytes)
		case which == 4 && f.Is(1, protowire.VarintType):
			h.by = f.Number != 0
		case which == 4 && f.Is(3, protowire.BytesType):
			h.grouping = append(h.grouping, string(f.Bytes))
		case which == 5 && f.Is(1, protowire.VarintType):
			h.rng = int64(f.Number)
		}
		return nil
	})
}

// labelsRequest is the messages LabelNamesRequest and LabelValuesRequest, which
// have the same fields by other numbers.
type labelsRequest struct {
	values     bool   // LabelValuesRequest
	label      string // of which values are asked for
	mint, maxt int64  // both inclusive, ms
	matchers   []*labels.Matcher
	strict     bool
	without    []string
	limit      int64
}

// shift is what the numbers of a LabelValuesRequest are more, for its label.
func (r *labelsRequest) shift() protowire.Number {
	if r.values {
		return 1
	}
	return 0
}

func (r *labelsRequest) encode() []byte {
	by := r.shift()
	var b []byte
	if r.values {
		b = appendString(b, 1, r.label)
	}
	b = appendBool(b, 1+by, r.strict)
	b = appendBool(b, 2+by, r.strict)
	b = appendInt(b, 3+by, r.mint)
	b = appendInt(b, 4+by, r.maxt)
	for _, m := range r.matchers {
		b = appendMatcher(b, 6+by, m)
	}
	b = appendStrings(b, 7+by, r.without)
	return appendInt(b, 8+by, r.limit)
}

func decodeLabelsRequest(body []byte, values bool) (*labelsRequest, error) {
	r := &labelsRequest{values: values}
	err := grpcwire.Each(body, func(f grpcwire.Field) error {
		if values && f.Is(1, protowire.BytesType) {
			r.label = string(f.Bytes)
			return nil
		}
		f.Num -= r.shift()
		switch {
		case f.Is(1, protowire.VarintType), f.Is(2, protowire.VarintType):
			r.strict = r.strict || f.Number != 0
		case f.Is(3, protowire.VarintType):
			r.mint = int64(f.Number)
		case f.Is(4, protowire.VarintType):
			r.maxt = int64(f.Number)
		case f.Is(6, protowire.BytesType):
			m, err := decodeMatcher(f.Bytes)
			r.matchers = append(r.matchers, m)
			return err
		case f.Is(7, protowire.BytesType):
			r.without = append(r.without, string(f.Bytes))
		case f.Is(8, protowire.VarintType):
			r.limit = int64(f.Number)
		}
		return nil
	})
	return r, err
}

// labelsResponse is the messages LabelNamesResponse and LabelValuesResponse.
type labelsResponse struct {
	list     []string
	warnings []string
}

func (r *labelsResponse) encode() []byte {
	return appendStrings(appendStrings(nil, 1, r.list), 2, r.warnings)
}

func decodeLabelsResponse(body []byte) (*labelsResponse, error) {
	r := &labelsResponse{}
	err := grpcwire.Each(body, func(f grpcwire.Field) error {
		switch {
		case f.Is(1, protowire.BytesType):
			r.list = append(r.list, string(f.Bytes))
		case f.Is(2, protowire.BytesType):
			r.warnings = append(r.warnings, string(f.Bytes))
		}
		return nil
	})
	return r, err
}
