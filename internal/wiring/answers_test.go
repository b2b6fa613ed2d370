package wiring

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"

	"github.com/varve-tsdb/varve/dedup"
	"github.com/varve-tsdb/varve/query"
	"github.com/varve-tsdb/varve/query/querytest"
)

// queries touch every kind of sample, stale markers, gaps, block boundaries,
// and labels that were never written but come from the stream.
var queries = []string{
	`gauge`,
	`counter{tenant_id="one"}`,
	`sum by (tenant_id) (rate(counter[5m]))`,
	`increase(counter[1h]) or absent(nothing{varve_region="eu"})`,
	`max_over_time(gauge[30m]) - min_over_time(gauge[30m])`,
	`sum by (of) (count_over_time({__name__=~".+"}[10m]))`,
	`resets(counter[2h])`,
	`changes(gauge[1h] offset 7m)`,
	`integers`,
	`rate(integers[10m])`,
	`histogram_quantile(0.9, sum by (varve_region) (rate(integers[10m])))`,
	`floats`,
	`histogram_count(floats)`,
	`custom`,
	`histogram_quantile(0.5, rate(custom[10m]))`,
	`histogram_avg(gauges)`,
	`mixed`,
	`count({__name__=~"gauge|counter", tenant_id!="two"}) by (varve_region)`,
	`stale`,
	`last_over_time(stale[20m])`,
	`quantile_over_time(0.3, gauge[15m:20s])`,
	`gauge{series=~"1|2", tenant_id=~"one|two"} > 10`,
}

func TestSameSamplesSameAnswers(t *testing.T) {
	tenants := testSamples()
	engine := newEngine(t, 0)
	for _, without := range []struct {
		name   string
		labels []string
	}{{"as stored", nil}, {"deduplicated", []string{"zzz_replica", "tenant_id"}}} {
		t.Run(without.name, func(t *testing.T) {
			ask := func(source storage.ChunkQueryable, q string) string {
				one := dedup.New(source, dedup.Options{ReplicaLabels: without.labels})
				rangeQuery, err := engine.NewRangeQuery(t.Context(), query.Samples(one), nil, q,
					time.UnixMilli(0), time.UnixMilli(testEnd), 7*time.Minute)
				if err != nil {
					t.Fatal(err)
				}
				defer rangeQuery.Close()
				result := rangeQuery.Exec(context.Background())
				if result.Err != nil {
					t.Fatalf("%s: %v", q, result.Err)
				}
				return result.String()
			}
			model := testModel(tenants)
			want := map[string]string{}
			for _, q := range queries {
				want[q] = ask(model, q)
				if want[q] == "" {
					t.Fatalf("%s selects nothing: it tests nothing", q)
				}
			}
			for name, wire := range wirings {
				t.Run(name, func(t *testing.T) {
					source, release := wire(t, tenants)
					defer release()
					for _, q := range queries {
						if d := cmp.Diff(want[q], ask(source, q)); d != "" {
							t.Errorf("%s (-want +got):\n%s", q, d)
						}
					}
				})
			}
		})
	}
}

// The samples span more than two blocks.
const (
	testInterval = int64(60_000)
	testEnd      = int64(50 * time.Hour / time.Millisecond)
)

func testSamples() map[string][]batch {
	tenants := map[string][]batch{}
	for i, tenant := range []string{"one", "two", "three"} {
		rnd := rand.New(rand.NewPCG(1, uint64(i)))
		for t := int64(0); t < testEnd; t += 4 * time.Hour.Milliseconds() {
			var b batch
			for u := t; u < t+4*time.Hour.Milliseconds() && u < testEnd; u += testInterval {
				b = append(b, samplesAt(tenant, u, rnd)...)
			}
			tenants[tenant] = append(tenants[tenant], b)
		}
	}
	return tenants
}

// samplesAt makes one scrape. Values are whole, so that sums do not depend on
// the order of series. The tenants have series of their own, since equal ones
// would be replicas.
func samplesAt(tenant string, t int64, rnd *rand.Rand) (b batch) {
	add := func(s sample, name string, more ...string) {
		s.labels = labels.FromStrings(append([]string{"__name__", name, "of", tenant}, more...)...)
		s.t = t
		b = append(b, s)
	}
	n := t / testInterval
	for i := range 3 {
		add(sample{v: float64(rnd.IntN(100))}, "gauge", "series", fmt.Sprint(i))
	}
	if n%97 > 10 {
		add(sample{v: float64(n % 1000)}, "counter")
	}
	switch n % 40 {
	case 0, 1, 2, 3, 4, 5, 6, 7:
		add(sample{v: 1}, "stale")
	case 8:
		add(sample{v: math.Float64frombits(value.StaleNaN)}, "stale")
	}
	integers := integerHistogram(n)
	add(sample{h: integers}, "integers")
	add(sample{fh: integers.ToFloat(nil)}, "floats")
	gauge := integerHistogram(int64(rnd.IntN(50)))
	gauge.CounterResetHint = histogram.GaugeType
	add(sample{h: gauge}, "gauges")
	add(sample{h: customHistogram(n)}, "custom")
	if n%20 < 10 {
		add(sample{v: float64(n)}, "mixed")
	} else {
		add(sample{h: integers}, "mixed")
	}
	return b
}

func integerHistogram(n int64) *histogram.Histogram {
	n %= 2000 // A reset now and then.
	return &histogram.Histogram{
		Schema: 1, ZeroThreshold: 0.001, ZeroCount: uint64(n), Count: uint64(5*n + 3), Sum: float64(10 * n),
		PositiveSpans:   []histogram.Span{{Offset: 0, Length: 2}, {Offset: 3, Length: 1}},
		PositiveBuckets: []int64{n, 1, -1},
		NegativeSpans:   []histogram.Span{{Offset: 1, Length: 1}},
		NegativeBuckets: []int64{n + 2},
	}
}

func customHistogram(n int64) *histogram.Histogram {
	return &histogram.Histogram{
		Schema: histogram.CustomBucketsSchema, Count: uint64(2*n + 1), Sum: float64(n),
		PositiveSpans:   []histogram.Span{{Offset: 0, Length: 2}},
		PositiveBuckets: []int64{n, 1},
		CustomValues:    []float64{0.5, 1, 2.5},
	}
}

// testModel holds what a reader should see.
func testModel(tenants map[string][]batch) *querytest.Model {
	model := querytest.NewModel(querytest.Data{})
	for tenant, batches := range tenants {
		stream := labels.NewBuilder(external).Set("tenant_id", tenant).Labels()
		for _, b := range batches {
			for _, s := range b {
				if err := model.Append(stream, s.labels, querytest.Sample{T: s.t, Float: s.v, Histogram: s.h, FloatHistogram: s.fh}); err != nil {
					panic(err)
				}
			}
		}
	}
	return model
}
