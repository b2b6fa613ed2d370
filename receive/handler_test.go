package receive

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/prometheus/prometheus/storage"
)

func goodV1() *prompb.WriteRequest { return v1(v1Series(named("up", "job", "a"), nowMs())) }

func TestHandlerRefusesWhatIsNoRemoteWrite(t *testing.T) {
	good := goodV1()
	body, err := good.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	packed := snappy.Encode(nil, body)
	claim := func(n uint64) []byte { // a header of snappy that claims n bytes, and some
		header := []byte{}
		for ; n >= 0x80; n >>= 7 {
			header = append(header, byte(n)|0x80)
		}
		return append(append(header, byte(n)), packed[1:]...)
	}
	opts := HandlerOptions{MaxBodyBytes: 1000, MaxDecodedBytes: 2000}
	for _, tc := range []struct {
		name   string
		req    rwRequest
		status int
		texts  []string
	}{
		{"GET", rwRequest{method: "GET", body: body}, 405, []string{"GET", "POST"}},
		{"PUT", rwRequest{method: "PUT", body: body}, 405, []string{"PUT", "POST"}},
		{"form", rwRequest{typ: "application/x-www-form-urlencoded", body: body}, 415, []string{"application/x-www-form-urlencoded", requestMessageV1, requestMessageV2, "snappy"}},
		{"json", rwRequest{typ: "application/json", body: body}, 415, []string{"application/json", requestMessageV2}},
		{"unknown message", rwRequest{typ: "application/x-protobuf;proto=io.prometheus.write.v3.Request", body: body}, 415, []string{"v3", requestMessageV2}},
		{"broken type", rwRequest{typ: "application/x-protobuf;proto", body: body}, 415, []string{requestMessageV2}},
		{"zstd", rwRequest{headers: map[string]string{"Content-Encoding": "zstd"}, body: body}, 415, []string{"zstd", "snappy"}},
		{"gzip in 2.0", rwRequest{typ: typeV2, headers: map[string]string{"Content-Encoding": "gzip"}, body: body}, 415, []string{"gzip", "snappy"}},
		{"tenant leads out", rwRequest{headers: map[string]string{"THANOS-TENANT": "../x"}, body: body}, 400, []string{`"../x"`}},
		{"tenant is parent", rwRequest{headers: map[string]string{"THANOS-TENANT": ".."}, body: body}, 400, []string{`".."`}},
		{"tenant with slash", rwRequest{headers: map[string]string{"THANOS-TENANT": "a/b"}, body: body}, 400, []string{`"a/b"`}},
		{"announced too large", rwRequest{raw: make([]byte, 1001)}, 413, []string{"1001", "1000"}},
		{"decodes too large", rwRequest{raw: snappy.Encode(nil, make([]byte, 2001))}, 413, []string{"2001", "2000"}},
		{"bomb of 4 GiB", rwRequest{raw: claim(1<<32 - 1)}, 413, []string{"4294967295"}},
		{"bomb past 4 GiB", rwRequest{raw: claim(1 << 40)}, 400, []string{"snappy"}},
		{"claims what it cannot hold", rwRequest{raw: claim(1999)}, 400, []string{"1999"}},
		{"empty body", rwRequest{raw: []byte{}}, 400, []string{"empty", "snappy"}},
		{"empty body of 2.0", rwRequest{typ: typeV2, raw: []byte{}}, 400, []string{"empty", "snappy"}},
		{"no snappy", rwRequest{raw: body}, 400, []string{"snappy"}},
		{"truncated snappy", rwRequest{raw: packed[:len(packed)-3]}, 400, []string{"snappy", "cut short"}},
		{"broken snappy header", rwRequest{raw: bytes.Repeat([]byte{0xff}, 10)}, 400, []string{"snappy"}},
		{"truncated protobuf", rwRequest{body: body[:len(body)-1]}, 400, []string{"malformed protobuf", "byte"}},
		{"garbage", rwRequest{body: []byte("hello, world")}, 400, []string{"malformed protobuf"}},
		{"garbage in 2.0", rwRequest{typ: typeV2, body: []byte("hello, world")}, 400, []string{"malformed protobuf"}},
		{"2.0 under the headers of 1.0", rwRequest{typ: typeV1, message: v2Of(good)}, 400, []string{"2.0"}},
		{"2.0 without a type", rwRequest{typ: " ", message: v2Of(good)}, 400, []string{"2.0"}},
		{"1.0 under the headers of 2.0", rwRequest{typ: typeV2, message: good}, 400, []string{"1.0"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			to := newFakeStorage()
			rec := tc.req.send(t, newTestHandler(t, to, opts))
			wantAnswer(t, rec, tc.status, tc.texts...)
			if tc.status == 405 && rec.Header().Get("Allow") != "POST" {
				t.Errorf("Allow is %q", rec.Header().Get("Allow"))
			}
			if tc.req.typ == typeV2 {
				wantWritten(t, rec, 0, 0, 0)
			}
			if len(to.stored) > 0 || to.open != 0 {
				t.Errorf("stored %v, %d appenders open", to.stored, to.open)
			}
		})
	}
}

func TestHandlerTakes(t *testing.T) {
	good := goodV1()
	for _, tc := range []struct {
		name   string
		req    rwRequest
		stored int
	}{
		{"plain", rwRequest{typ: typeV1, message: good}, 1},
		{"no content type", rwRequest{message: good}, 1},
		{"1.0 by name", rwRequest{typ: typeV1 + ";proto=prometheus.WriteRequest", message: good}, 1},
		{"another parameter", rwRequest{typ: typeV1 + "; charset=utf-8", message: good}, 1},
		{"capitals", rwRequest{typ: "Application/X-Protobuf", message: good}, 1},
		{"no content encoding", rwRequest{headers: map[string]string{"Content-Encoding": ""}, message: good}, 1},
		{"2.0", rwRequest{typ: typeV2, message: v2Of(good)}, 1},
		{"2.0 with blanks", rwRequest{typ: "application/x-protobuf ; proto=io.prometheus.write.v2.Request", message: v2Of(good)}, 1},
		{"2.0 in quotes", rwRequest{typ: `application/x-protobuf; proto="io.prometheus.write.v2.Request"`, message: v2Of(good)}, 1},
		{"2.0 although the version header says 0.1", rwRequest{typ: typeV2, headers: map[string]string{"X-Prometheus-Remote-Write-Version": "0.1.0"}, message: v2Of(good)}, 1},
		{"empty 1.0", rwRequest{body: []byte{}}, 0},
		{"empty 2.0", rwRequest{typ: typeV2, body: []byte{}}, 0},
		{"symbols without series", rwRequest{message: &writev2.Request{Symbols: []string{""}}}, 0},
		{"only metadata", rwRequest{message: &prompb.WriteRequest{Metadata: []prompb.MetricMetadata{{MetricFamilyName: "up"}}}}, 0},
		{"series with nothing", rwRequest{message: v1(v1Series(named("up")))}, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			to := newFakeStorage()
			rec := tc.req.send(t, newTestHandler(t, to, HandlerOptions{}))
			wantAnswer(t, rec, 204)
			if _, ok := tc.req.message.(*writev2.Request); ok {
				wantWritten(t, rec, tc.stored, 0, 0)
			} else if tc.req.typ != typeV2 && rec.Header().Get(headerSamplesWritten) != "" {
				t.Error("an answer to 1.0 has a Written header")
			}
			if len(to.stored) != tc.stored {
				t.Errorf("stored %v, want %d", to.stored, tc.stored)
			}
			if tc.stored == 0 && to.commits > 0 {
				t.Error("a request without samples opened a transaction")
			}
		})
	}
}

func TestHandlerTenants(t *testing.T) {
	for _, tc := range []struct {
		name    string
		opts    HandlerOptions
		headers map[string]string
		want    string
	}{
		{"default", HandlerOptions{}, nil, "default-tenant"},
		{"default by option", HandlerOptions{DefaultTenant: "none"}, nil, "none"},
		{"header", HandlerOptions{}, map[string]string{"THANOS-TENANT": "a"}, "a"},
		{"header by option", HandlerOptions{TenantHeader: "X-Scope-OrgID"}, map[string]string{"X-Scope-OrgID": "b", "THANOS-TENANT": "a"}, "b"},
		{"usual header although another is set", HandlerOptions{TenantHeader: "X-Scope-OrgID"}, map[string]string{"THANOS-TENANT": "a"}, "a"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			to := newFakeStorage()
			wantAnswer(t, rwRequest{headers: tc.headers, message: goodV1()}.send(t, newTestHandler(t, to, tc.opts)), 204)
			if len(to.stored) != 1 || to.stored[0].tenant != tc.want {
				t.Errorf("stored %v, want it for tenant %s", to.stored, tc.want)
			}
		})
	}
}

// A proxy that adds a header to one that is there must not decide whose samples
// they are.
func TestHandlerRefusesTwoTenants(t *testing.T) {
	for _, tc := range []struct {
		name   string
		opts   HandlerOptions
		header http.Header
		status int
		text   string
	}{
		{"two", HandlerOptions{}, http.Header{"Thanos-Tenant": {"a", "b"}}, 400, "Thanos-Tenant"},
		{"twice the same", HandlerOptions{}, http.Header{"Thanos-Tenant": {"a", "a"}}, 400, "Thanos-Tenant"},
		{"two in a header by option", HandlerOptions{TenantHeader: "X-Scope-OrgID"}, http.Header{"X-Scope-Orgid": {"a", "b"}}, 400, "X-Scope-Orgid"},
		{"two in the usual one, which counts", HandlerOptions{TenantHeader: "X-Scope-OrgID"}, http.Header{"Thanos-Tenant": {"a", "b"}}, 400, "Thanos-Tenant"},
		{"two in the usual one, which does not count", HandlerOptions{TenantHeader: "X-Scope-OrgID"}, http.Header{"X-Scope-Orgid": {"a"}, "Thanos-Tenant": {"b", "c"}}, 204, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			to := newFakeStorage()
			req := httptest.NewRequest("POST", "/", bytes.NewReader(snappy.Encode(nil, mustMarshal(t, goodV1()))))
			req.Header = tc.header
			rec := httptest.NewRecorder()
			newTestHandler(t, to, tc.opts).ServeHTTP(rec, req)
			if rec.Code != tc.status || !strings.Contains(rec.Body.String(), tc.text) {
				t.Errorf("%d %s", rec.Code, rec.Body)
			}
			if stored := tc.status == 204; (len(to.stored) > 0) != stored {
				t.Errorf("stored %v", to.stored)
			}
		})
	}
}

func mustMarshal(t *testing.T, msg *prompb.WriteRequest) []byte {
	t.Helper()
	body, err := msg.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// A body without a length is bounded as it is read.
func TestHandlerBoundsChunkedBodies(t *testing.T) {
	h := newTestHandler(t, newFakeStorage(), HandlerOptions{MaxBodyBytes: 100_000})
	for size, status := range map[int]int{99_999: 400, 100_000: 400, 100_001: 413, 1 << 20: 413} {
		req := httptest.NewRequest("POST", "/", io.MultiReader(bytes.NewReader(bytes.Repeat([]byte{0xff}, size))))
		if req.ContentLength > 0 {
			t.Fatal("the body has a length")
		}
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, req)
		if rec.Code != status {
			t.Errorf("%d bytes: status %d (%s), want %d", size, rec.Code, rec.Body, status)
		}
	}
}

// What the network has lost may come through the next time.
func TestHandlerAsksForCutBodiesAgain(t *testing.T) {
	req := httptest.NewRequest("POST", "/", io.MultiReader(strings.NewReader("\x10"), iotest.ErrReader(io.ErrUnexpectedEOF)))
	rec := httptest.NewRecorder()
	newTestHandler(t, newFakeStorage(), HandlerOptions{}).ServeHTTP(rec, req)
	wantAnswer(t, rec, 503, "again")
}

func TestHandlerStorageFailures(t *testing.T) {
	permanent := &TenantError{Tenant: "x", Kind: ErrInvalidTenant}
	for _, tc := range []struct {
		name   string
		set    func(*fakeStorage)
		status int
		text   string
	}{
		{"not available", func(f *fakeStorage) { f.appenderErr = ErrUnavailable }, 503, "send the request again"},
		{"tenant failed", func(f *fakeStorage) { f.appenderErr = &TenantError{Tenant: "x", Kind: ErrTenantFailed} }, 503, "not available"},
		{"disk full at commit", func(f *fakeStorage) { f.commitErr = &TenantError{Tenant: "x", Kind: ErrNoSpace} }, 503, "disk"},
		{"closed", func(f *fakeStorage) { f.appenderErr = ErrClosed }, 503, "closed"},
		{"unknown at opening", func(f *fakeStorage) { f.appenderErr = errBroken }, 500, "fell off"},
		{"unknown at commit", func(f *fakeStorage) { f.commitErr = errBroken }, 500, "fell off"},
		{"a sample's error at commit", func(f *fakeStorage) { f.commitErr = storage.ErrOutOfOrderSample }, 500, "commit"},
		{"unknown while appending", func(f *fakeStorage) {
			f.appendErr = func(_ labels.Labels, ts int64) error { return map[bool]error{true: errBroken}[ts%1000 == 3] }
		}, 500, "fell off"},
		{"final for the tenant", func(f *fakeStorage) { f.appenderErr = permanent }, 400, "will not help"},
	} {
		for _, version := range []string{"1.0", "2.0"} {
			t.Run(tc.name+" "+version, func(t *testing.T) {
				to := newFakeStorage()
				tc.set(to)
				at := nowMs() / 1000 * 1000
				msg := v1(v1Series(named("a"), at+1, at+2), v1Series(named("b"), at+3), v1Series(named("c"), at+4), v1Series([]string{"no", "name"}, at))
				req := rwRequest{message: msg}
				if version == "2.0" {
					req.message = v2Of(msg)
				}
				reg := prometheus.NewRegistry()
				rec := req.send(t, newTestHandler(t, to, HandlerOptions{Registerer: reg, RetryAfter: 1500 * time.Millisecond}))
				wantAnswer(t, rec, tc.status, tc.text, "0 of 5 samples")
				if version == "2.0" {
					wantWritten(t, rec, 0, 0, 0)
				}
				if got, want := rec.Header().Get("Retry-After"), map[bool]string{true: "2"}[tc.status >= 500]; got != want {
					t.Errorf("Retry-After %q, want %q", got, want)
				}
				if len(to.stored) > 0 || to.open != 0 {
					t.Errorf("stored %v, %d appenders open", to.stored, to.open)
				}
				if n := sumOf(t, reg, "varve_receive_samples_total"); n != 5 {
					t.Errorf("%v samples are counted, want all 5", n)
				}
			})
		}
	}
}

func TestHandlerKeepsMetadataOfV1(t *testing.T) {
	to := newFakeStorage()
	msg := &prompb.WriteRequest{Metadata: []prompb.MetricMetadata{
		{Type: prompb.MetricMetadata_COUNTER, MetricFamilyName: "requests_total", Help: "How many.", Unit: "requests"},
		{MetricFamilyName: "bad", Help: "\xff"},
		{Help: "of nothing"},
	}}
	wantAnswer(t, rwRequest{message: msg}.send(t, newTestHandler(t, to, HandlerOptions{})), 204)
	want := map[string]metadata.Metadata{
		"default-tenant/requests_total": {Type: model.MetricTypeCounter, Help: "How many.", Unit: "requests"},
		"default-tenant/bad":            {Type: model.MetricTypeUnknown, Help: "\uFFFD"},
	}
	for family, m := range want {
		if to.families[family] != m {
			t.Errorf("%s is %+v, want %+v", family, to.families[family], m)
		}
	}
	if len(to.families) != len(want) {
		t.Errorf("kept %v", to.families)
	}
	// A storage without the power to keep it is no reason to fail.
	wantAnswer(t, rwRequest{message: msg}.send(t, newTestHandler(t, onlyAppends{to}, HandlerOptions{})), 204)
}

// onlyAppends hides the optional powers of a storage.
type onlyAppends struct{ Appendable }

func TestHandlerMalformedMetadataStoresNothing(t *testing.T) {
	good, err := goodV1().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	to := newFakeStorage()
	wantAnswer(t, rwRequest{body: append(good, 0x1a, 1, 0x80)}.send(t, newTestHandler(t, to, HandlerOptions{})), 400, "MetricMetadata")
	if len(to.stored)+len(to.families) > 0 {
		t.Error("something of a malformed request is stored")
	}
}

func TestHandlerMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	h := newTestHandler(t, newFakeStorage(), HandlerOptions{Registerer: reg})
	at := nowMs()
	wantAnswer(t, rwRequest{message: v1(v1Series(named("a"), at, at), v1Series([]string{"b", "c"}, at))}.send(t, h), 400)
	wantAnswer(t, rwRequest{message: v2Of(goodV1())}.send(t, h), 204)
	wantAnswer(t, rwRequest{method: "GET"}.send(t, h), 405)
	want := `
# HELP varve_receive_requests_total Remote write requests by protocol version, peer for those that other receivers have forwarded, and status code of the answer.
# TYPE varve_receive_requests_total counter
varve_receive_requests_total{code="204",version="2.0"} 1
varve_receive_requests_total{code="400",version="1.0"} 1
varve_receive_requests_total{code="405",version="unknown"} 1
# HELP varve_receive_samples_total Samples received, histograms included, by tenant (empty before it has any) and what became of them.
# TYPE varve_receive_samples_total counter
varve_receive_samples_total{reason="duplicate",tenant="default-tenant"} 1
varve_receive_samples_total{reason="missing_metric_name",tenant="default-tenant"} 1
varve_receive_samples_total{reason="stored",tenant="default-tenant"} 2
# HELP varve_receive_requests_in_flight Remote write requests being handled now.
# TYPE varve_receive_requests_in_flight gauge
varve_receive_requests_in_flight 0
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "varve_receive_requests_total", "varve_receive_samples_total", "varve_receive_requests_in_flight"); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v %v", problems, err)
	}
}

func sumOf(t *testing.T, reg *prometheus.Registry, name string) (sum float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}
