package dedup_test

import (
	"context"
	"fmt"
	"math"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/varve-tsdb/varve/dedup"
	"github.com/varve-tsdb/varve/query/querytest"
)

// Two replicas of a series, the first of which missed a while.
func ExampleNew() {
	first := []querytest.Sample{{T: 0, Float: 1}, {T: 15_000, Float: 2}, {T: 60_000, Float: 5}}
	second := []querytest.Sample{{T: 8_000, Float: 1}, {T: 23_000, Float: 2}, {T: 38_000, Float: 3}, {T: 53_000, Float: 4}}
	var data querytest.Data
	for i, samples := range [][]querytest.Sample{first, second} {
		data.Streams = append(data.Streams, querytest.Stream{
			External: labels.FromStrings("replica", fmt.Sprint(i)),
			Series:   []querytest.Series{{Labels: labels.FromStrings(model.MetricNameLabel, "up"), Samples: samples}},
		})
	}
	var source storage.ChunkQueryable = querytest.NewModel(data)

	one := dedup.New(source, dedup.Options{ReplicaLabels: []string{"replica"}})
	q, err := one.ChunkQuerier(0, math.MaxInt64)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer q.Close()
	up := labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, "up")
	set := storage.NewSeriesSetFromChunkSeriesSet(q.Select(context.Background(), true, nil, up))
	for set.Next() {
		fmt.Println(set.At().Labels())
		it := set.At().Iterator(nil)
		for it.Next() != 0 {
			fmt.Println(it.At())
		}
	}
	// Output:
	// {__name__="up"}
	// 0 1
	// 15000 2
	// 23000 2
	// 38000 3
	// 53000 4
}

// Merge is what a compaction gets as its merge function.
func ExampleMerge() {
	var merge storage.VerticalChunkSeriesMergeFunc = dedup.Merge
	fmt.Println(merge() == nil)
	// Output: true
}
