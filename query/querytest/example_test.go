package querytest_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/varve-tsdb/varve/query/querytest"
)

// A backend's test stores the data and hands over the backend; the suite does
// the rest.
func ExampleRun() {
	_ = func(t *testing.T) {
		querytest.Run(t, querytest.Options{}, func(t *testing.T, data querytest.Data) storage.ChunkQueryable {
			backend := querytest.NewModel(querytest.Data{}) // the backend under test
			for p := range data.ByTime() {
				stream := data.Streams[p.Stream]
				if err := backend.Append(stream.External, stream.Series[p.Series].Labels, p.Sample); err != nil {
					t.Fatal(err)
				}
			}
			return backend
		})
	}
}

// A Model stands in for a store where a test needs a few series.
func ExampleModel() {
	m := querytest.NewModel(querytest.Data{})
	external := labels.FromStrings("cluster", "eu")
	for i := range int64(3) {
		sample := querytest.Sample{T: i * 1000, Float: float64(i)}
		if err := m.Append(external, labels.FromStrings("__name__", "up"), sample); err != nil {
			panic(err)
		}
	}
	q, err := m.ChunkQuerier(0, 1500) // inclusive
	if err != nil {
		panic(err)
	}
	defer q.Close()
	set := q.Select(context.Background(), true, nil, labels.MustNewMatcher(labels.MatchEqual, "cluster", "eu"))
	for set.Next() {
		it := set.At().Iterator(nil)
		for it.Next() {
			list, _ := querytest.ReadSamples(it.At().Chunk.Iterator(nil))
			fmt.Println(set.At().Labels(), list)
		}
	}
	// Output: {__name__="up", cluster="eu"} [0(0x0)@0 1(0x3ff0000000000000)@1000 2(0x4000000000000000)@2000]
}
