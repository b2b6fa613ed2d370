package otlp

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/varve-tsdb/varve/receive"
)

// recorder is a storage that keeps what it is given in a list. It has the rules
// of a head as far as tests need them.
type recorder struct {
	mu        sync.Mutex
	stored    []recorded
	newest    map[string]recorded
	openErr   error
	appendErr func(ls labels.Labels) error
	commitErr error
}

type recorded struct {
	tenant, series string
	st, t          int64
	v              float64
	h              *histogram.Histogram
	opts           storage.AppendV2Options
}

func (r recorded) String() string {
	val := fmt.Sprint(r.v)
	if r.h != nil {
		val = r.h.String()
	} else if value.IsStaleNaN(r.v) {
		val = "stale"
	}
	return fmt.Sprintf("%s @%d %s", r.series, r.t, val)
}

func (r *recorder) Appender(_ context.Context, tenant string) (storage.AppenderV2, error) {
	if r.openErr != nil {
		return nil, r.openErr
	}
	return &recording{to: r, tenant: tenant}, nil
}

// lines returns what is stored, sorted.
func (r *recorder) lines() (lines []string) {
	for _, s := range r.stored {
		lines = append(lines, s.String())
	}
	slices.Sort(lines)
	return lines
}

type recording struct {
	to     *recorder
	tenant string
	held   []recorded
}

func (a *recording) Append(_ storage.SeriesRef, ls labels.Labels, st, t int64, v float64, h *histogram.Histogram, _ *histogram.FloatHistogram, opts storage.AppendV2Options) (storage.SeriesRef, error) {
	if a.to.appendErr != nil {
		if err := a.to.appendErr(ls); err != nil {
			return 0, err
		}
	}
	sample := recorded{a.tenant, ls.String(), st, t, v, h, opts}
	sample.opts.Exemplars = slices.Clone(opts.Exemplars)
	a.to.mu.Lock()
	defer a.to.mu.Unlock()
	if last, ok := a.to.newest[a.tenant+ls.String()]; ok {
		if t < last.t {
			return 0, storage.ErrOutOfOrderSample
		}
		if t == last.t && sample.String() != last.String() {
			return 0, storage.ErrDuplicateSampleForTimestamp
		}
	}
	a.held = append(a.held, sample)
	return 1, nil
}

func (a *recording) Commit() error {
	if a.to.commitErr != nil {
		return a.to.commitErr
	}
	a.to.mu.Lock()
	defer a.to.mu.Unlock()
	for _, s := range a.held {
		key := s.tenant + s.series
		if last, ok := a.to.newest[key]; ok && last.t == s.t {
			continue
		}
		if a.to.newest == nil {
			a.to.newest = map[string]recorded{}
		}
		a.to.newest[key] = s
		a.to.stored = append(a.to.stored, s)
	}
	return nil
}

func (a *recording) Rollback() error { return nil }

func newTestHandler(t testing.TB, to receive.Appendable, opts Options) *Handler {
	t.Helper()
	return newHandlerOn(t, to, receive.HandlerOptions{}, opts)
}

func newHandlerOn(t testing.TB, to receive.Appendable, write receive.HandlerOptions, opts Options) *Handler {
	t.Helper()
	w, err := receive.NewHandler(to, write)
	if err != nil {
		t.Fatal(err)
	}
	h, err := NewHandler(w, opts)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// second is the time of most points, as OTLP and as Prometheus count it.
const second = pcommon.Timestamp(1_700_000_000_000_000_000)

// now is second in milliseconds.
const now = int64(second / 1_000_000)

func at(offset time.Duration) pcommon.Timestamp { return second + pcommon.Timestamp(offset) }

// metrics returns a request with one resource, service.name="svc", and one scope.
func newRequest() (pmetric.Metrics, pmetric.MetricSlice) {
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr("service.name", "svc")
	return md, rm.ScopeMetrics().AppendEmpty().Metrics()
}

func gauge(ms pmetric.MetricSlice, name string, v float64, t pcommon.Timestamp) pmetric.NumberDataPoint {
	m := ms.AppendEmpty()
	m.SetName(name)
	p := m.SetEmptyGauge().DataPoints().AppendEmpty()
	p.SetDoubleValue(v)
	p.SetTimestamp(t)
	return p
}

func sum(ms pmetric.MetricSlice, name string, temporality pmetric.AggregationTemporality, v int64, t pcommon.Timestamp) pmetric.NumberDataPoint {
	m := ms.AppendEmpty()
	m.SetName(name)
	s := m.SetEmptySum()
	s.SetIsMonotonic(true)
	s.SetAggregationTemporality(temporality)
	p := s.DataPoints().AppendEmpty()
	p.SetIntValue(v)
	p.SetTimestamp(t)
	return p
}

func explicit(ms pmetric.MetricSlice, name string, temporality pmetric.AggregationTemporality, t pcommon.Timestamp, counts ...uint64) pmetric.HistogramDataPoint {
	m := ms.AppendEmpty()
	m.SetName(name)
	m.SetEmptyHistogram().SetAggregationTemporality(temporality)
	p := m.Histogram().DataPoints().AppendEmpty()
	p.SetTimestamp(t)
	var total uint64
	for i, n := range counts {
		total += n
		if i < len(counts)-1 {
			p.ExplicitBounds().Append(float64(i + 1))
		}
	}
	p.BucketCounts().FromRaw(counts)
	p.SetCount(total)
	p.SetSum(float64(10 * total))
	return p
}

func exponential(ms pmetric.MetricSlice, name string, temporality pmetric.AggregationTemporality, t pcommon.Timestamp, scale, offset int32, counts ...uint64) pmetric.ExponentialHistogramDataPoint {
	m := ms.AppendEmpty()
	m.SetName(name)
	m.SetEmptyExponentialHistogram().SetAggregationTemporality(temporality)
	p := m.ExponentialHistogram().DataPoints().AppendEmpty()
	p.SetTimestamp(t)
	p.SetScale(scale)
	p.Positive().SetOffset(offset)
	p.Positive().BucketCounts().FromRaw(counts)
	var total uint64
	for _, n := range counts {
		total += n
	}
	p.SetCount(total)
	p.SetSum(float64(total))
	return p
}

const (
	cumulative = pmetric.AggregationTemporalityCumulative
	delta      = pmetric.AggregationTemporalityDelta
)

// answered is an answer, decoded.
type answered struct {
	status     int
	header     http.Header
	rejected   int64
	text       string
	rpcCode    int64
	successful bool // the body is an ExportMetricsServiceResponse
}

func proto(t testing.TB, md pmetric.Metrics) []byte {
	t.Helper()
	body, err := pmetricotlp.NewExportRequestFromMetrics(md).MarshalProto()
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func jsonBody(t testing.TB, md pmetric.Metrics) []byte {
	t.Helper()
	body, err := pmetricotlp.NewExportRequestFromMetrics(md).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func zip(t testing.TB, body []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func send(t testing.TB, h http.Handler, md pmetric.Metrics) answered {
	t.Helper()
	return post(t, h, proto(t, md), "Content-Type", protoType)
}

func post(t testing.TB, h http.Handler, body []byte, headers ...string) answered {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/api/v1/otlp/v1/metrics", bytes.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return readAnswer(t, w)
}

func readAnswer(t testing.TB, w *httptest.ResponseRecorder) answered {
	t.Helper()
	a := answered{status: w.Code, header: w.Header(), successful: w.Code == http.StatusOK}
	body := w.Body.Bytes()
	typ := w.Header().Get("Content-Type")
	switch {
	case a.successful && typ == protoType, a.successful && typ == jsonType:
		resp := pmetricotlp.NewExportResponse()
		unmarshal := resp.UnmarshalProto
		if typ == jsonType {
			unmarshal = resp.UnmarshalJSON
		}
		if err := unmarshal(body); err != nil {
			t.Fatalf("answer %q: %v", body, err)
		}
		a.rejected, a.text = resp.PartialSuccess().RejectedDataPoints(), resp.PartialSuccess().ErrorMessage()
	case typ == protoType:
		for len(body) > 0 {
			num, typ, n := protowire.ConsumeTag(body)
			if n < 0 {
				t.Fatalf("answer %q is no Status", body)
			}
			body = body[n:]
			if num == 1 && typ == protowire.VarintType {
				code, m := protowire.ConsumeVarint(body)
				a.rpcCode, n = int64(code), m
			} else {
				text, m := protowire.ConsumeString(body)
				a.text, n = text, m
			}
			body = body[n:]
		}
	case typ == jsonType:
		var status struct {
			Code    int64
			Message string
		}
		if err := json.Unmarshal(body, &status); err != nil {
			t.Fatalf("answer %q: %v", body, err)
		}
		a.rpcCode, a.text = status.Code, status.Message
	case strings.HasPrefix(typ, "text/plain"):
		a.text = string(body)
	default:
		t.Fatalf("answer %d of type %q: %q", w.Code, typ, body)
	}
	return a
}

// stored fails the test unless the request was stored in full.
func (a answered) stored(t testing.TB) {
	t.Helper()
	if a.status != http.StatusOK || a.rejected != 0 || a.text != "" {
		t.Fatalf("answer %d, %d rejected: %s", a.status, a.rejected, a.text)
	}
}

func newResponse() *httptest.ResponseRecorder { return httptest.NewRecorder() }

// brokenBody is the body of a sender that goes away.
type brokenBody struct{}

func (brokenBody) Read([]byte) (int, error) { return 0, fmt.Errorf("connection reset") }

// counted returns the value of the counter with these labels, given as names
// and values.
func counted(t testing.TB, reg prometheus.Gatherer, name string, labels ...string) (n float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			has := map[string]string{}
			for _, l := range m.GetLabel() {
				has[l.GetName()] = l.GetValue()
			}
			match := true
			for i := 0; i < len(labels); i += 2 {
				match = match && has[labels[i]] == labels[i+1]
			}
			if match {
				n += m.GetCounter().GetValue()
			}
		}
	}
	return n
}
