package wiring

import (
	"math"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"

	"github.com/varve-tsdb/varve/dedup"
	"github.com/varve-tsdb/varve/internal/blocktest"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
	"github.com/varve-tsdb/varve/query"
	"github.com/varve-tsdb/varve/store"
)

// downsampledQueries are asked at the ends of windows, where what is added up is
// the same at every resolution. An average of averages is not, where resolutions meet, nor
// is how far a rate is extrapolated, which the engine makes of the distance between
// samples; off says by which part an answer may differ.
var downsampledQueries = []struct {
	query string
	off   float64
}{
	{`sum_over_time(gauge[2h])`, 1e-9},
	{`min_over_time(gauge[2h])`, 1e-9},
	{`max_over_time(gauge[3h])`, 1e-9},
	{`max(max_over_time(gauge[2h])) - min(min_over_time(gauge[2h]))`, 1e-9},
	{`max_over_time(counter[2h])`, 1e-9},
	{`histogram_count(sum_over_time(native[2h]))`, 1e-9},
	{`count(gauge)`, 1e-9},
	{`avg_over_time(gauge[2h])`, 0.02},
	{`rate(counter[6h])`, 0.2},
	{`sum(increase(counter[8h]))`, 0.2},
	{`histogram_count(rate(native[6h]))`, 0.2},
	{`histogram_sum(increase(native[6h]))`, 0.2},
	{`sum(increase(resetting[8h]))`, 0.2},
	{`histogram_quantile(0.9, sum(rate(native[6h])))`, 0.01},
}

const (
	dayMillis  = int64(24 * time.Hour / time.Millisecond)
	hourMillis = int64(time.Hour / time.Millisecond)
)

// stored is a block to put into a bucket.
type stored struct{ from, to, resolution int64 }

// TestDownsampledAnswers puts an HA pair into buckets of various resolutions and
// asks through deduplication what raw blocks are asked, too.
func TestDownsampledAnswers(t *testing.T) {
	engine := newEngine(t, 0)
	raw := stored{0, 2 * dayMillis, 0}
	open := func(t *testing.T, blocks []stored) *store.Bucket {
		bkt := objstoretest.NewMemory()
		for _, b := range blocks {
			for _, replica := range []string{"1", "2"} {
				block := blocktest.Block{
					MinTime: b.from, MaxTime: b.to, Resolution: b.resolution, SamplesPerChunk: 17,
					External: labels.FromStrings("zzz_replica", replica), Series: evenSeries(b.from, b.to),
				}
				if b.resolution == 0 {
					blocktest.Put(t, bkt, block)
				} else {
					blocktest.PutDownsampled(t, bkt, block)
				}
			}
		}
		return bucketOf(t, bkt)
	}
	remote := func(t *testing.T, source storage.ChunkQueryable) storage.ChunkQueryable {
		far, end := remoteOf(t, source, false)
		t.Cleanup(end)
		return far
	}
	// What is far is behind gRPC: nothing, each bucket, or the fan-out over all.
	ask := func(t *testing.T, far string, most time.Duration, sources ...[]stored) map[string]promql.Matrix {
		var all []storage.ChunkQueryable
		for _, blocks := range sources {
			var source storage.ChunkQueryable = open(t, blocks)
			if far == "each" {
				source = remote(t, source)
			}
			all = append(all, source)
		}
		var fanout storage.ChunkQueryable = query.NewFanout(all, query.FanoutOptions{})
		if far == "all" {
			fanout = remote(t, fanout)
		}
		one := query.Samples(dedup.New(fanout, dedup.Options{ReplicaLabels: []string{"zzz_replica"}}))
		ctx := query.WithReadOptions(t.Context(), query.ReadOptions{MaxResolution: most})
		answers := map[string]promql.Matrix{}
		for _, c := range downsampledQueries {
			q := c.query
			q1, err := engine.NewRangeQuery(ctx, one, promql.NewPrometheusQueryOpts(false, time.Hour), q,
				time.UnixMilli(8*hourMillis-1), time.UnixMilli(2*dayMillis-1), time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			defer q1.Close()
			result := q1.Exec(ctx)
			if answers[q], err = result.Matrix(); err != nil {
				t.Fatalf("%s: %v", q, err)
			}
		}
		return answers
	}
	want := ask(t, "", 0, []stored{raw})
	for name, c := range map[string]struct {
		most   time.Duration
		blocks []stored
		others []stored // in another bucket
	}{
		"5m":                         {5 * time.Minute, []stored{{0, 2 * dayMillis, blocktest.FiveMinutes}}, nil},
		"1h":                         {time.Hour, []stored{{0, 2 * dayMillis, blocktest.OneHour}}, nil},
		"all there, 5m asked for":    {5 * time.Minute, []stored{raw, {0, 2 * dayMillis, blocktest.FiveMinutes}, {0, 2 * dayMillis, blocktest.OneHour}}, nil},
		"raw asked for, 5m left":     {0, []stored{{0, dayMillis, blocktest.FiveMinutes}, {dayMillis, 2 * dayMillis, 0}}, nil},
		"1h, then 5m, then raw":      {time.Hour, []stored{{0, dayMillis, blocktest.OneHour}, {0, dayMillis + 6*hourMillis, blocktest.FiveMinutes}, raw}, nil},
		"raw, then 5m":               {time.Hour, []stored{{0, dayMillis, 0}, {dayMillis, 2 * dayMillis, blocktest.FiveMinutes}}, nil},
		"5m with a hole, raw below":  {time.Hour, []stored{{0, dayMillis, blocktest.FiveMinutes}, {dayMillis + 10*hourMillis, 2 * dayMillis, blocktest.FiveMinutes}, raw}, nil},
		"1h with a hole, 5m below":   {time.Hour, []stored{{0, dayMillis, blocktest.OneHour}, {dayMillis + 10*hourMillis, 2 * dayMillis, blocktest.OneHour}, {0, 2 * dayMillis, blocktest.FiveMinutes}}, nil},
		"5m, raw elsewhere":          {5 * time.Minute, []stored{{0, dayMillis, blocktest.FiveMinutes}}, []stored{{dayMillis, 2 * dayMillis, 0}}},
		"5m, the same raw elsewhere": {time.Hour, []stored{{0, 2 * dayMillis, blocktest.FiveMinutes}}, []stored{{dayMillis / 2, 2 * dayMillis, 0}}},
		"1h, 5m elsewhere":           {time.Hour, []stored{{0, dayMillis, blocktest.OneHour}}, []stored{{dayMillis / 2, 2 * dayMillis, blocktest.FiveMinutes}}},
	} {
		t.Run(name, func(t *testing.T) {
			sources := [][]stored{c.blocks}
			if c.others != nil {
				sources = append(sources, c.others)
			}
			near := ask(t, "", c.most, sources...)
			for _, q := range downsampledQueries {
				compareMatrices(t, q.query, q.off, want[q.query], near[q.query])
			}
			// By gRPC the answer is the same, however far it is from the truth.
			for _, far := range []string{"each", "all"} {
				got := ask(t, far, c.most, sources...)
				for _, q := range downsampledQueries {
					compareMatrices(t, far+" "+q.query, 1e-9, near[q.query], got[q.query])
				}
			}
		})
	}
}

func compareMatrices(t *testing.T, q string, off float64, want, got promql.Matrix) {
	t.Helper()
	if len(want) == 0 || len(got) != len(want) {
		t.Errorf("%s: %d series, want %d", q, len(got), len(want))
		return
	}
	for i, w := range want {
		g := got[i]
		if !labels.Equal(w.Metric, g.Metric) || len(w.Floats) == 0 || len(g.Floats) != len(w.Floats) {
			t.Errorf("%s: %s has %d points, want %s with %d", q, g.Metric, len(g.Floats), w.Metric, len(w.Floats))
			continue
		}
		for j, p := range w.Floats {
			if o := g.Floats[j]; o.T != p.T || math.Abs(o.F-p.F) > off*math.Abs(p.F) {
				t.Errorf("%s: %s is %v at %d, want %v at %d", q, w.Metric, o.F, o.T, p.F, p.T)
				break
			}
		}
	}
}

// evenSeries are scraped each minute, the last time in each hour just before its
// end.
func evenSeries(from, to int64) []blocktest.Series {
	const interval = int64(60_000)
	series := func(name string, sample func(t, i int64) blocktest.Sample) blocktest.Series {
		return blocktest.Series{Labels: labels.FromStrings("__name__", name), Samples: blocktest.Samples(from+interval-1, to, interval, func(t, _ int64) blocktest.Sample {
			return sample(t, t/interval)
		})}
	}
	return []blocktest.Series{
		series("gauge", func(t, i int64) blocktest.Sample { return blocktest.Float(t, float64(i*7919%1000)) }),
		series("counter", func(t, i int64) blocktest.Sample { return blocktest.Float(t, float64(1000+5*i)) }),
		series("resetting", func(t, i int64) blocktest.Sample { return blocktest.Float(t, float64(3*(i%500))) }),
		series("native", blocktest.Histogram),
	}
}
