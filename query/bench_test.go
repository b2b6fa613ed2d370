package query

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/varve-tsdb/varve/query/querytest"
)

// BenchmarkFanout reads 500 series of 1,000 samples through the engine: from one
// source, as the floor, and from two that hold the same chunks, halves in time,
// or the same samples cut differently.
func BenchmarkFanout(b *testing.B) {
	const count = 1000
	part := func(from, to int) *querytest.Model {
		m := querytest.NewModel(querytest.Data{})
		for s := range 500 {
			lset := labels.FromStrings("__name__", "m", "instance", fmt.Sprint(s))
			for i := from; i < to; i++ {
				if err := m.Append(labels.EmptyLabels(), lset, querytest.Sample{T: int64(i) * 15000, Float: float64(i * s)}); err != nil {
					b.Fatal(err)
				}
			}
		}
		return m
	}
	whole := part(0, count)
	engine, err := NewEngine(EngineOptions{})
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		source storage.ChunkQueryable
	}{
		{"direct", whole},
		{"one", NewFanout(sources(whole), FanoutOptions{})},
		{"same chunks", NewFanout(sources(whole, whole), FanoutOptions{})},
		{"halves", NewFanout(sources(part(0, count/2), part(count/2, count)), FanoutOptions{})},
		{"cut differently", NewFanout(sources(whole, part(50, count)), FanoutOptions{})},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				q, err := engine.NewRangeQuery(b.Context(), Samples(c.source), nil, "sum(rate(m[5m]))",
					time.UnixMilli(0), time.UnixMilli(count*15000), time.Minute)
				if err != nil {
					b.Fatal(err)
				}
				if res := q.Exec(b.Context()); res.Err != nil {
					b.Fatal(res.Err)
				}
				q.Close()
			}
		})
	}
}
