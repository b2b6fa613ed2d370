package storeapi

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"google.golang.org/protobuf/encoding/protowire"
)

// encAggregates is the encoding of a chunk of a downsampled block. Its data is five
// slots, those of fields 4 to 8 of the message AggrChunk.
const encAggregates chunkenc.Encoding = 0xff

// aggregateCount is how many chunks an AggrChunk can have: raw, count, sum, min,
// max, counter, in the order of the enum Aggr and of the fields 3 to 8.
const aggregateCount = 6

// aggregateSet is what a request wants of chunks of aggregates, a bit for each
// value of the enum Aggr.
type aggregateSet uint8

func (s *aggregateSet) add(aggr uint64) {
	if aggr < aggregateCount {
		*s |= 1 << aggr
	}
}

// unpack adds a packed list.
func (s *aggregateSet) unpack(body []byte) error {
	for len(body) > 0 {
		v, n := protowire.ConsumeVarint(body)
		if n < 0 {
			return protowire.ParseError(n)
		}
		s.add(v)
		body = body[n:]
	}
	return nil
}

func (s aggregateSet) append(b []byte, num protowire.Number) []byte {
	var packed []byte
	for aggr := range uint64(aggregateCount) {
		if s&(1<<aggr) != 0 {
			packed = protowire.AppendVarint(packed, aggr)
		}
	}
	if len(packed) == 0 {
		return b
	}
	return appendMessage(b, num, packed)
}

// wants tells whether an aggregate is wanted. Whoever names none gets all.
func (s aggregateSet) wants(aggr int) bool { return s&^1 == 0 || s&(1<<aggr) != 0 }

// splitAggregates takes the data of a chunk of aggregates apart. The parts point
// into data; those that are absent or not wanted are empty. The first is raw, which
// there never is.
func splitAggregates(data []byte, wanted aggregateSet) (parts [aggregateCount]part, err error) {
	for aggr := 1; aggr < aggregateCount; aggr++ {
		length, n := binary.Uvarint(data)
		if n <= 0 {
			return parts, fmt.Errorf("a chunk of aggregates ends before the %d. of them", aggr)
		}
		if data = data[n:]; length == 0 {
			continue
		}
		if length >= uint64(len(data)) { // a byte before it is the encoding
			return parts, fmt.Errorf("a chunk of aggregates has %d bytes for the %d. of them, which has %d", len(data), aggr, length)
		}
		if wanted.wants(aggr) {
			parts[aggr] = part{chunkenc.Encoding(data[0]), data[1 : 1+length : 1+length]}
		}
		data = data[1+length:]
	}
	return parts, nil
}

// aggregates makes a chunk of what a downsampled block has.
func (d *frameDecoder) aggregates([aggregateCount]part) (chunkenc.Chunk, error) {
	return nil, errors.New("it holds aggregates of a downsampled block, which cannot be read")
}
