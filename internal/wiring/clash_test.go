package wiring

import (
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/varve-tsdb/varve/dedup"
	"github.com/varve-tsdb/varve/query"
)

// TestWrittenLabelsOfExternalNames: senders may write labels that have the name
// of an external label. What they tell apart is one series for readers, the
// same whichever way it went.
func TestWrittenLabelsOfExternalNames(t *testing.T) {
	start := time.UnixMilli(1_700_000_000_000)
	var written batch
	for i := range int64(10) { // in turns, so that neither series has all
		id := []string{"x", "y"}[i%2]
		written = append(written, sample{labels: labels.FromStrings("__name__", "m_total", "tenant_id", id), t: start.UnixMilli() + i*15_000, v: float64(i * 15)})
	}
	engine, err := query.NewEngine(query.EngineOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for name, wire := range wirings {
		t.Run(name, func(t *testing.T) {
			source, done := wire(t, map[string][]batch{"a": {written}})
			defer done()
			fanout := query.NewFanout([]storage.ChunkQueryable{source}, query.FanoutOptions{})
			for reader, read := range map[string]storage.ChunkQueryable{
				"itself": source, "fan-out": fanout, "dedup": dedup.New(fanout, dedup.Options{ReplicaLabels: []string{"zzz_replica"}}),
			} {
				for expr, want := range map[string]float64{"count(m_total)": 1, "sum(count_over_time(m_total[5m]))": 10, "round(sum(rate(m_total[2m])), 0.01)": 1} {
					q, err := engine.NewInstantQuery(t.Context(), query.Samples(read), nil, expr, start.Add(135*time.Second))
					if err != nil {
						t.Fatal(err)
					}
					got, err := q.Exec(t.Context()).Vector()
					if err != nil || len(got) != 1 || got[0].F != want {
						t.Errorf("%s: %s: %v, %v; want %v", reader, expr, got, err, want)
					}
					q.Close()
				}
			}
		})
	}
}
