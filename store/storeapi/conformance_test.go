package storeapi

import (
	"testing"

	"github.com/prometheus/prometheus/storage"

	"github.com/varve-tsdb/varve/query/querytest"
)

// bare hides the optional interfaces of a source.
type bare struct{ source storage.ChunkQueryable }

func (b bare) ChunkQuerier(mint, maxt int64) (storage.ChunkQuerier, error) {
	return b.source.ChunkQuerier(mint, maxt)
}

// streams hides all but one.
type streams struct {
	bare
	streamer
}

func TestConformance(t *testing.T) {
	for name, c := range map[string]struct {
		way    way
		hide   func(*querytest.Model) storage.ChunkQueryable
		extras bool
	}{
		"as it is":             {extras: true},
		"snappy":               {way: snappy(), extras: true},
		"one series a message": {way: way{client: ClientOptions{BatchSize: 1}}},
		"a source without ChunkQuerierWithout": {hide: func(m *querytest.Model) storage.ChunkQueryable {
			return streams{bare{m}, m}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			querytest.Run(t, querytest.Options{Exemplars: c.extras, Metadata: c.extras}, func(t *testing.T, data querytest.Data) storage.ChunkQueryable {
				var source storage.ChunkQueryable = querytest.NewModel(data)
				if c.hide != nil {
					source = c.hide(source.(*querytest.Model))
				}
				return over(t, source, c.way)
			})
		})
	}
}
