package query

import (
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

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
