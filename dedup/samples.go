package dedup

import (
	"fmt"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/varve-tsdb/varve/internal/chunkread"
	"github.com/varve-tsdb/varve/internal/sortedsets"
)

// Samples fetches the chunks of all replicas and returns an Iterable of their
// merged samples between mint and maxt, both inclusive, in milliseconds: the
// same that the chunks of Iterator hold. A reader of samples that finds this
// method, as query.Samples does, spares decoding what is merged twice, once to
// choose and once to read, and encoding it in between.
//
// Any number of iterators may be used side by side. The Iterable is valid as
// long as the series. An error is one of a replica.
func (s *mergedSeries) Samples(mint, maxt int64) (chunkenc.Iterable, error) {
	samples := &mergedSamples{labels: s.Labels(), mint: mint, maxt: maxt}
	var (
		it   chunks.Iterator
		most [128]chunks.Meta // on the stack, for all but long ranges
		two  [2]int
		all  = most[:0]
		ends = two[:0]
	)
	for i, replica := range s.replicas {
		from := len(all)
		if i > 0 {
			all = slices.Grow(all, from/i) // as many as the others have
		}
		it = replica.Iterator(it)
		for it.Next() {
			all = append(all, it.At())
		}
		if err := it.Err(); err != nil {
			return nil, fmt.Errorf("deduplicate series %s: %w", samples.labels, err)
		}
		if copied(all, ends, all[from:]) {
			all = all[:from]
			continue
		}
		ends = append(ends, len(all))
	}
	kept := slices.Clone(all)
	samples.lists = samples.two[:0]
	from := 0
	for _, end := range ends {
		samples.lists = append(samples.lists, kept[from:end:end])
		from = end
	}
	samples.plain = len(samples.lists) == 1 && disjoint(samples.lists[0])
	return samples, nil
}

// copied reports whether one of the lists in all that end at ends has the very
// chunks of list.
func copied(all []chunks.Meta, ends []int, list []chunks.Meta) bool {
	from := 0
next:
	for _, end := range ends {
		other := all[from:end]
		from = end
		if len(other) != len(list) {
			continue
		}
		for i := range list {
			if !sortedsets.SameChunk(list[i], other[i]) {
				continue next
			}
		}
		return true
	}
	return false
}

// mergedSamples are the samples of a group of replicas whose chunks are there.
type mergedSamples struct {
	labels     labels.Labels
	lists      [][]chunks.Meta  // of replicas, none a copy of another
	two        [2][]chunks.Meta // mostly their memory
	plain      bool             // there is one list, and nothing to choose in it
	mint, maxt int64
}

// Holds tells from how many chunks of all replicas, copies left out, the samples are
// read, and how many bytes these have; and how many chunks and samples between mint
// and maxt the replica has that has most.
func (s *mergedSamples) Holds() (held int, bytes int64, chunks, samples int) {
	for _, list := range s.lists {
		inRange, n := 0, 0
		for _, chunk := range list {
			if chunk.Chunk == nil {
				continue
			}
			held++
			bytes += int64(len(chunk.Chunk.Bytes()))
			if chunk.MinTime <= s.maxt && s.mint <= chunk.MaxTime {
				inRange++
				n += chunk.Chunk.NumSamples()
			}
		}
		if n > samples {
			chunks, samples = inRange, n
		}
	}
	return held, bytes, chunks, samples
}

// Iterator returns the samples from the first on.
func (s *mergedSamples) Iterator(it chunkenc.Iterator) chunkenc.Iterator {
	if s.plain {
		return chunkread.Iterate(it, s.labels, s.lists[0], s.mint, s.maxt)
	}
	samples, ok := it.(*sampleIterator)
	if !ok {
		samples = &sampleIterator{}
	}
	samples.reset(s)
	return samples
}

// disjoint reports whether the chunks are whole, in order and do not overlap.
func disjoint(list []chunks.Meta) bool {
	last := int64(never)
	for i, meta := range list {
		if checkChunk(meta) != nil || meta.MinTime <= last && i > 0 {
			return false
		}
		last = meta.MaxTime
	}
	return true
}
