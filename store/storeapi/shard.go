package storeapi

import (
	"slices"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/prometheus/model/labels"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/varve-tsdb/varve/internal/grpcwire"
)

// shard is the message ShardInfo: a part of all series, by the hash of some of
// their labels. The rule is that of Thanos, pkg/store/storepb/shard_info.go. With
// total below 1 it is all series.
type shard struct {
	index, total int64
	by           bool     // hash only names, else all but them
	names        []string // sorted after decoding
	buf          []byte
}

func (s *shard) encode() []byte {
	var b []byte
	b = appendInt(b, 1, s.index)
	b = appendInt(b, 2, s.total)
	b = appendBool(b, 3, s.by)
	return appendStrings(b, 4, s.names)
}

func (s *shard) decode(body []byte) error {
	err := grpcwire.Each(body, func(f grpcwire.Field) error {
		switch {
		case f.Is(1, protowire.VarintType):
			s.index = int64(f.Number)
		case f.Is(2, protowire.VarintType):
			s.total = int64(f.Number)
		case f.Is(3, protowire.VarintType):
			s.by = f.Number != 0
		case f.Is(4, protowire.BytesType):
			s.names = append(s.names, string(f.Bytes))
		}
		return nil
	})
	slices.Sort(s.names)
	return err
}

// all tells whether every series is in it.
func (s *shard) all() bool { return s.total < 1 }

// has tells whether a series is in it, by its final labels. It must not be called
// concurrently.
func (s *shard) has(ls labels.Labels) bool {
	if s.all() {
		return true
	}
	s.buf = s.buf[:0]
	ls.Range(func(l labels.Label) {
		if _, named := slices.BinarySearch(s.names, l.Name); named == s.by {
			s.buf = append(append(s.buf, l.Name...), 0xff)
			s.buf = append(append(s.buf, l.Value...), 0xff)
		}
	})
	return xxhash.Sum64(s.buf)%uint64(s.total) == uint64(s.index)
}
