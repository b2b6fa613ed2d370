package otlp

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/varve-tsdb/varve/receive"
)

// everyType is a request with a point of each type.
func everyType() pmetric.Metrics {
	md, ms := newRequest()
	md.ResourceMetrics().At(0).Resource().Attributes().PutStr("host.name", "h")
	gauge(ms, "temp.outside", 21.5, second).Attributes().PutStr("room", "a")
	ms.At(0).SetUnit("Cel")
	ms.At(0).SetDescription("Temperature.")
	p := sum(ms, "requests", cumulative, 7, second)
	p.SetStartTimestamp(at(-time.Minute))
	e := p.Exemplars().AppendEmpty()
	e.SetIntValue(1)
	e.SetTimestamp(at(-time.Second))
	e.SetTraceID([16]byte{0xab})
	explicit(ms, "latency", cumulative, second, 1, 2, 3)
	ms.At(2).SetUnit("s")
	exponential(ms, "size", cumulative, second, 3, 0, 1, 0, 2)
	s := ms.AppendEmpty()
	s.SetName("sizes")
	sp := s.SetEmptySummary().DataPoints().AppendEmpty()
	sp.SetTimestamp(second)
	sp.SetCount(4)
	sp.SetSum(8)
	q := sp.QuantileValues().AppendEmpty()
	q.SetQuantile(0.5)
	q.SetValue(2)
	gauge(ms, "gone", 0, second).SetFlags(pmetric.DefaultDataPointFlags.WithNoRecordedValue(true))
	return md
}

func TestEveryTypeIsStored(t *testing.T) {
	want := []string{
		`{__name__="gone", job="svc"} @1700000000000 stale`,
		`{__name__="latency_seconds_bucket", job="svc", le="+Inf"} @1700000000000 6`,
		`{__name__="latency_seconds_bucket", job="svc", le="1"} @1700000000000 1`,
		`{__name__="latency_seconds_bucket", job="svc", le="2"} @1700000000000 3`,
		`{__name__="latency_seconds_count", job="svc"} @1700000000000 6`,
		`{__name__="latency_seconds_sum", job="svc"} @1700000000000 60`,
		`{__name__="requests_total", job="svc"} @1700000000000 7`,
		`{__name__="size", job="svc"} @1700000000000 {count:3, sum:3, (1,1.0905077326652577]:1, (1.189207115002721,1.2968395546510096]:2}`,
		`{__name__="sizes", job="svc", quantile="0.5"} @1700000000000 2`,
		`{__name__="sizes_count", job="svc"} @1700000000000 4`,
		`{__name__="sizes_sum", job="svc"} @1700000000000 8`,
		`{__name__="target_info", host_name="h", job="svc"} @1700000000000 1`,
		`{__name__="temp_outside_celsius", job="svc", room="a"} @1700000000000 21.5`,
	}
	for _, format := range []string{protoType, jsonType} {
		for _, encoding := range []string{"", "identity", "gzip"} {
			var to recorder
			body := proto(t, everyType())
			if format == jsonType {
				body = jsonBody(t, everyType())
			}
			if encoding == "gzip" {
				body = zip(t, body)
			}
			a := post(t, newTestHandler(t, &to, Options{}), body, "Content-Type", format, "Content-Encoding", encoding)
			a.stored(t)
			if got := a.header.Get("Content-Type"); got != format {
				t.Errorf("a request in %s is answered in %s", format, got)
			}
			if d := cmp.Diff(want, to.lines()); d != "" {
				t.Errorf("%s, %q:\n%s", format, encoding, d)
			}
		}
	}
}

// The specification wants partial_success to be unset then.
func TestAFullSuccessSaysNothing(t *testing.T) {
	for format, want := range map[string]string{protoType: "", jsonType: "{}"} {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(want))
		r.Header.Set("Content-Type", format)
		w := newResponse()
		newTestHandler(t, &recorder{}, Options{}).ServeHTTP(w, r)
		if w.Code != http.StatusOK || w.Body.String() != want {
			t.Errorf("%s: answer %d, %q", format, w.Code, w.Body)
		}
	}
}

// What travels with a sample arrives at the storage as that of 2.0 does.
func TestMetadataExemplarsAndStart(t *testing.T) {
	var to recorder
	send(t, newTestHandler(t, &to, Options{}), everyType()).stored(t)
	byName := map[string]recorded{}
	for _, s := range to.stored {
		byName[s.series] = s
	}
	s := byName[`{__name__="requests_total", job="svc"}`]
	if s.st != now-60_000 {
		t.Errorf("start timestamp %d, want %d", s.st, now-60_000)
	}
	if len(s.opts.Exemplars) != 1 || s.opts.Exemplars[0].Ts != now-1000 || s.opts.Exemplars[0].Value != 1 ||
		s.opts.Exemplars[0].Labels.Get("trace_id") != "ab000000000000000000000000000000" {
		t.Errorf("exemplars %v", s.opts.Exemplars)
	}
	for series, want := range map[string]metadata.Metadata{
		`{__name__="temp_outside_celsius", job="svc", room="a"}`: {Type: model.MetricTypeGauge, Unit: "celsius", Help: "Temperature."},
		`{__name__="requests_total", job="svc"}`:                 {Type: model.MetricTypeCounter},
		`{__name__="latency_seconds_bucket", job="svc", le="1"}`: {Type: model.MetricTypeHistogram, Unit: "seconds"},
		`{__name__="sizes", job="svc", quantile="0.5"}`:          {Type: model.MetricTypeSummary},
		`{__name__="target_info", host_name="h", job="svc"}`:     {Type: model.MetricTypeGauge, Help: "Target metadata"},
	} {
		if got := byName[series].opts.Metadata; got != want {
			t.Errorf("%s has metadata %+v, want %+v", series, got, want)
		}
	}
	if got := byName[`{__name__="latency_seconds_bucket", job="svc", le="1"}`].opts.MetricFamilyName; got != "latency_seconds" {
		t.Errorf("family %q", got)
	}
}

// Each thing that is wrong with a data point costs that point and no other, and
// the sender is told how many.
func TestOneBadPoint(t *testing.T) {
	for _, tc := range []struct {
		name     string
		opts     Options
		bad      func(ms pmetric.MetricSlice)
		rejected int64
		reason   receive.Reason
	}{
		{"no time", Options{}, func(ms pmetric.MetricSlice) { gauge(ms, "bad", 1, 0) }, 1, receive.ReasonBadTimestamp},
		{"past 2262", Options{}, func(ms pmetric.MetricSlice) { gauge(ms, "bad", 1, 1<<63) }, 1, receive.ReasonBadTimestamp},
		{"future", Options{}, func(ms pmetric.MetricSlice) {
			gauge(ms, "bad", 1, pcommon.NewTimestampFromTime(time.Now().Add(time.Hour)))
		}, 1, receive.ReasonTooFarInFuture},
		{"no name", Options{}, func(ms pmetric.MetricSlice) { gauge(ms, "", 1, second) }, 1, receive.ReasonNoMetricName},
		{"no name left", Options{}, func(ms pmetric.MetricSlice) { gauge(ms, "...", 1, second) }, 1, receive.ReasonNoMetricName},
		{"empty attribute name", Options{}, func(ms pmetric.MetricSlice) { gauge(ms, "bad", 1, second).Attributes().PutStr("", "v") }, 1, receive.ReasonEmptyLabelName},
		{"attribute name of underscores", Options{}, func(ms pmetric.MetricSlice) { gauge(ms, "bad", 1, second).Attributes().PutStr("__", "v") }, 1, receive.ReasonEmptyLabelName},
		{"empty attribute name, UTF-8", Options{TranslationStrategy: "NoTranslation"}, func(ms pmetric.MetricSlice) { gauge(ms, "bad", 1, second).Attributes().PutStr("", "v") }, 1, receive.ReasonEmptyLabelName},
		{"value not UTF-8", Options{}, func(ms pmetric.MetricSlice) { gauge(ms, "bad", 1, second).Attributes().PutStr("a", "\xff") }, 1, receive.ReasonLabelNotUTF8},
		{"metric name not UTF-8", Options{TranslationStrategy: "NoTranslation"}, func(ms pmetric.MetricSlice) { gauge(ms, "a\xff", 1, second) }, 1, receive.ReasonLabelNotUTF8},
		{"long labels", Options{}, func(ms pmetric.MetricSlice) {
			gauge(ms, "bad", 1, second).Attributes().PutStr("a", strings.Repeat("x", receive.MaxLabelBytes))
		}, 1, receive.ReasonLabelsTooLong},
		{"low scale", Options{}, func(ms pmetric.MetricSlice) { exponential(ms, "bad", cumulative, second, -5, 0, 1) }, 1, receive.ReasonBadHistogram},
		{"count contradicts buckets", Options{}, func(ms pmetric.MetricSlice) { exponential(ms, "bad", cumulative, second, 0, 0, 5).SetCount(1) }, 1, receive.ReasonBadHistogram},
		{"delta sum", Options{}, func(ms pmetric.MetricSlice) { sum(ms, "bad", delta, 1, second) }, 1, receive.ReasonTemporality},
		{"delta histogram", Options{}, func(ms pmetric.MetricSlice) { explicit(ms, "bad", delta, second, 1, 1) }, 1, receive.ReasonTemporality},
		{"unspecified temporality", Options{Delta: DeltaNative}, func(ms pmetric.MetricSlice) {
			sum(ms, "bad", pmetric.AggregationTemporalityUnspecified, 1, second)
		}, 1, receive.ReasonTemporality},
		{"two values", Options{}, func(ms pmetric.MetricSlice) {
			gauge(ms, "bad", 1, second)
			gauge(ms, "bad", 2, second)
		}, 1, receive.ReasonConflict},
		{"a histogram with two values", Options{}, func(ms pmetric.MetricSlice) {
			explicit(ms, "bad", cumulative, second, 1, 2)
			explicit(ms, "bad", cumulative, second, 3, 4)
		}, 1, receive.ReasonConflict},
		{"NHCB with bounds out of order", Options{ConvertHistogramsToNHCB: true}, func(ms pmetric.MetricSlice) {
			explicit(ms, "bad", cumulative, second, 1, 2, 3).ExplicitBounds().FromRaw([]float64{2, 1})
		}, 1, receive.ReasonBadHistogram},
		{"a metric with one bad and two good", Options{}, func(ms pmetric.MetricSlice) {
			exponential(ms, "bad", cumulative, second, -5, 0, 1)
			exponential(ms, "x", cumulative, second, 0, 0, 1)
			ps := ms.At(ms.Len() - 2).ExponentialHistogram().DataPoints()
			ms.At(ms.Len() - 1).ExponentialHistogram().DataPoints().At(0).CopyTo(ps.AppendEmpty())
		}, 1, receive.ReasonBadHistogram},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var to recorder
			reg := prometheus.NewRegistry()
			h := newHandlerOn(t, &to, receive.HandlerOptions{Registerer: reg}, tc.opts)
			md, ms := newRequest()
			gauge(ms, "before", 1, second)
			tc.bad(ms)
			gauge(ms, "after", 1, second)
			total := md.DataPointCount()
			a := send(t, h, md)
			if a.status != http.StatusOK || a.rejected != tc.rejected || !strings.Contains(a.text, tc.reason.String()) {
				t.Errorf("answer %d, %d rejected of %d, want %d: %s", a.status, a.rejected, total, tc.rejected, a.text)
			}
			lines := strings.Join(to.lines(), "\n")
			if !strings.Contains(lines, `"before`) || !strings.Contains(lines, `"after`) {
				t.Errorf("good points are missing: %s", lines)
			}
			if n := counted(t, reg, "varve_receive_samples_total", "reason", tc.reason.String(), "tenant", receive.DefaultTenant); n < 1 {
				t.Errorf("%v samples are counted as %s", n, tc.reason)
			}
			if n := counted(t, reg, "varve_receive_requests_total", "version", "otlp", "code", "200"); n != 1 {
				t.Errorf("%v requests are counted", n)
			}
		})
	}
}

// An exemplar without a value costs the exemplar, and a metric without data
// costs nobody anything; of the latter the sender is told.
func TestWhatIsLeftOut(t *testing.T) {
	var to recorder
	reg := prometheus.NewRegistry()
	h := newHandlerOn(t, &to, receive.HandlerOptions{Registerer: reg}, Options{})
	md, ms := newRequest()
	exemplars := sum(ms, "a", cumulative, 1, second).Exemplars()
	exemplars.AppendEmpty().SetTimestamp(second)
	good := exemplars.AppendEmpty()
	good.SetTimestamp(second)
	good.SetIntValue(1)
	send(t, h, md).stored(t)
	if len(to.stored) != 1 || len(to.stored[0].opts.Exemplars) != 1 {
		t.Errorf("stored %q", to.lines())
	}
	for reason, want := range map[string]float64{"stored": 1, "invalid": 1} {
		if n := counted(t, reg, "varve_receive_exemplars_total", "reason", reason); n != want {
			t.Errorf("%v exemplars are counted as %s, want %v", n, reason, want)
		}
	}
	ms.AppendEmpty().SetName("empty")
	if a := send(t, h, md); a.status != http.StatusOK || a.rejected != 0 || !strings.Contains(a.text, "1 metrics have no data") {
		t.Errorf("answer %d, %d rejected: %s", a.status, a.rejected, a.text)
	}
}

// What a resource or scope gives to all of its series is refused with them, and
// what only its target_info has costs only that.
func TestBadResource(t *testing.T) {
	long := strings.Repeat("x", receive.MaxLabelBytes)
	for _, tc := range []struct {
		name     string
		opts     Options
		set      func(rm pmetric.ResourceMetrics)
		rejected int64
		stored   int
		text     string
	}{
		{"long attribute", Options{}, func(rm pmetric.ResourceMetrics) { rm.Resource().Attributes().PutStr("a", long) }, 0, 2, "labels_too_long: 1"},
		{"long promoted attribute", Options{PromoteAllResourceAttributes: true}, func(rm pmetric.ResourceMetrics) { rm.Resource().Attributes().PutStr("a", long) }, 1, 1, "labels_too_long: 1"},
		{"long job", Options{}, func(rm pmetric.ResourceMetrics) { rm.Resource().Attributes().PutStr("service.name", long) }, 1, 1, "labels_too_long: 1"},
		{"nameless attribute", Options{}, func(rm pmetric.ResourceMetrics) { rm.Resource().Attributes().PutStr("", "v") }, 0, 2, "empty_label_name: 1"},
		{"nameless promoted attribute", Options{PromoteResourceAttributes: []string{"__"}}, func(rm pmetric.ResourceMetrics) { rm.Resource().Attributes().PutStr("__", "v") }, 1, 1, "empty_label_name: 1"},
		{"scope", Options{PromoteScopeMetadata: true}, func(rm pmetric.ResourceMetrics) {
			rm.ScopeMetrics().At(0).Scope().SetName("\xff")
		}, 1, 1, "label_not_utf8: 1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var to recorder
			md, ms := newRequest()
			gauge(ms, "one", 1, second)
			rm := md.ResourceMetrics().At(0)
			tc.set(rm)
			other, ms := newRequest()
			gauge(ms, "two", 1, second)
			other.ResourceMetrics().MoveAndAppendTo(md.ResourceMetrics())
			a := send(t, newTestHandler(t, &to, tc.opts), md)
			if a.status != http.StatusOK || a.rejected != tc.rejected || !strings.Contains(a.text, tc.text) {
				t.Errorf("answer %d, %d rejected, want %d: %s", a.status, a.rejected, tc.rejected, a.text)
			}
			if len(to.stored) != tc.stored {
				t.Errorf("stored %q, want %d", to.lines(), tc.stored)
			}
		})
	}
}

func TestStatuses(t *testing.T) {
	good := func() []byte {
		md, ms := newRequest()
		gauge(ms, "a", 1, second)
		return proto(t, md)
	}
	bad := func() pmetric.Metrics {
		md, ms := newRequest()
		gauge(ms, "", 1, second)
		return md
	}
	for _, tc := range []struct {
		name    string
		to      *recorder
		body    []byte
		headers []string
		status  int
		code    int64
		text    string
	}{
		{"nothing", &recorder{}, nil, []string{"Content-Type", protoType}, 200, 0, ""},
		{"empty JSON", &recorder{}, []byte("{}"), []string{"Content-Type", "application/json; charset=utf-8"}, 200, 0, ""},
		{"no type", &recorder{}, good(), nil, 415, 0, "understands OTLP"},
		{"other type", &recorder{}, good(), []string{"Content-Type", "text/plain"}, 415, 0, "understands OTLP"},
		{"other encoding", &recorder{}, good(), []string{"Content-Type", protoType, "Content-Encoding", "zstd"}, 415, 3, "understands OTLP"},
		{"no protobuf", &recorder{}, []byte{1, 2, 3}, []string{"Content-Type", protoType}, 400, 3, "ExportMetricsServiceRequest"},
		{"no JSON", &recorder{}, []byte(`{"resourceMetrics":[`), []string{"Content-Type", jsonType}, 400, 3, "ExportMetricsServiceRequest"},
		{"no gzip", &recorder{}, good(), []string{"Content-Type", protoType, "Content-Encoding", "gzip"}, 400, 3, "gzip"},
		{"cut gzip", &recorder{}, zip(t, good())[:20], []string{"Content-Type", jsonType, "Content-Encoding", "gzip"}, 400, 3, "gzip"},
		{"tenant", &recorder{}, good(), []string{"Content-Type", protoType, "THANOS-TENANT", "../x"}, 400, 3, "invalid tenant name"},
		{"all refused", &recorder{}, proto(t, bad()), []string{"Content-Type", protoType}, 400, 3, "missing_metric_name: 1"},
		{"all refused, JSON", &recorder{}, jsonBody(t, bad()), []string{"Content-Type", jsonType}, 400, 3, "missing_metric_name: 1"},
		{"storage away", &recorder{openErr: receive.ErrUnavailable}, good(), []string{"Content-Type", protoType}, 503, 14, "send the request again"},
		{"storage fails at commit", &recorder{commitErr: errors.New("broken")}, good(), []string{"Content-Type", protoType}, 503, 14, "send the request again"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := post(t, newTestHandler(t, tc.to, Options{}), tc.body, tc.headers...)
			if a.status != tc.status || a.rpcCode != tc.code || !strings.Contains(a.text, tc.text) {
				t.Errorf("answer %d, code %d, want %d, %d: %s", a.status, a.rpcCode, tc.status, tc.code, a.text)
			}
			if after := a.header.Get("Retry-After"); (after != "") != (tc.status == 503) {
				t.Errorf("Retry-After %q with status %d", after, a.status)
			}
		})
	}
}

// A failure of the storage is told so that OTLP senders come again: they give
// up on 500. Sending the same again then succeeds, and so it does after that.
func TestRetry(t *testing.T) {
	to := recorder{commitErr: errors.New("broken")}
	h := newTestHandler(t, &to, Options{})
	if a := send(t, h, everyType()); a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") != "5" {
		t.Fatalf("answer %d, Retry-After %q", a.status, a.header.Get("Retry-After"))
	}
	to.commitErr = nil
	send(t, h, everyType()).stored(t)
	stored := to.lines()
	send(t, h, everyType()).stored(t)
	if d := cmp.Diff(stored, to.lines()); d != "" {
		t.Errorf("the repeated request changed what is stored:\n%s", d)
	}
}

// A refusal among what can be sent again does not hide that it can.
func TestRetryableBeatsFinal(t *testing.T) {
	to := recorder{commitErr: errors.New("broken")}
	md, ms := newRequest()
	gauge(ms, "", 1, second)
	gauge(ms, "a", 1, second)
	if a := send(t, newTestHandler(t, &to, Options{}), md); a.status != http.StatusServiceUnavailable {
		t.Errorf("answer %d: %s", a.status, a.text)
	}
}

func TestRequestsEndOnTheWay(t *testing.T) {
	var to recorder
	h := newTestHandler(t, &to, Options{})
	r, _ := http.NewRequest(http.MethodGet, "/", nil)
	w := newResponse()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "POST" {
		t.Errorf("GET: %d, Allow %q", w.Code, w.Header().Get("Allow"))
	}
	r, _ = http.NewRequest(http.MethodPost, "/", brokenBody{})
	r.Header.Set("Content-Type", protoType)
	w = newResponse()
	h.ServeHTTP(w, r)
	if a := readAnswer(t, w); a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
		t.Errorf("a body that breaks off: %d", a.status)
	}
}

func TestTenants(t *testing.T) {
	var to recorder
	h := newHandlerOn(t, &to, receive.HandlerOptions{TenantHeader: "X-Scope-OrgID", DefaultTenant: "nobody"}, Options{})
	md, ms := newRequest()
	gauge(ms, "a", 1, second)
	for _, headers := range [][]string{{}, {"X-Scope-OrgID", "one"}, {"THANOS-TENANT", "two"}} {
		post(t, h, proto(t, md), append(headers, "Content-Type", protoType)...).stored(t)
	}
	var got []string
	for _, s := range to.stored {
		got = append(got, s.tenant)
	}
	if want := []string{"nobody", "one", "two"}; !slices.Equal(got, want) {
		t.Errorf("tenants %q, want %q", got, want)
	}
}

// A summary or histogram that the storage refuses in part counts as one point.
func TestRejectedCountsPoints(t *testing.T) {
	to := recorder{appendErr: func(ls labels.Labels) error {
		if strings.HasPrefix(ls.Get(model.MetricNameLabel), "latency") || strings.HasPrefix(ls.Get(model.MetricNameLabel), "sizes") {
			return finalError{}
		}
		return nil
	}}
	a := send(t, newTestHandler(t, &to, Options{}), everyType())
	if a.status != http.StatusOK || a.rejected != 2 || !strings.Contains(a.text, "refused_by_storage: 8") {
		t.Errorf("answer %d, %d rejected: %s", a.status, a.rejected, a.text)
	}
}

type finalError struct{}

func (finalError) Error() string   { return "not here" }
func (finalError) Retryable() bool { return false }
