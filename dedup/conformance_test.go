package dedup_test

import (
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/varve-tsdb/varve/dedup"
	"github.com/varve-tsdb/varve/query/querytest"
)

// copies returns data with each stream there n times, told apart by a label.
func copies(data querytest.Data, name string, n int) querytest.Data {
	var out querytest.Data
	for _, stream := range data.Streams {
		for i := range n {
			s := stream
			b := labels.NewBuilder(stream.External)
			s.External = b.Set(name, string(rune('a'+i))).Labels()
			out.Streams = append(out.Streams, s)
		}
	}
	return out
}

// plain hides the optional interfaces of a source.
type plain struct{ storage.ChunkQueryable }

func TestConformance(t *testing.T) {
	// One label sorts before all others, one after, so that removing them
	// changes the order in both ways.
	for _, name := range []string{"__replica__", "zz_replica"} {
		t.Run(name, func(t *testing.T) {
			querytest.Run(t, querytest.Options{Exemplars: true, Metadata: true}, func(_ *testing.T, data querytest.Data) storage.ChunkQueryable {
				model := querytest.NewModel(copies(data, name, 2))
				return dedup.New(model, dedup.Options{ReplicaLabels: []string{name}})
			})
		})
	}
}

func TestConformanceOverPlainSource(t *testing.T) {
	querytest.Run(t, querytest.Options{}, func(_ *testing.T, data querytest.Data) storage.ChunkQueryable {
		model := querytest.NewModel(copies(data, "replica_of", 3))
		one := dedup.New(plain{model}, dedup.Options{ReplicaLabels: []string{"replica_of"}})
		return plain{one}
	})
}
