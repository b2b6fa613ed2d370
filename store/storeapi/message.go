package storeapi

import (
	"fmt"

	"github.com/prometheus/prometheus/model/labels"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/varve-tsdb/varve/internal/grpcwire"
)

// encoded is a message on its way out that is short.
type encoded []byte

// Encode is that of grpcwire.Sent.
func (m encoded) Encode(mem.BufferPool) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(m)}, nil
}

// received is a message that has come. What is wrong inside is no error of the
// transport, so it is decoded later.
type received struct{ body []byte }

// Decode copies the message out of gRPC's memory, which goes back to its pool:
// series live as long as their reader likes, and would hold on to much more.
func (m *received) Decode(data mem.BufferSlice, _ mem.BufferPool) error {
	m.body = data.Materialize()
	return nil
}

// appendString appends a field, unless it is empty, as in all of proto3.
func appendString(b []byte, num protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), s)
}

func appendStrings(b []byte, num protowire.Number, list []string) []byte {
	for _, s := range list {
		b = protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), s)
	}
	return b
}

func appendInt(b []byte, num protowire.Number, v int64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), uint64(v))
}

func appendBool(b []byte, num protowire.Number, v bool) []byte {
	if !v {
		return b
	}
	return appendInt(b, num, 1)
}

// appendMessage appends a message within a message, which is there also if it is
// empty.
func appendMessage(b []byte, num protowire.Number, m []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), m)
}

// appendLabels appends labels as the field num, repeated.
func appendLabels(b []byte, num protowire.Number, ls labels.Labels) []byte {
	ls.Range(func(l labels.Label) {
		size := sizeString(1, l.Name) + sizeString(2, l.Value)
		b = protowire.AppendTag(b, num, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(size))
		b = appendString(b, 1, l.Name)
		b = appendString(b, 2, l.Value)
	})
	return b
}

func sizeString(num protowire.Number, s string) int {
	if s == "" {
		return 0
	}
	return protowire.SizeTag(num) + protowire.SizeBytes(len(s))
}

// labelSet is the message LabelSet.
func labelSet(ls labels.Labels) []byte { return appendLabels(nil, 1, ls) }

// decodeLabel reads the message Label. The strings are copies.
func decodeLabel(body []byte) (name, value string, err error) {
	err = grpcwire.Each(body, func(f grpcwire.Field) error {
		switch {
		case f.Is(1, protowire.BytesType):
			name = string(f.Bytes)
		case f.Is(2, protowire.BytesType):
			value = string(f.Bytes)
		}
		return nil
	})
	return name, value, err
}

// decodeLabelSet reads the message LabelSet.
func decodeLabelSet(body []byte) (labels.Labels, error) {
	var b labels.ScratchBuilder
	err := grpcwire.Each(body, func(f grpcwire.Field) error {
		if !f.Is(1, protowire.BytesType) {
			return nil
		}
		name, value, err := decodeLabel(f.Bytes)
		b.Add(name, value)
		return err
	})
	if err != nil {
		return labels.EmptyLabels(), err
	}
	b.Sort()
	ls := b.Labels()
	if name, twice := ls.HasDuplicateLabelNames(); twice {
		return labels.EmptyLabels(), fmt.Errorf("%w: the label %q is there twice", grpcwire.ErrMalformed, name)
	}
	return ls, nil
}

// Types of the message LabelMatcher are those of labels.MatchType, in the same
// order.
func appendMatcher(b []byte, num protowire.Number, m *labels.Matcher) []byte {
	var one []byte
	one = appendInt(one, 1, int64(m.Type))
	one = appendString(one, 2, m.Name)
	one = appendString(one, 3, m.Value)
	return appendMessage(b, num, one)
}

func decodeMatcher(body []byte) (*labels.Matcher, error) {
	var (
		typ         uint64
		name, value string
	)
	err := grpcwire.Each(body, func(f grpcwire.Field) error {
		switch {
		case f.Is(1, protowire.VarintType):
			typ = f.Number
		case f.Is(2, protowire.BytesType):
			name = string(f.Bytes)
		case f.Is(3, protowire.BytesType):
			value = string(f.Bytes)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if typ > uint64(labels.MatchNotRegexp) {
		return nil, fmt.Errorf("the matcher of label %q has the unknown type %d", name, typ)
	}
	m, err := labels.NewMatcher(labels.MatchType(typ), name, value)
	if err != nil {
		return nil, fmt.Errorf("the matcher of label %q: %w", name, err)
	}
	return m, nil
}
