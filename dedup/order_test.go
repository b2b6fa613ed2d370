package dedup_test

import (
	"context"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/varve-tsdb/varve/dedup"
	"github.com/varve-tsdb/varve/query/querytest"
)

// sorting is a source that sorts without labels itself, and counts how far it is
// read.
type sorting struct {
	storage.ChunkQueryable
	without []string
	read    int
}

type sortingQuerier struct {
	storage.ChunkQuerier
	s *sorting
}

type sortingSet struct {
	storage.ChunkSeriesSet
	s *sorting
}

func (s *sorting) ChunkQuerierWithout(mint, maxt int64, without []string) (storage.ChunkQuerier, error) {
	s.without = without
	type sorter interface {
		ChunkQuerierWithout(mint, maxt int64, without []string) (storage.ChunkQuerier, error)
	}
	q, err := s.ChunkQueryable.(sorter).ChunkQuerierWithout(mint, maxt, without)
	return sortingQuerier{q, s}, err
}

func (q sortingQuerier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.ChunkSeriesSet {
	return sortingSet{q.ChunkQuerier.Select(ctx, sorted, hints, matchers...), q.s}
}

func (s sortingSet) Next() bool { s.s.read++; return s.ChunkSeriesSet.Next() }

// A source that can sort without replica labels is not read ahead of the series
// that are asked for.
func TestSourceThatSortsIsNotBuffered(t *testing.T) {
	source := &sorting{ChunkQueryable: querytest.NewModel(pair(100))}
	q := openQuerier(t, dedup.New(source, dedup.Options{ReplicaLabels: []string{"replica"}}))
	set := q.Select(context.Background(), true, nil, all)
	for i := range 3 {
		if !set.Next() || source.read != 2*(i+1)+1 {
			t.Fatalf("%d series of the source read for %d of pairs, error %v", source.read, i+1, set.Err())
		}
	}
	if !slices.Equal(source.without, []string{"replica"}) {
		t.Errorf("asked to be sorted without %v", source.without)
	}
}
