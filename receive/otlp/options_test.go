package otlp

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/otlptranslator"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/varve-tsdb/varve/receive"
)

// Each option of the translator does what it is there for.
func TestTranslatorOptions(t *testing.T) {
	request := func() pmetric.Metrics {
		md, ms := newRequest()
		md.ResourceMetrics().At(0).Resource().Attributes().PutStr("host.name", "h")
		md.ResourceMetrics().At(0).Resource().Attributes().PutStr("zone", "z")
		md.ResourceMetrics().At(0).ScopeMetrics().At(0).Scope().SetName("lib")
		p := sum(ms, "http.hits", cumulative, 1, second)
		ms.At(0).SetUnit("By")
		p.Attributes().PutStr("_a", "1")
		p.Attributes().PutStr("b..c", "2")
		return md
	}
	const info = `{__name__="target_info", host_name="h", job="svc", zone="z"} @1700000000000 1`
	for name, tc := range map[string]struct {
		opts Options
		want []string
	}{
		"default": {Options{}, []string{`{__name__="http_hits_bytes_total", b__c="2", job="svc", key_a="1"} @1700000000000 1`, info}},
		"without suffixes": {
			Options{TranslationStrategy: otlptranslator.UnderscoreEscapingWithoutSuffixes},
			[]string{`{__name__="http_hits", b__c="2", job="svc", key_a="1"} @1700000000000 1`, info},
		},
		"no translation": {
			Options{TranslationStrategy: otlptranslator.NoTranslation},
			[]string{`{__name__="http.hits", _a="1", "b..c"="2", job="svc"} @1700000000000 1`, `{__name__="target_info", "host.name"="h", job="svc", zone="z"} @1700000000000 1`},
		},
		"no escaping": {
			Options{TranslationStrategy: otlptranslator.NoUTF8EscapingWithSuffixes},
			[]string{`{__name__="http.hits_bytes_total", _a="1", "b..c"="2", job="svc"} @1700000000000 1`, `{__name__="target_info", "host.name"="h", job="svc", zone="z"} @1700000000000 1`},
		},
		"promote": {
			Options{PromoteResourceAttributes: []string{"zone"}},
			[]string{`{__name__="http_hits_bytes_total", b__c="2", job="svc", key_a="1", zone="z"} @1700000000000 1`, info},
		},
		"promote all but": {
			Options{PromoteAllResourceAttributes: true, IgnoreResourceAttributes: []string{"zone"}},
			[]string{`{__name__="http_hits_bytes_total", b__c="2", host_name="h", job="svc", key_a="1", service_name="svc"} @1700000000000 1`, info},
		},
		"keep identifying": {
			Options{KeepIdentifyingResourceAttributes: true},
			[]string{`{__name__="http_hits_bytes_total", b__c="2", job="svc", key_a="1"} @1700000000000 1`, `{__name__="target_info", host_name="h", job="svc", service_name="svc", zone="z"} @1700000000000 1`},
		},
		"no target_info": {
			Options{DropTargetInfo: true},
			[]string{`{__name__="http_hits_bytes_total", b__c="2", job="svc", key_a="1"} @1700000000000 1`},
		},
		"scope": {
			Options{PromoteScopeMetadata: true},
			[]string{`{__name__="http_hits_bytes_total", b__c="2", job="svc", key_a="1", otel_scope_name="lib"} @1700000000000 1`, info},
		},
		"underscores": {
			Options{KeepLeadingUnderscore: true, CollapseUnderscores: true},
			[]string{`{__name__="http_hits_bytes_total", _a="1", b_c="2", job="svc"} @1700000000000 1`, info},
		},
		"type and unit": {
			Options{TypeAndUnitLabels: true},
			[]string{`{__name__="http_hits_bytes_total", __type__="counter", __unit__="bytes", b__c="2", job="svc", key_a="1"} @1700000000000 1`, info},
		},
	} {
		var to recorder
		send(t, newTestHandler(t, &to, tc.opts), request()).stored(t)
		if d := cmp.Diff(tc.want, to.lines()); d != "" {
			t.Errorf("%s:\n%s", name, d)
		}
	}
}

func TestConvertHistogramsToNHCB(t *testing.T) {
	var to recorder
	md, ms := newRequest()
	explicit(ms, "latency", cumulative, second, 1, 2, 3)
	send(t, newTestHandler(t, &to, Options{ConvertHistogramsToNHCB: true}), md).stored(t)
	want := []string{`{__name__="latency", job="svc"} @1700000000000 {count:6, sum:60, [-Inf,1]:1, (1,2]:2, (2,+Inf]:3}`}
	if d := cmp.Diff(want, to.lines()); d != "" {
		t.Error(d)
	}
}

func TestHighScaleIsMergedDown(t *testing.T) {
	var to recorder
	md, ms := newRequest()
	exponential(ms, "x", cumulative, second, 10, 0, 1, 1, 1, 1, 5)
	send(t, newTestHandler(t, &to, Options{}), md).stored(t)
	if len(to.stored) != 1 || to.stored[0].h.Schema != 8 || to.stored[0].h.Count != 9 || len(to.stored[0].h.PositiveBuckets) != 2 {
		t.Errorf("stored %q", to.lines())
	}
}

func TestOptionsAreValidated(t *testing.T) {
	err := Options{
		TranslationStrategy: "guess", PromoteAllResourceAttributes: true, PromoteResourceAttributes: []string{" "},
		Delta: 9, LookbackDelta: -time.Second, MaxDeltaStreams: -1, DeltaMaxStale: -1,
	}.Validate()
	for _, field := range []string{"TranslationStrategy", "PromoteResourceAttributes", "Delta:", "LookbackDelta", "MaxDeltaStreams", "DeltaMaxStale"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%v does not name %s", err, field)
		}
	}
	if err := (Options{IgnoreResourceAttributes: []string{"a"}}).Validate(); err == nil {
		t.Error("IgnoreResourceAttributes without PromoteAllResourceAttributes passes")
	}
	if _, err := NewHandler(nil, Options{}); err == nil {
		t.Error("a handler without a receive.Handler was made")
	}
}

// Two handlers on one registry do not share counters by accident.
func TestRegistererIsAskedOnce(t *testing.T) {
	reg := prometheus.NewRegistry()
	w, err := receive.NewHandler(&recorder{}, receive.HandlerOptions{Registerer: reg})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewHandler(w, Options{Registerer: reg}); err != nil {
		t.Fatal(err)
	}
	if _, err := NewHandler(w, Options{Registerer: reg}); err == nil {
		t.Error("the second handler did not say that the metrics are there")
	}
	if _, err := NewHandler(w, Options{Registerer: prometheus.WrapRegistererWithPrefix("other_", reg)}); err != nil {
		t.Error(err)
	}
}
