package storeapi

import (
	"context"
	"slices"

	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/varve-tsdb/varve/internal/aggrchunk"
)

// aggregateCount is how many chunks an AggrChunk can have: raw, count, sum, min,
// max, counter, in the order of the enum Aggr and of the fields 3 to 8. All but the
// first are the slots of an aggrchunk.Chunk, in their order.
const aggregateCount = 6

// aggregateSet is what a request wants of chunks of aggregates, a bit for each
// value of the enum Aggr.
type aggregateSet uint8

func (s *aggregateSet) add(aggr uint64) {
	if aggr < aggregateCount {
		*s |= 1 << aggr
	}
}

// setOf is what a request wants that wants these.
func setOf(list []aggrchunk.Aggregate) (s aggregateSet) {
	for _, a := range list {
		s.add(1 + uint64(a))
	}
	return s
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

// partsOf returns the aggregates of a chunk that are wanted. The first, raw, is
// empty, and so are those that are absent.
func partsOf(c *aggrchunk.Chunk, wanted aggregateSet) (parts [aggregateCount]part) {
	for aggr := 1; aggr < aggregateCount; aggr++ {
		if slot, ok := c.Slot(aggrchunk.Aggregate(aggr - 1)); ok && wanted.wants(aggr) {
			parts[aggr] = part{slot.Encoding, slot.Data}
		}
	}
	return parts
}

// newAggregates makes a chunk of what has come of a downsampled block.
func newAggregates(parts [aggregateCount]part) chunkenc.Chunk {
	var slots [aggregateCount - 1]aggrchunk.Slot
	for i, p := range parts[1:] {
		slots[i] = aggrchunk.Slot{Encoding: p.enc, Data: p.data}
	}
	return aggrchunk.New(slots)
}

// ordinary returns chunks that any reader understands, with what a function wants of
// the chunks of aggregates among list, which is in order of time. Readers that pass
// them on get them as they are.
func ordinary(ctx context.Context, list []chunks.Meta, function string) ([]chunks.Meta, error) {
	aggregated := func(m chunks.Meta) bool { _, ok := m.Chunk.(*aggrchunk.Chunk); return ok }
	if aggrchunk.IsAsStored(ctx) || !slices.ContainsFunc(list, aggregated) {
		return list, nil
	}
	wanted := aggrchunk.ForFunc(function)
	resolutions := resolutionsOf(list)
	var out []chunks.Meta
	for i, m := range list {
		c, ok := m.Chunk.(*aggrchunk.Chunk)
		if !ok {
			out = append(out, m)
			continue
		}
		some, err := aggrchunk.Ordinary(m, c, wanted, func(enc chunkenc.Encoding, data []byte) (chunkenc.Chunk, error) {
			return part{enc, data}.chunk()
		})
		if err != nil {
			return nil, err
		}
		for _, m := range some {
			m.Chunk = aggrchunk.Mark(m.Chunk, resolutions[i])
			out = append(out, m)
		}
	}
	if aggrchunk.KeepsCounters(ctx) {
		return out, nil
	}
	// A server that asks others has what some hold raw and others downsampled.
	resolve := aggrchunk.FinestFirst
	if aggrchunk.WantsCounters(function) {
		resolve = aggrchunk.Counters
	}
	set := resolve(&loneSet{series: &clientSeries{receivedSeries{chunks: out}}})
	if !set.Next() {
		return nil, set.Err()
	}
	return storage.ExpandChunks(set.At().Iterator(nil))
}

// The resolutions of Thanos' downsampled blocks, in ms. One that is not known is 0.
const fiveMinutes, hour = 300_000, 3_600_000

// resolutionsOf works out how long the windows of the chunks of aggregates in a series
// are, which the protocol does not say. A chunk that is too short to show it, such as
// the last of a block, is like the nearest before it that does, or else behind it.
// Where none does it is five minutes: beside raw chunks a window of an hour may then
// count twice in part, but none gets lost.
func resolutionsOf(list []chunks.Meta) []int64 {
	all := make([]int64, len(list))
	known := int64(fiveMinutes)
	for i := len(list) - 1; i >= 0; i-- {
		c, ok := list[i].Chunk.(*aggrchunk.Chunk)
		if !ok {
			continue
		}
		if all[i] = resolutionOf(c); all[i] != 0 {
			known = all[i] // at last the first that there is
		}
	}
	for i, m := range list {
		if _, ok := m.Chunk.(*aggrchunk.Chunk); !ok {
			continue
		}
		if all[i] == 0 {
			all[i] = known
		}
		known = all[i]
	}
	return all
}

// resolutionOf works out how long the windows of a chunk are: all but the last end
// where a multiple of that does. Two such ends at the full hour show that it is that;
// one may be there by chance.
func resolutionOf(c *aggrchunk.Chunk) int64 {
	slot, ok := c.Slot(aggrchunk.Count)
	for a := aggrchunk.Sum; !ok && a <= aggrchunk.Counter; a++ {
		slot, ok = c.Slot(a)
	}
	chunk, err := part{slot.Encoding, slot.Data}.chunk()
	if err != nil {
		return 0
	}
	it := chunk.Iterator(nil)
	ends := 0
	n := chunk.NumSamples()
	for i := 0; i < n-1 && it.Next() != chunkenc.ValNone; i++ {
		if i == 0 { // the first of a counter is no end
			continue
		}
		if ends++; (it.AtT()+1)%hour != 0 {
			return fiveMinutes
		}
	}
	if ends < 2 {
		return 0
	}
	return hour
}

// loneSet is a set of one series.
type loneSet struct {
	series storage.ChunkSeries
	begun  bool
}

// Next moves to the series.
func (s *loneSet) Next() bool {
	first := !s.begun
	s.begun = true
	return first
}

// At returns the series.
func (s *loneSet) At() storage.ChunkSeries { return s.series }

// Err returns nil.
func (*loneSet) Err() error { return nil }

// Warnings returns none.
func (*loneSet) Warnings() annotations.Annotations { return nil }
