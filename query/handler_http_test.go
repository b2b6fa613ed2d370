package query

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/varve-tsdb/varve/query/querytest"
)

func TestAPIRoutes(t *testing.T) {
	h := newTestHandler(t, apiModel(t), HandlerOptions{Prefix: "/x"})
	for _, c := range []struct {
		method, path string
		code         int
		allow        string
	}{
		{"GET", "/x/api/v1/labels", 200, ""},
		{"FORM", "/x/api/v1/labels", 200, ""},
		{"GET", "/api/v1/labels", 404, ""},
		{"GET", "/x/api/v1/nothing", 404, ""},
		{"GET", "/x/api/v1/label/a/b/values", 404, ""},
		{"GET", "/x/api/v2/labels", 404, ""},
		{"GET", "/x/other", 404, ""},
		{"PUT", "/x/api/v1/labels", 405, "GET, POST, OPTIONS"},
		{"FORM", "/x/api/v1/label/job/values", 405, "GET, OPTIONS"},
		{"FORM", "/x/api/v1/metadata", 405, "GET, OPTIONS"},
		{"OPTIONS", "/x/api/v1/query", 204, ""},
	} {
		w := ask(h, c.method, c.path)
		if w.Code != c.code || w.Header().Get("Allow") != c.allow {
			t.Errorf("%s %s: %d, Allow %q; want %d, %q", c.method, c.path, w.Code, w.Header().Get("Allow"), c.code, c.allow)
		}
		if w.Code >= 400 && strings.Contains(c.path, "/x/api/") && !strings.Contains(w.Body.String(), `"status":"error"`) {
			t.Errorf("%s %s: no envelope: %s", c.method, c.path, w.Body)
		}
	}
}

func TestAPIBrokenForm(t *testing.T) {
	h := newTestHandler(t, apiModel(t), HandlerOptions{})
	for name, w := range map[string]*httptest.ResponseRecorder{
		"bad escape": ask(h, "FORM", "/api/v1/query?query=%zz"),
		"too long":   ask(h, "FORM", "/api/v1/query?query="+strings.Repeat("x", 11<<20)),
	} {
		if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "error parsing form values") {
			t.Errorf("%s: %d %.200s", name, w.Code, w.Body)
		}
	}
}

func TestAPICompresses(t *testing.T) {
	m := querytest.NewModel(querytest.Data{})
	for i := range 20000 {
		if err := m.Append(labels.EmptyLabels(), labels.FromStrings("__name__", "m", "i", fmt.Sprint(i)), querytest.Sample{T: 1}); err != nil {
			t.Fatal(err)
		}
	}
	h := newTestHandler(t, m, HandlerOptions{})
	const big, small = "/api/v1/query?query=m&time=1", "/api/v1/query?query=1&time=1"
	plain := ask(h, "GET", big)
	for accept, zipped := range map[string]bool{"gzip": true, "deflate, gzip;q=1.0": true, "*": true, "gzip;q=0": false, "deflate": false} {
		w := ask(h, "GET", big, "Accept-Encoding", accept)
		if got := w.Header().Get("Content-Encoding") == "gzip"; got != zipped {
			t.Errorf("Accept-Encoding %q: compressed %v", accept, got)
		}
		if !strings.Contains(strings.Join(w.Header().Values("Vary"), ","), "Accept-Encoding") {
			t.Errorf("Accept-Encoding %q: Vary %v", accept, w.Header().Values("Vary"))
		}
		var body io.Reader = w.Body
		if zipped {
			zr, err := gzip.NewReader(w.Body)
			if err != nil {
				t.Fatal(err)
			}
			body = zr
		}
		if b, err := io.ReadAll(body); err != nil || string(b) != plain.Body.String() {
			t.Errorf("Accept-Encoding %q: another body, %v", accept, err)
		}
	}
	if w := ask(h, "GET", small, "Accept-Encoding", "gzip"); w.Header().Get("Content-Encoding") != "" || w.Header().Get("Content-Length") != fmt.Sprint(w.Body.Len()) {
		t.Errorf("small answer: %v", w.Header())
	}
	if !json.Valid(plain.Body.Bytes()) {
		t.Error("not JSON")
	}
}

func TestAPICORS(t *testing.T) {
	for _, c := range []struct{ pattern, origin, want string }{
		{"", "http://a.test", "*"},
		{"", "", ""},
		{`https?://a\.test`, "http://a.test", "http://a.test"},
		{`https?://a\.test`, "http://a.test.evil", ""},
	} {
		opts := HandlerOptions{}
		if c.pattern != "" {
			opts.CORSOrigin = regexp.MustCompile(c.pattern)
		}
		h := newTestHandler(t, apiModel(t), opts)
		for _, method := range []string{"GET", "OPTIONS"} {
			w := ask(h, method, "/api/v1/labels", "Origin", c.origin)
			if got := w.Header().Get("Access-Control-Allow-Origin"); got != c.want {
				t.Errorf("%s: origins %q, origin %q: allowed %q, want %q", method, c.pattern, c.origin, got, c.want)
			}
		}
	}
}

func TestAPIMaxSeries(t *testing.T) {
	h := newTestHandler(t, apiModel(t), HandlerOptions{MaxSeries: 1, MaxPoints: 10})
	for _, target := range []string{"query?query=up&time=60", "query?query=up&time=60&limit=5", "labels", "label/n/values", "series?match[]=up&limit=3"} {
		if w := ask(h, "GET", "/api/v1/"+target); !strings.Contains(w.Body.String(), "results truncated due to limit") {
			t.Errorf("%s: %s", target, w.Body)
		}
	}
	if w := ask(h, "GET", "/api/v1/query_range?query=up&start=0&end=11&step=1"); w.Code != 400 || !strings.Contains(w.Body.String(), "resolution of 10 points") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestWarningsAreCut(t *testing.T) {
	var all annotations.Annotations
	for i := range 20 {
		all.Add(fmt.Errorf("%w: %02d", annotations.PromQLWarning, i))
		all.Add(fmt.Errorf("%w: %02d", annotations.PromQLInfo, i))
	}
	all.Add(errors.New("source gone"))
	warnings, infos, complete := words(all, "")
	if complete || len(warnings) != 11 || warnings[0] != "source gone" || warnings[10] != "11 more warning annotations omitted" {
		t.Errorf("warnings, complete %v: %q", complete, warnings)
	}
	if len(infos) != 11 || infos[10] != "10 more info annotations omitted" {
		t.Errorf("infos %q", infos)
	}
}

func TestHandlerMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	h := newTestHandler(t, apiModel(t), HandlerOptions{Registerer: reg})
	ask(h, "GET", "/api/v1/labels")
	ask(h, "GET", "/api/v1/label/a/values")
	ask(h, "GET", "/api/v1/query?query=(")
	ask(h, "GET", "/api/v1/whatever")
	err := testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP varve_query_requests_total Requests answered by the query API, by handler and status code.
# TYPE varve_query_requests_total counter
varve_query_requests_total{code="200",handler="label_values"} 1
varve_query_requests_total{code="200",handler="labels"} 1
varve_query_requests_total{code="400",handler="query"} 1
varve_query_requests_total{code="404",handler="unknown"} 1
# HELP varve_query_requests_in_flight Requests that the query API is answering.
# TYPE varve_query_requests_in_flight gauge
varve_query_requests_in_flight 0
`), "varve_query_requests_total", "varve_query_requests_in_flight")
	if err != nil {
		t.Error(err)
	}
}

func TestConstructorsRefuse(t *testing.T) {
	engine, err := NewEngine(EngineOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewHandler(engine, apiModel(t), HandlerOptions{Prefix: "x/", MaxPoints: -1, MaxSeries: -1}); err == nil ||
		!strings.Contains(err.Error(), "Prefix") || !strings.Contains(err.Error(), "MaxPoints") || !strings.Contains(err.Error(), "MaxSeries") {
		t.Errorf("handler: %v", err)
	}
	if _, err := NewEngine(EngineOptions{Timeout: -1, MaxSamples: -1}); err == nil ||
		!strings.Contains(err.Error(), "Timeout") || !strings.Contains(err.Error(), "MaxSamples") {
		t.Errorf("engine: %v", err)
	}
	reg := prometheus.NewRegistry()
	for i := range 2 {
		_, engineErr := NewEngine(EngineOptions{Registerer: reg})
		_, handlerErr := NewHandler(engine, apiModel(t), HandlerOptions{Registerer: reg})
		for _, err := range []error{engineErr, handlerErr} {
			if (err != nil) != (i == 1) || err != nil && !strings.Contains(err.Error(), "WrapRegistererWith") {
				t.Errorf("instance %d on one registry: %v", i+1, err)
			}
		}
	}
}
