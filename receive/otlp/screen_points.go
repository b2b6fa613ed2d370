package otlp

import (
	"math"

	"github.com/prometheus/prometheus/model/histogram"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/varve-tsdb/varve/receive"
)

// point is a data point of any type of metric; one of the pointers is set.
type point struct {
	number      *pmetric.NumberDataPoint
	histogram   *pmetric.HistogramDataPoint
	exponential *pmetric.ExponentialHistogramDataPoint
	summary     *pmetric.SummaryDataPoint
}

// commonPoint is what points of all types have.
type commonPoint interface {
	Attributes() pcommon.Map
	Timestamp() pcommon.Timestamp
	StartTimestamp() pcommon.Timestamp
	SetStartTimestamp(pcommon.Timestamp)
}

func (p point) common() commonPoint {
	switch {
	case p.number != nil:
		return p.number
	case p.histogram != nil:
		return p.histogram
	case p.exponential != nil:
		return p.exponential
	}
	return p.summary
}

// points asks check about each point of m and takes out those that have a
// problem.
func (s *screen) points(m pmetric.Metric, check func(point) *problem) {
	keep := func(p point) (remove bool) {
		bad := check(p)
		if bad != nil {
			s.refusePoints(m, 1, bad)
			return true
		}
		s.kept++
		return false
	}
	switch m.Type() {
	case pmetric.MetricTypeGauge:
		m.Gauge().DataPoints().RemoveIf(func(p pmetric.NumberDataPoint) bool { return keep(point{number: &p}) })
	case pmetric.MetricTypeSum:
		m.Sum().DataPoints().RemoveIf(func(p pmetric.NumberDataPoint) bool { return keep(point{number: &p}) })
	case pmetric.MetricTypeHistogram:
		m.Histogram().DataPoints().RemoveIf(func(p pmetric.HistogramDataPoint) bool { return keep(point{histogram: &p}) })
	case pmetric.MetricTypeExponentialHistogram:
		m.ExponentialHistogram().DataPoints().RemoveIf(func(p pmetric.ExponentialHistogramDataPoint) bool { return keep(point{exponential: &p}) })
	case pmetric.MetricTypeSummary:
		m.Summary().DataPoints().RemoveIf(func(p pmetric.SummaryDataPoint) bool { return keep(point{summary: &p}) })
	}
}

// point screens a data point whose labels take base bytes without its
// attributes.
func (s *screen) point(p point, base int64, r *resourceScreen) *problem {
	c := p.common()
	t := c.Timestamp()
	switch {
	case t == 0:
		return problemf(receive.ReasonBadTimestamp, "a data point has no time")
	case t > math.MaxInt64:
		return problemf(receive.ReasonBadTimestamp, "the time of a data point is past the year 2262")
	case t.AsTime().After(s.limits.Newest):
		return problemf(receive.ReasonTooFarInFuture, "the time %s of a data point is further ahead of the receiver's clock than it allows", t.AsTime())
	}
	if c.StartTimestamp() > math.MaxInt64 {
		c.SetStartTimestamp(0)
	}
	if p.exponential != nil && p.exponential.Scale() < histogram.ExponentialSchemaMin {
		return problemf(receive.ReasonBadHistogram, "an exponential histogram has scale %d; native histograms have %d at least", p.exponential.Scale(), histogram.ExponentialSchemaMin)
	}
	s.dropMetricName(c.Attributes())
	size, bad := s.attributes(c.Attributes())
	if bad != nil {
		return bad
	}
	if size += base; size > receive.MaxLabelBytes {
		return tooLong()
	}
	if size *= s.samples(p); size > s.labelBytes {
		return s.overBudget()
	}
	s.labelBytes -= size
	s.dropExemplars(p)
	r.oldest, r.newest = min(r.oldest, t), max(r.newest, t)
	return nil
}

// samples returns how many samples a data point becomes at most.
func (s *screen) samples(p point) int64 {
	switch {
	case p.histogram != nil && !s.opts.ConvertHistogramsToNHCB:
		return int64(p.histogram.ExplicitBounds().Len()) + 3
	case p.summary != nil:
		return int64(p.summary.QuantileValues().Len()) + 2
	}
	return 1
}

// dropExemplars takes out exemplars without a value, of which the translator
// would make an error of the metric.
func (s *screen) dropExemplars(p point) {
	var exemplars pmetric.ExemplarSlice
	switch {
	case p.number != nil:
		exemplars = p.number.Exemplars()
	case p.histogram != nil:
		exemplars = p.histogram.Exemplars()
	case p.exponential != nil:
		exemplars = p.exponential.Exemplars()
	default:
		return
	}
	exemplars.RemoveIf(func(e pmetric.Exemplar) bool {
		empty := e.ValueType() == pmetric.ExemplarValueTypeEmpty
		if empty {
			s.exemplars++
		}
		return empty
	})
}

func numPoints(m pmetric.Metric) int {
	switch m.Type() {
	case pmetric.MetricTypeGauge:
		return m.Gauge().DataPoints().Len()
	case pmetric.MetricTypeSum:
		return m.Sum().DataPoints().Len()
	case pmetric.MetricTypeHistogram:
		return m.Histogram().DataPoints().Len()
	case pmetric.MetricTypeExponentialHistogram:
		return m.ExponentialHistogram().DataPoints().Len()
	case pmetric.MetricTypeSummary:
		return m.Summary().DataPoints().Len()
	}
	return 0
}

func temporalityOf(m pmetric.Metric) (t pmetric.AggregationTemporality, has bool) {
	switch m.Type() {
	case pmetric.MetricTypeSum:
		return m.Sum().AggregationTemporality(), true
	case pmetric.MetricTypeHistogram:
		return m.Histogram().AggregationTemporality(), true
	case pmetric.MetricTypeExponentialHistogram:
		return m.ExponentialHistogram().AggregationTemporality(), true
	}
	return 0, false
}

func setCumulative(m pmetric.Metric) {
	switch m.Type() {
	case pmetric.MetricTypeSum:
		m.Sum().SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	case pmetric.MetricTypeHistogram:
		m.Histogram().SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	case pmetric.MetricTypeExponentialHistogram:
		m.ExponentialHistogram().SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	}
}
