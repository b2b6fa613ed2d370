package storeapi

import (
	"math"

	"github.com/prometheus/prometheus/model/labels"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/varve-tsdb/varve/internal/grpcwire"
)

// info is the message InfoResponse.
type info struct {
	component  string
	store      *storeInfo // nil if there is no StoreAPI
	labelSets  []labels.Labels
	metadata   bool
	exemplars  bool
	mint, maxt int64 // of exemplars

	held []stream // what a Client makes of it
}

// storeInfo is the message StoreInfo.
type storeInfo struct {
	mint, maxt int64 // both inclusive, ms
	sharding   bool
	without    bool // whether without_replica_labels is heeded
	removed    bool // whether series tell which labels they have lost
	streams    []stream
}

// stream is the message TSDBInfo.
type stream struct {
	external   labels.Labels
	mint, maxt int64 // both inclusive, ms
}

// span returns the range that holds all streams. Of none it is that of a store that
// nobody needs to ask.
func span(streams []stream) (mint, maxt int64) {
	mint, maxt = math.MaxInt64, math.MinInt64
	for _, s := range streams {
		mint, maxt = min(mint, s.mint), max(maxt, s.maxt)
	}
	return mint, maxt
}

func (i *info) encode() []byte {
	var b []byte
	for _, ls := range i.labelSets {
		b = appendMessage(b, 1, labelSet(ls))
	}
	b = appendString(b, 2, i.component)
	if i.store != nil {
		b = appendMessage(b, 3, i.store.encode())
	}
	if i.metadata {
		b = appendMessage(b, 5, nil)
	}
	if i.exemplars {
		b = appendMessage(b, 7, appendInt(appendInt(nil, 1, i.mint), 2, i.maxt))
	}
	return b
}

func (s *storeInfo) encode() []byte {
	var b []byte
	b = appendInt(b, 1, s.mint)
	b = appendInt(b, 2, s.maxt)
	b = appendBool(b, 3, s.sharding)
	b = appendBool(b, 5, s.without)
	for _, one := range s.streams {
		var t []byte
		t = appendMessage(t, 1, labelSet(one.external))
		t = appendInt(t, 2, one.mint)
		t = appendInt(t, 3, one.maxt)
		b = appendMessage(b, 6, t)
	}
	return appendBool(b, fieldRemoved, s.removed)
}

func decodeInfo(body []byte) (*info, error) {
	i := &info{}
	err := grpcwire.Each(body, func(f grpcwire.Field) (err error) {
		if f.Type != protowire.BytesType {
			return nil
		}
		switch f.Num {
		case 1:
			var ls labels.Labels
			ls, err = decodeLabelSet(f.Bytes)
			i.labelSets = append(i.labelSets, ls)
		case 2:
			i.component = string(f.Bytes)
		case 3:
			i.store, err = decodeStoreInfo(f.Bytes)
		case 5:
			i.metadata = true
		case 7:
			i.exemplars = true
			i.mint, i.maxt, _, err = decodeSpan(f.Bytes, 1)
		}
		return err
	})
	return i, err
}

func decodeStoreInfo(body []byte) (*storeInfo, error) {
	s := &storeInfo{}
	err := grpcwire.Each(body, func(f grpcwire.Field) (err error) {
		switch {
		case f.Is(1, protowire.VarintType):
			s.mint = int64(f.Number)
		case f.Is(2, protowire.VarintType):
			s.maxt = int64(f.Number)
		case f.Is(3, protowire.VarintType):
			s.sharding = f.Number != 0
		case f.Is(5, protowire.VarintType):
			s.without = f.Number != 0
		case f.Is(6, protowire.BytesType):
			var one stream
			var ls []byte
			if one.mint, one.maxt, ls, err = decodeSpan(f.Bytes, 2); err == nil {
				one.external, err = decodeLabelSet(ls)
			}
			s.streams = append(s.streams, one)
		case f.Is(fieldRemoved, protowire.VarintType):
			s.removed = f.Number != 0
		}
		return err
	})
	return s, err
}

// decodeSpan reads a message with a range of time in the fields first and first+1,
// and perhaps another message as field 1.
func decodeSpan(body []byte, first protowire.Number) (mint, maxt int64, of []byte, err error) {
	err = grpcwire.Each(body, func(f grpcwire.Field) error {
		switch {
		case f.Is(first, protowire.VarintType):
			mint = int64(f.Number)
		case f.Is(first+1, protowire.VarintType):
			maxt = int64(f.Number)
		case f.Is(1, protowire.BytesType):
			of = f.Bytes
		}
		return nil
	})
	return mint, maxt, of, err
}
