package e2e

import (
	"fmt"
	"math/rand/v2"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// otlpGenerator makes requests of everything that a sender may send.
type otlpGenerator struct {
	rnd   *rand.Rand
	delta bool // some metrics are of delta temporality
	at    time.Time
	named int
}

func (g *otlpGenerator) request() pmetric.Metrics {
	md := pmetric.NewMetrics()
	for i := range 1 + g.rnd.IntN(3) {
		rm := md.ResourceMetrics().AppendEmpty()
		attrs := rm.Resource().Attributes()
		if g.rnd.IntN(4) > 0 {
			attrs.PutStr("service.name", fmt.Sprint("svc", i))
		}
		if g.rnd.IntN(2) > 0 {
			attrs.PutStr("service.namespace", "ns")
			attrs.PutInt("service.instance.id", int64(i))
		}
		attrs.PutStr("host.name", "h")
		attrs.PutStr("r.b", "1")
		attrs.PutStr("r_b", "2")
		for range 1 + g.rnd.IntN(2) {
			sm := rm.ScopeMetrics().AppendEmpty()
			if g.rnd.IntN(3) > 0 {
				sm.Scope().SetName("lib")
				sm.Scope().SetVersion("1")
				sm.SetSchemaUrl("https://schema")
				sm.Scope().Attributes().PutStr("mode.x", "y")
			}
			for range 1 + g.rnd.IntN(6) {
				g.metric(sm.Metrics().AppendEmpty())
			}
		}
	}
	return md
}

func (g *otlpGenerator) pick(from ...string) string { return from[g.rnd.IntN(len(from))] }

func (g *otlpGenerator) temporality() pmetric.AggregationTemporality {
	if g.delta && g.rnd.IntN(2) > 0 {
		return pmetric.AggregationTemporalityDelta
	}
	return pmetric.AggregationTemporalityCumulative
}

func (g *otlpGenerator) metric(m pmetric.Metric) {
	g.named++ // No two metrics of a request become one.
	m.SetName(fmt.Sprintf("%s%d%s", g.pick("http.requests", "9lives", "temp_", "a:b", "größe"), g.named, g.pick("", ".total", "_ratio", "_seconds", "_bucket")))
	m.SetUnit(g.pick("", "1", "s", "By", "By/s", "{req}", "Cel", "weird unit"))
	m.SetDescription(g.pick("", "What it is.", "grüße"))
	points := 1 + g.rnd.IntN(3)
	switch g.rnd.IntN(5) {
	case 0:
		g.numbers(m.SetEmptyGauge().DataPoints(), points)
	case 1:
		m.SetEmptySum().SetIsMonotonic(g.rnd.IntN(2) > 0)
		m.Sum().SetAggregationTemporality(g.temporality())
		g.numbers(m.Sum().DataPoints(), points)
	case 2:
		m.SetEmptyHistogram().SetAggregationTemporality(g.temporality())
		for i := range points {
			g.explicit(m.Histogram().DataPoints().AppendEmpty(), i)
		}
	case 3:
		m.SetEmptyExponentialHistogram().SetAggregationTemporality(g.temporality())
		for i := range points {
			g.exponential(m.ExponentialHistogram().DataPoints().AppendEmpty(), i)
		}
	case 4:
		m.SetEmptySummary()
		for i := range points {
			g.summary(m.Summary().DataPoints().AppendEmpty(), i)
		}
	}
}

// otlpPoint is what data points of all types have.
type otlpPoint interface {
	Attributes() pcommon.Map
	SetTimestamp(pcommon.Timestamp)
	SetStartTimestamp(pcommon.Timestamp)
	SetFlags(pmetric.DataPointFlags)
}

// common fills in what all points have. Some share a series, at other times.
func (g *otlpGenerator) common(p otlpPoint, i int) {
	p.SetTimestamp(pcommon.NewTimestampFromTime(g.at.Add(time.Duration(i) * g.step())))
	if g.rnd.IntN(2) > 0 {
		p.SetStartTimestamp(pcommon.NewTimestampFromTime(g.at.Add(-time.Minute)))
	}
	if g.rnd.IntN(6) == 0 {
		p.SetFlags(pmetric.DefaultDataPointFlags.WithNoRecordedValue(true))
	}
	attrs := p.Attributes()
	for range g.rnd.IntN(4) {
		key := g.pick("http.method", "http_method", "_private", "1st", "__reserved__", "le", "quantile", "größe", "job", "a..b", "instance")
		switch g.rnd.IntN(5) {
		case 0:
			attrs.PutInt(key, g.rnd.Int64())
		case 1:
			attrs.PutDouble(key, g.rnd.NormFloat64())
		case 2:
			attrs.PutBool(key, true)
		case 3:
			attrs.PutEmptySlice(key).AppendEmpty().SetStr("x")
		default:
			attrs.PutStr(key, g.pick("", "GET", "grün", "a;b"))
		}
	}
	// Two points of a metric are not of one series at one time.
	if g.rnd.IntN(2) > 0 {
		attrs.PutInt("point", int64(i))
	}
}

func (g *otlpGenerator) step() time.Duration {
	return []time.Duration{time.Second, time.Millisecond, 10 * time.Minute}[g.rnd.IntN(3)]
}

// exemplars adds some, but none to a point without a value: a head takes none
// with a stale marker, so Varve hands none on.
func (g *otlpGenerator) exemplars(flags pmetric.DataPointFlags, to pmetric.ExemplarSlice) {
	if flags.NoRecordedValue() {
		return
	}
	for i := range g.rnd.IntN(3) {
		e := to.AppendEmpty()
		e.SetTimestamp(pcommon.NewTimestampFromTime(g.at.Add(time.Duration(i) * time.Second)))
		e.SetDoubleValue(float64(i))
		if g.rnd.IntN(2) > 0 {
			e.SetTraceID([16]byte{1, byte(i)})
			e.SetSpanID([8]byte{2})
		}
		e.FilteredAttributes().PutStr("user", "u")
	}
}

func (g *otlpGenerator) numbers(to pmetric.NumberDataPointSlice, n int) {
	for i := range n {
		p := to.AppendEmpty()
		g.common(p, i)
		g.exemplars(p.Flags(), p.Exemplars())
		switch g.rnd.IntN(3) {
		case 0:
			p.SetIntValue(g.rnd.Int64N(1000))
		case 1:
			p.SetDoubleValue(g.rnd.NormFloat64())
		}
	}
}

func (g *otlpGenerator) explicit(p pmetric.HistogramDataPoint, i int) {
	g.common(p, i)
	g.exemplars(p.Flags(), p.Exemplars())
	var total uint64
	for j := range 1 + g.rnd.IntN(6) {
		if j > 0 {
			p.ExplicitBounds().Append(float64(j) / 2)
		}
		n := g.rnd.Uint64N(4)
		total += n
		p.BucketCounts().Append(n)
	}
	p.SetCount(total)
	if g.rnd.IntN(3) > 0 {
		p.SetSum(float64(total) / 2)
	}
}

func (g *otlpGenerator) exponential(p pmetric.ExponentialHistogramDataPoint, i int) {
	g.common(p, i)
	g.exemplars(p.Flags(), p.Exemplars())
	p.SetScale(g.rnd.Int32N(25) - 4)
	p.SetZeroCount(g.rnd.Uint64N(3))
	total := p.ZeroCount()
	for _, side := range []pmetric.ExponentialHistogramDataPointBuckets{p.Positive(), p.Negative()} {
		side.SetOffset(g.rnd.Int32N(200) - 100)
		for range g.rnd.IntN(20) {
			n := uint64(0)
			if g.rnd.IntN(3) == 0 {
				n = g.rnd.Uint64N(9)
			}
			total += n
			side.BucketCounts().Append(n)
		}
	}
	p.SetCount(total)
	p.SetSum(float64(total))
}

func (g *otlpGenerator) summary(p pmetric.SummaryDataPoint, i int) {
	g.common(p, i)
	p.SetCount(g.rnd.Uint64N(100))
	p.SetSum(g.rnd.Float64())
	for j := range g.rnd.IntN(4) {
		q := p.QuantileValues().AppendEmpty()
		q.SetQuantile(float64(j) / 4)
		q.SetValue(g.rnd.Float64())
	}
}
