package oracle

import (
	"fmt"
	"math"
	"testing"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
)

// The samples are from firstTime to lastTime, a multiple of step apart, in ms.
const (
	firstTime = int64(1_700_000_000_000)
	lastTime  = firstTime + 2*3600_000
	step      = int64(30_000)
)

// fill appends series of all kinds. They come in the order of their labels,
// since Prometheus answers an instant query in the order in which its head
// first saw them. Values are multiples of 1/8, of which sums are exact in
// whatever order.
func fill(t *testing.T, db *tsdb.DB) {
	t.Helper()
	var all []seriesData
	add := func(name string, at func(i int64) point, pairs ...string) {
		all = append(all, seriesData{labels.FromStrings(append([]string{"__name__", name}, pairs...)...), at})
	}
	for _, job := range []string{"api", "db", "we\"ird\\ <&>\u2028 ü"} {
		for n := range 3 {
			k := int64(n)
			instance := fmt.Sprintf("host-%d:9090", n)
			add("up", func(i int64) point { return point{v: float64(min(1, (i+k)%7))} }, "job", job, "instance", instance)
			add("requests_total", func(i int64) point { return point{v: float64((i%120)*8+k) / 8} }, "job", job, "instance", instance, "code", fmt.Sprint(200+100*n))
			add("temperature", func(i int64) point { return point{v: float64((i*37+k*11)%200-100) / 8} }, "job", job, "instance", instance)
		}
	}
	for _, le := range []string{"0.5", "1", "2.5", "+Inf"} {
		add("latency_bucket", func(i int64) point { return point{v: float64(i * int64(len(le)))} }, "le", le, "job", "api")
	}
	add("odd", func(i int64) point {
		return point{v: []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(0, -1), 1e300, 5e-324, 0.1}[i%7]}
	}, "kind", "values")
	add("gaps", func(i int64) point { return point{v: float64(i), none: i%40 > 20, stale: i%40 == 20} }, "job", "api")
	for n := range int64(2) {
		instance := fmt.Sprint(n)
		add("native", func(i int64) point { return point{h: tsdbutil.GenerateTestHistogram(i + n)} }, "instance", instance)
		add("native_float", func(i int64) point { return point{fh: tsdbutil.GenerateTestFloatHistogram(i + n)} }, "instance", instance)
		add("native_gauge", func(i int64) point { return point{h: tsdbutil.GenerateTestGaugeHistogram(i%50 + n)} }, "instance", instance)
		add("custom", func(i int64) point { return point{h: tsdbutil.GenerateTestCustomBucketsHistogram(i + n)} }, "instance", instance)
	}
	add("mixed", func(i int64) point {
		if i%60 < 30 {
			return point{v: float64(i)}
		}
		return point{h: tsdbutil.GenerateTestHistogram(i)}
	}, "job", "api")
	add("utf8.metric with blanks", func(i int64) point { return point{v: float64(i)} }, "label.with.dots", "x")
	sortSeries(all)
	for i := range (lastTime - firstTime) / step {
		appended(t, db, func(app storage.Appender) error { return appendAll(app, all, i) })
	}
}

type seriesData struct {
	labels labels.Labels
	at     func(i int64) point
}

type point struct {
	v           float64
	h           *histogram.Histogram
	fh          *histogram.FloatHistogram
	none, stale bool
}

func appendAll(app storage.Appender, all []seriesData, i int64) error {
	ts := firstTime + i*step
	for _, s := range all {
		p := s.at(i)
		var ref storage.SeriesRef
		var err error
		switch {
		case p.none:
			continue
		case p.stale:
			_, err = app.Append(0, s.labels, ts, math.Float64frombits(value.StaleNaN))
		case p.h != nil || p.fh != nil:
			_, err = app.AppendHistogram(0, s.labels, ts, p.h, p.fh)
		default:
			ref, err = app.Append(0, s.labels, ts, p.v)
		}
		if err == nil && i%10 == 0 && s.labels.Get("__name__") == "requests_total" {
			_, err = app.AppendExemplar(ref, s.labels, exemplar.Exemplar{Labels: labels.FromStrings("trace", fmt.Sprint(i)), Value: p.v, Ts: ts, HasTs: true})
		}
		if err != nil {
			return fmt.Errorf("%s at %d: %w", s.labels, ts, err)
		}
	}
	return nil
}
