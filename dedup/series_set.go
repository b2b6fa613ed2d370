package dedup

import (
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
)

// replicaBlock is how many replicas share an allocation.
const replicaBlock = 256

// seriesSet merges the series of inner that follow each other with equal labels.
type seriesSet struct {
	inner  storage.ChunkSeriesSet
	limit  int    // merged series, 0 for no limit
	shards uint64 // 0 for all
	shard  uint64

	block    []storage.ChunkSeries // groups are cut off its end
	pending  storage.ChunkSeries   // the first series of the next group
	key      labels.Labels         // of pending
	started  bool
	returned int
	cur      storage.ChunkSeries
}

func (s *seriesSet) Next() bool {
	if s.limit > 0 && s.returned >= s.limit {
		return false
	}
	if !s.started {
		s.started = true
		s.read()
	}
	for s.pending != nil {
		lset := s.key
		s.group()
		if s.shards == 0 || labels.StableHash(lset)%s.shards == s.shard {
			s.returned++
			return true
		}
	}
	s.cur = nil
	return false
}

// read makes the next series of inner pending.
func (s *seriesSet) read() {
	s.pending = nil
	if s.inner.Next() {
		s.pending = s.inner.At()
		s.key = s.pending.Labels()
	}
}

// group makes pending and the series equal to it the current one. Each group
// gets its own memory because series outlive the next call of Next.
func (s *seriesSet) group() {
	first, lset := s.pending, s.key
	s.read()
	if s.pending == nil || !labels.Equal(lset, s.key) {
		s.cur = first
		return
	}
	from := len(s.block)
	s.add(&from, first)
	for s.pending != nil && labels.Equal(lset, s.key) {
		s.add(&from, s.pending)
		s.read()
	}
	s.cur = &mergedSeries{replicas: s.block[from:len(s.block):len(s.block)]}
}

// add appends to the group that begins at from, moving it when the block is
// full.
func (s *seriesSet) add(from *int, series storage.ChunkSeries) {
	if len(s.block) == cap(s.block) {
		group := s.block[*from:]
		s.block = append(make([]storage.ChunkSeries, 0, replicaBlock+2*len(group)), group...)
		*from = 0
	}
	s.block = append(s.block, series)
}

// At returns the merged series, which may be read until the querier is closed.
func (s *seriesSet) At() storage.ChunkSeries { return s.cur }

func (s *seriesSet) Err() error { return s.inner.Err() }

func (s *seriesSet) Warnings() annotations.Annotations { return s.inner.Warnings() }
