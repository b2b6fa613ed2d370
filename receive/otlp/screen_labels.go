package otlp

import (
	"encoding/base64"
	"unicode/utf8"

	"github.com/prometheus/common/model"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/varve-tsdb/varve/receive"
)

// labelName is what becomes of the name of an attribute.
type labelName struct {
	bytes int64
	// metricName tells that it would become the name of the metric. The
	// translator overwrites it, and in some cases says so on the process' log.
	metricName bool
	promoted   *problem // what is wrong with it as a promoted attribute
	plain      *problem // and as one of a data point
}

func (s *screen) name(key string) labelName {
	if known, ok := s.names[key]; ok {
		return known
	}
	var n labelName
	built, err := s.labelNamer.Build(key)
	if err != nil {
		n.promoted = problemf(receive.ReasonEmptyLabelName, "attribute %q makes no name of a label", key)
	}
	if s.labelNamer.UTF8Allowed {
		built = key
		if !utf8.ValidString(key) {
			n.promoted = problemf(receive.ReasonLabelNotUTF8, "attribute name %q is not valid UTF-8", key)
		}
		if key == "" || !utf8.ValidString(key) {
			n.plain = n.promoted
		}
	} else {
		n.plain = n.promoted
	}
	n.bytes, n.metricName = int64(len(built)), built == model.MetricNameLabel
	s.names[key] = n
	return n
}

// dropMetricName takes out the attributes that would become the metric's name.
func (s *screen) dropMetricName(attrs pcommon.Map) {
	for key := range attrs.All() {
		if s.name(key).metricName {
			attrs.RemoveIf(func(key string, _ pcommon.Value) bool { return s.name(key).metricName })
			return
		}
	}
}

// attributes returns how many bytes attributes take as labels of a data point.
func (s *screen) attributes(attrs pcommon.Map) (size int64, bad *problem) {
	for key, v := range attrs.All() {
		name := s.name(key)
		if name.plain != nil {
			return 0, name.plain
		}
		n, bad := valueBytes(key, v)
		if bad != nil {
			return 0, bad
		}
		size += name.bytes + n
	}
	return size, nil
}

// resourceLabels returns how many bytes the labels take that each series has
// from its resource.
func (s *screen) resourceLabels(attrs pcommon.Map) (size int64, bad *problem) {
	for key, v := range attrs.All() {
		if s.opts.promotes(key) {
			name := s.name(key)
			if name.promoted != nil {
				return 0, name.promoted
			}
			n, bad := valueBytes(key, v)
			if bad != nil {
				return 0, bad
			}
			size += name.bytes + n
		}
		switch key {
		case "service.name", "service.namespace", "service.instance.id":
			n, bad := valueBytes(key, v)
			if bad != nil {
				return 0, bad
			}
			size += int64(len("instance")) + n
		}
	}
	if size > receive.MaxLabelBytes {
		return 0, tooLong()
	}
	return size, nil
}

// scopeLabels returns how many bytes the labels take that each series has from
// its scope.
func (s *screen) scopeLabels(sm pmetric.ScopeMetrics) (size int64, bad *problem) {
	scope := sm.Scope()
	if !s.opts.PromoteScopeMetadata || scope.Name() == "" {
		return 0, nil
	}
	texts := scope.Name() + scope.Version() + sm.SchemaUrl()
	if !utf8.ValidString(texts) {
		return 0, problemf(receive.ReasonLabelNotUTF8, "the name, version or schema URL of a scope is not valid UTF-8")
	}
	const names = len("otel_scope_name") + len("otel_scope_version") + len("otel_scope_schema_url")
	size = int64(names + len(texts))
	for key, v := range scope.Attributes().All() {
		name := s.name("otel_scope_" + key)
		if name.promoted != nil {
			return 0, name.promoted
		}
		n, bad := valueBytes(key, v)
		if bad != nil {
			return 0, bad
		}
		size += name.bytes + n
	}
	if size > receive.MaxLabelBytes {
		return 0, tooLong()
	}
	return size, nil
}

// valueBytes returns how many bytes v takes as the value of a label.
func valueBytes(key string, v pcommon.Value) (int64, *problem) {
	const number = 25 // bytes of the longest there is
	switch v.Type() {
	case pcommon.ValueTypeEmpty:
		return 0, nil
	case pcommon.ValueTypeStr:
		if !utf8.ValidString(v.Str()) {
			return 0, problemf(receive.ReasonLabelNotUTF8, "the value of attribute %q is not valid UTF-8", key)
		}
		return int64(len(v.Str())), nil
	case pcommon.ValueTypeBytes:
		return int64(base64.StdEncoding.EncodedLen(v.Bytes().Len())), nil
	case pcommon.ValueTypeMap, pcommon.ValueTypeSlice:
		return int64(len(v.AsString())), nil
	}
	return number, nil
}

func tooLong() *problem {
	return problemf(receive.ReasonLabelsTooLong, "its labels are longer than %d bytes together", receive.MaxLabelBytes)
}

func (s *screen) overBudget() *problem {
	return problemf(receive.ReasonLabelsTooLong, "the labels of the request, written out, are longer than the %d bytes this receiver takes; send fewer data points a request", s.limits.LabelBytes)
}
