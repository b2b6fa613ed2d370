package extlabels

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/varve-tsdb/varve/internal/readcost"
)

// shown is a series that says what it takes and shows its samples.
type shown struct{ storage.ChunkSeries }

func (shown) Samples(_, _ int64) (chunkenc.Iterable, error) { return nil, errShown }

var errShown = errors.New("shown")

// heavy is a series that says what it takes.
type heavy struct{ storage.ChunkSeries }

const heavyMemory = 1 << 20

func (heavy) Memory() int64 { return heavyMemory }

// wrappedQuerier has its series wrapped.
type wrappedQuerier struct {
	storage.ChunkQuerier
	wrap func(storage.ChunkSeries) storage.ChunkSeries
}

func (q wrappedQuerier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, ms ...*labels.Matcher) storage.ChunkSeriesSet {
	return wrappedSet{q.ChunkQuerier.Select(ctx, sorted, hints, ms...), q.wrap}
}

type wrappedSet struct {
	storage.ChunkSeriesSet
	wrap func(storage.ChunkSeries) storage.ChunkSeries
}

func (s wrappedSet) At() storage.ChunkSeries { return s.wrap(s.ChunkSeriesSet.At()) }

// numbered are series that are told apart by replica and instance.
func numbered(n int) *listQuerier {
	q := &listQuerier{}
	for i := range n {
		q.series = append(q.series, labels.FromStrings("replica", "a", "instance", fmt.Sprint(i), "zone", "1"))
	}
	return q
}

func openCost(tb testing.TB) (*readcost.Budget, context.Context) {
	tb.Helper()
	budget, err := readcost.NewBudget(readcost.BudgetOptions{})
	if err != nil {
		tb.Fatal(err)
	}
	cost := budget.Open()
	tb.Cleanup(cost.Close)
	return budget, readcost.With(tb.Context(), cost)
}

// However often series are given other labels on their way, those that are
// collected count with their chunks, and once.
func TestCollectedSeriesCountOnce(t *testing.T) {
	const n = 10
	weigh := func(s storage.ChunkSeries) storage.ChunkSeries { return heavy{s} }
	for name, q := range map[string]storage.ChunkQuerier{
		"collected twice": NewChunkQuerier(
			NewChunkQuerier(wrappedQuerier{numbered(n), weigh}, labels.EmptyLabels(), []string{"replica"}), labels.EmptyLabels(), []string{"zone"}),
		"streamed before": NewChunkQuerier(
			NewChunkQuerier(wrappedQuerier{numbered(n), weigh}, labels.FromStrings("cluster", "eu"), nil), labels.EmptyLabels(), []string{"replica"}),
	} {
		t.Run(name, func(t *testing.T) {
			budget, ctx := openCost(t)
			set := q.Select(ctx, true, nil)
			for i := range n {
				if !set.Next() {
					t.Fatalf("after %d series: %v", i, set.Err())
				}
				left := int64(n - 1 - i)
				if used := budget.InUse(); used < left*heavyMemory || used > left*(heavyMemory+4096) {
					t.Errorf("%d bytes are in use for %d series of %d", used, left, heavyMemory)
				}
			}
		})
	}
}

// A source that fails leaves no charge behind: the read may go on without it.
func TestChargesGoWithTheSource(t *testing.T) {
	inner := numbered(10)
	inner.err = errors.New("broken")
	budget, ctx := openCost(t)
	set := NewChunkQuerier(inner, labels.EmptyLabels(), []string{"replica"}).Select(ctx, true, nil)
	if set.Next() || !errors.Is(set.Err(), inner.err) {
		t.Fatalf("got %v", set.Err())
	}
	if used := budget.InUse(); used != 0 {
		t.Errorf("%d bytes are still in use", used)
	}
}

// A series that shows its samples does so under other labels, too, and one that
// does not claims nothing.
func TestSamplesShowThroughLabels(t *testing.T) {
	for name, q := range map[string]func(storage.ChunkQuerier) storage.ChunkQuerier{
		"collected": func(q storage.ChunkQuerier) storage.ChunkQuerier {
			return NewChunkQuerier(q, labels.EmptyLabels(), []string{"replica"})
		},
		"streamed": func(q storage.ChunkQuerier) storage.ChunkQuerier {
			return NewChunkQuerier(q, labels.FromStrings("cluster", "eu"), nil)
		},
		"tagged": func(q storage.ChunkQuerier) storage.ChunkQuerier {
			return NewChunkQuerier(q, labels.FromStrings("cluster", "eu"), []string{"cluster"})
		},
	} {
		for _, shows := range []bool{true, false} {
			set := q(wrappedQuerier{numbered(2), func(s storage.ChunkSeries) storage.ChunkSeries {
				if shows {
					return shown{s}
				}
				return s
			}}).Select(t.Context(), true, nil)
			for set.Next() {
				direct, ok := set.At().(sampled)
				if ok != shows {
					t.Errorf("%s: the series shows its samples: %v, want %v", name, ok, shows)
				}
				if ok {
					if _, err := direct.Samples(0, 1); !errors.Is(err, errShown) {
						t.Errorf("%s: the samples are those of another: %v", name, err)
					}
				}
				if _, ok := set.At().(interface {
					Removed() (labels.Labels, bool)
				}); !ok {
					t.Errorf("%s: the series no longer says what it has lost", name)
				}
			}
			if set.Err() != nil {
				t.Error(set.Err())
			}
		}
	}
}
