package otlp

import (
	"errors"
	"fmt"
	"math"
	"time"
	"unicode/utf8"

	"github.com/prometheus/otlptranslator"
	"github.com/prometheus/prometheus/storage/remote/otlptranslator/prometheusremotewrite"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/varve-tsdb/varve/receive"
)

// maxTargetInfo bounds the samples of target_info in a request beyond two for
// each resource. The translator makes one every half LookbackDelta from the
// first to the last point of a resource, so that two points decades apart would
// make millions.
const maxTargetInfo = 10_000

// screen takes out of a request what the translator would stumble over. The
// translator gives up on a metric at the first point it cannot translate, and
// on a resource at the first attribute; after the screen it meets none, so that
// each data point gets a verdict of its own. It also keeps what is translated
// within bounds.
type screen struct {
	opts   *Options
	limits receive.IntakeLimits
	refuse func(receive.Refusal)

	metricNamer otlptranslator.MetricNamer
	labelNamer  otlptranslator.LabelNamer
	names       map[string]labelName
	deltas      *deltaTx // nil unless they are made cumulative
	labelBytes  int64    // left of LabelBytes
	targetInfo  int64    // left of maxTargetInfo

	kept      int // data points
	rejected  int // data points
	exemplars int // taken out
	untyped   int // metrics without data
	parts     []part
}

// part is something to translate, with settings of its own.
type part struct {
	md       pmetric.Metrics
	settings prometheusremotewrite.Settings
}

// problem is why something is refused.
type problem struct {
	reason receive.Reason
	err    error
}

func problemf(reason receive.Reason, format string, args ...any) *problem {
	return &problem{reason, fmt.Errorf(format, args...)}
}

func (h *Handler) newScreen(limits receive.IntakeLimits, refuse func(receive.Refusal)) *screen {
	return &screen{
		opts: &h.opts, limits: limits, refuse: refuse,
		metricNamer: otlptranslator.MetricNamer{WithMetricSuffixes: h.settings.AddMetricSuffixes, UTF8Allowed: h.settings.AllowUTF8},
		labelNamer: otlptranslator.LabelNamer{
			UTF8Allowed: h.settings.AllowUTF8,
			//lint:ignore SA1019 Prometheus' setting for it has no other way either.
			UnderscoreLabelSanitization: h.settings.LabelNameUnderscoreSanitization,
			PreserveMultipleUnderscores: h.settings.LabelNamePreserveMultipleUnderscores,
		},
		names: map[string]labelName{}, labelBytes: limits.LabelBytes, targetInfo: maxTargetInfo,
	}
}

// request screens md, which it changes, and returns what to translate.
func (s *screen) request(md pmetric.Metrics, settings prometheusremotewrite.Settings) []part {
	s.parts = []part{{md, settings}}
	resources := md.ResourceMetrics()
	for i := range resources.Len() {
		s.resource(resources.At(i), settings)
	}
	return s.parts
}

// gaveUp returns why the request could not be screened in full, or nil.
func (s *screen) gaveUp() receive.RequestError {
	if s.deltas != nil && s.deltas.err != nil {
		return cancelled(s.deltas.err)
	}
	return nil
}

// resourceScreen is what is known of a resource while its metrics are screened.
type resourceScreen struct {
	base           int64 // bytes of the labels of each of its series
	oldest, newest pcommon.Timestamp
}

func (s *screen) resource(rm pmetric.ResourceMetrics, settings prometheusremotewrite.Settings) {
	attrs := rm.Resource().Attributes()
	s.dropMetricName(attrs)
	r := resourceScreen{oldest: math.MaxUint64}
	var bad *problem
	if r.base, bad = s.resourceLabels(attrs); bad != nil {
		rm.ScopeMetrics().RemoveIf(func(sm pmetric.ScopeMetrics) bool {
			s.refuseAll(sm.Metrics(), bad)
			return true
		})
		return
	}
	rm.ScopeMetrics().RemoveIf(func(sm pmetric.ScopeMetrics) bool {
		base, bad := s.scopeLabels(sm)
		if bad != nil {
			s.refuseAll(sm.Metrics(), bad)
			return true
		}
		sm.Metrics().RemoveIf(func(m pmetric.Metric) bool {
			return s.metric(rm.Resource(), sm.Scope(), m, &r, r.base+base)
		})
		return false
	})
	if r.oldest <= r.newest && !settings.DisableTargetInfo {
		s.resourceTargetInfo(rm, &r, settings)
	}
}

func (s *screen) refuseAll(metrics pmetric.MetricSlice, bad *problem) {
	for i := range metrics.Len() {
		s.refuseMetric(metrics.At(i), bad)
	}
}

// refuseMetric refuses all points of m.
func (s *screen) refuseMetric(m pmetric.Metric, bad *problem) {
	s.refusePoints(m, numPoints(m), bad)
}

func (s *screen) refusePoints(m pmetric.Metric, n int, bad *problem) {
	if n == 0 {
		return
	}
	s.rejected += n
	r := receive.Refusal{Reason: bad.reason, Subject: m.Name(), Err: bad.err}
	if m.Type() == pmetric.MetricTypeExponentialHistogram || m.Type() == pmetric.MetricTypeHistogram && s.opts.ConvertHistogramsToNHCB {
		r.Histograms = n
	} else {
		r.Floats = n
	}
	s.refuse(r)
}

// resourceTargetInfo decides how the target_info of a resource is made: with
// the others, by itself with only its first and last sample, or not at all.
func (s *screen) resourceTargetInfo(rm pmetric.ResourceMetrics, r *resourceScreen, settings prometheusremotewrite.Settings) {
	const name = "target_info"
	size, bad := s.attributes(rm.Resource().Attributes())
	size += r.base + int64(len(name)+len("__name__"))
	if bad == nil && size > receive.MaxLabelBytes {
		bad = tooLong()
	}
	span := time.Duration(r.newest - r.oldest)
	samples := int64(span/(settings.LookbackDelta/2)) + 2
	wide := samples > 2 && (samples-2 > s.targetInfo || samples*size > s.labelBytes)
	if wide {
		const first, middle, last = 1, 1, 1 // The middle is of more than 146 years.
		samples = first + middle + last
		settings.LookbackDelta = math.MaxInt64
	}
	if bad == nil && samples*size > s.labelBytes {
		bad = s.overBudget()
	}
	if bad == nil {
		s.labelBytes -= samples * size
		s.targetInfo -= samples - 2
		if wide {
			s.apart(rm, settings)
		}
		return
	}
	if identified(rm.Resource().Attributes()) {
		s.refuse(receive.Refusal{Reason: bad.reason, Floats: 1, Subject: name, Err: bad.err})
	}
	settings.DisableTargetInfo = true
	s.apart(rm, settings)
}

// apart takes a resource out of the request, to be translated by itself.
func (s *screen) apart(rm pmetric.ResourceMetrics, settings prometheusremotewrite.Settings) {
	alone := pmetric.NewMetrics()
	rm.MoveTo(alone.ResourceMetrics().AppendEmpty())
	s.parts = append(s.parts, part{alone, settings})
}

// identified reports whether a resource has what becomes job or instance.
func identified(attrs pcommon.Map) bool {
	_, name := attrs.Get("service.name")
	_, instance := attrs.Get("service.instance.id")
	return name || instance
}

var errNoName = errors.New("it has no name that could be a metric's")

// metric screens one metric and returns whether nothing of it is left.
func (s *screen) metric(res pcommon.Resource, scope pcommon.InstrumentationScope, m pmetric.Metric, r *resourceScreen, base int64) bool {
	if m.Type() == pmetric.MetricTypeEmpty {
		s.untyped++
		return true
	}
	if numPoints(m) == 0 {
		return false // The translator warns of it.
	}
	name, err := s.metricNamer.Build(prometheusremotewrite.TranslatorMetricFromOtelMetric(m))
	switch {
	case err != nil || name == "":
		s.refuseMetric(m, &problem{receive.ReasonNoMetricName, errNoName})
		return true
	case !utf8.ValidString(name):
		s.refuseMetric(m, problemf(receive.ReasonLabelNotUTF8, "its name is not valid UTF-8"))
		return true
	}
	accumulate := false
	switch temporality, has := temporalityOf(m); {
	case !has, temporality == pmetric.AggregationTemporalityCumulative:
	case temporality == pmetric.AggregationTemporalityDelta && s.opts.Delta == DeltaNative:
	case temporality == pmetric.AggregationTemporalityDelta && s.deltas != nil:
		accumulate = true
	default:
		s.refuseMetric(m, problemf(receive.ReasonTemporality, "its temporality is %s; this receiver takes cumulative metrics", temporality))
		return true
	}
	base += int64(len("__name__") + len(name) + len("_bucket"))
	if s.opts.TypeAndUnitLabels {
		base += int64(len("__type__gaugehistogram__unit__") + 2*len(m.Unit()))
	}
	s.points(m, func(p point) *problem {
		bad := s.point(p, base, r)
		if bad == nil && accumulate {
			bad = s.deltas.add(res, scope, m, p)
		}
		return bad
	})
	if accumulate {
		setCumulative(m)
	}
	return numPoints(m) == 0
}
