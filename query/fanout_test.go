package query

import (
	"context"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/varve-tsdb/varve/internal/sortedsets"
	"github.com/varve-tsdb/varve/query/querytest"
)

// plain hides the optional interfaces of a source.
type plain struct{ source storage.ChunkQueryable }

func (p plain) ChunkQuerier(mint, maxt int64) (storage.ChunkQuerier, error) {
	return p.source.ChunkQuerier(mint, maxt)
}

func models(parts ...querytest.Data) []storage.ChunkQueryable {
	var list []storage.ChunkQueryable
	for _, p := range parts {
		list = append(list, querytest.NewModel(p))
	}
	return list
}

// TestFanoutConforms spreads the data over sources in many ways, none of which
// may show.
func TestFanoutConforms(t *testing.T) {
	const third = (querytest.End - querytest.Start) / 3
	spread := map[string]func(querytest.Data) []storage.ChunkQueryable{
		"one": func(d querytest.Data) []storage.ChunkQueryable { return models(d) },
		"overlapping": func(d querytest.Data) []storage.ChunkQueryable {
			return models(
				d.Between(querytest.Start, querytest.Start+2*third),
				d.Between(querytest.Start+third, querytest.End),
				d.Between(querytest.Start+third-777, querytest.Start+third+777),
			)
		},
		"copies": func(d querytest.Data) []storage.ChunkQueryable { return models(d, d, d) },
		"plain sources": func(d querytest.Data) []storage.ChunkQueryable {
			return []storage.ChunkQueryable{
				plain{querytest.NewModel(d.Between(querytest.Start, querytest.Start+third))},
				querytest.NewModel(d.Between(querytest.Start+third, querytest.End)),
			}
		},
		"nested, by stream": func(d querytest.Data) []storage.ChunkQueryable {
			first := func(ext labels.Labels) bool { return ext.Get("replica") == "1" }
			rest := func(ext labels.Labels) bool { return !first(ext) }
			return []storage.ChunkQueryable{
				NewFanout(models(d.Only(first)), FanoutOptions{}),
				NewFanout(models(d.Only(rest).Between(querytest.Start, querytest.Start+third), d.Only(rest).Between(querytest.Start+third, querytest.End)), FanoutOptions{}),
			}
		},
	}
	for name, sources := range spread {
		t.Run(name, func(t *testing.T) {
			opts := querytest.Options{Exemplars: name != "plain sources", Metadata: name != "plain sources"}
			querytest.Run(t, opts, func(_ *testing.T, data querytest.Data) storage.ChunkQueryable {
				f := NewFanout(sources(data), FanoutOptions{})
				if name == "plain sources" {
					return struct{ withoutStreams }{withoutStreams{f}}
				}
				return f
			})
		})
	}
}

// withoutStreams is a Fanout some source of which cannot tell its streams: what
// it says about streams then is more than the data.
type withoutStreams struct{ f *Fanout }

func (w withoutStreams) ChunkQuerier(mint, maxt int64) (storage.ChunkQuerier, error) {
	return w.f.ChunkQuerier(mint, maxt)
}

func (w withoutStreams) ChunkQuerierWithout(mint, maxt int64, without []string) (storage.ChunkQuerier, error) {
	return w.f.ChunkQuerierWithout(mint, maxt, without)
}

// repeating is a source that returns each series a number of times, against the
// contract.
type repeating struct {
	plain
	times int
}

func (r repeating) ChunkQuerier(mint, maxt int64) (storage.ChunkQuerier, error) {
	q, err := r.plain.ChunkQuerier(mint, maxt)
	return &repeatingQuerier{q, r.times}, err
}

type repeatingQuerier struct {
	storage.ChunkQuerier
	times int
}

func (r *repeatingQuerier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, ms ...*labels.Matcher) storage.ChunkSeriesSet {
	var sets []storage.ChunkSeriesSet
	for range r.times {
		sets = append(sets, r.ChunkQuerier.Select(ctx, sorted, hints, ms...))
	}
	return sortedsets.Join(sets...)
}

// TestFanoutHasEachSeriesOnce whatever a host's source thinks of it: of two
// equal series an engine makes an error.
func TestFanoutHasEachSeriesOnce(t *testing.T) {
	data := querytest.Many(1, querytest.DefaultExternal()...)
	model := plain{querytest.NewModel(data)}
	count := func(source storage.ChunkQueryable, without []string) (series, parts int) {
		var q storage.ChunkQuerier
		var err error
		if f, ok := source.(*Fanout); ok && without != nil {
			q, err = f.ChunkQuerierWithout(querytest.Start, querytest.End, without)
		} else {
			q, err = source.ChunkQuerier(querytest.Start, querytest.End)
		}
		if err != nil {
			t.Fatal(err)
		}
		defer q.Close()
		set := q.Select(t.Context(), true, nil, matchersOf(t, `{__name__=~".+"}`)...)
		for set.Next() {
			series++
			it := set.At().Iterator(nil)
			for it.Next() {
				parts++
			}
			if it.Err() != nil {
				t.Fatal(it.Err())
			}
		}
		if set.Err() != nil {
			t.Fatal(set.Err())
		}
		return series, parts
	}
	wantSeries, wantChunks := count(model, nil)
	for _, without := range [][]string{nil, {"replica"}} {
		for _, all := range [][]storage.ChunkQueryable{{repeating{model, 2}}, {model, repeating{model, 3}}} {
			if series, chunks := count(NewFanout(all, FanoutOptions{}), without); series != wantSeries || chunks != wantChunks {
				t.Errorf("%d sources without %v: %d series of %d chunks, want %d of %d", len(all), without, series, chunks, wantSeries, wantChunks)
			}
		}
	}
}
