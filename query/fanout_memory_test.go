package query

import (
	"context"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/varve-tsdb/varve/internal/sortedsets"
	"github.com/varve-tsdb/varve/query/querytest"
)

// heavySource has series that say what they take.
type heavySource struct{ storage.ChunkQueryable }

func (s heavySource) ChunkQuerier(mint, maxt int64) (storage.ChunkQuerier, error) {
	q, err := s.ChunkQueryable.ChunkQuerier(mint, maxt)
	return heavyQuerier{q}, err
}

type heavyQuerier struct{ storage.ChunkQuerier }

func (q heavyQuerier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, ms ...*labels.Matcher) storage.ChunkSeriesSet {
	return heavySet{q.ChunkQuerier.Select(ctx, sorted, hints, ms...)}
}

type heavySet struct{ storage.ChunkSeriesSet }

func (s heavySet) At() storage.ChunkSeries { return heavySeries{s.ChunkSeriesSet.At()} }

type heavySeries struct{ storage.ChunkSeries }

const heavyMemory = 1 << 20

func (heavySeries) Memory() int64 { return heavyMemory }

// A series of several sources takes what it takes in all of them.
func TestSeriesOfAFanoutSayWhatTheyTake(t *testing.T) {
	data := querytest.Kinds(querytest.DefaultExternal()[0])
	f := NewFanout([]storage.ChunkQueryable{heavySource{querytest.NewModel(data)}, heavySource{querytest.NewModel(data)}}, FanoutOptions{})
	q, err := f.ChunkQuerier(querytest.Start, querytest.End)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	set := q.Select(t.Context(), true, nil, labels.MustNewMatcher(labels.MatchRegexp, "__name__", ".+"))
	n := 0
	for set.Next() {
		n++
		if got := sortedsets.Memory(set.At()); got != 2*heavyMemory {
			t.Fatalf("%s: two parts of %d bytes say they take %d", set.At().Labels(), heavyMemory, got)
		}
	}
	if n == 0 || set.Err() != nil {
		t.Errorf("%d series, %v", n, set.Err())
	}
}
