package query

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/storage"

	"github.com/varve-tsdb/varve/query/querytest"
)

// apiModel holds a few series with values that are hard to write down.
func apiModel(t testing.TB) *querytest.Model {
	m := querytest.NewModel(querytest.Data{})
	ext := labels.FromStrings("replica", "a")
	add := func(name string, s querytest.Sample, more ...string) {
		if err := m.Append(ext, labels.FromStrings(append([]string{"__name__", name}, more...)...), s); err != nil {
			t.Fatal(err)
		}
	}
	for i := range int64(5) {
		add("up", querytest.Sample{T: i * 60_000, Float: float64(i)}, "job", "a")
		add("up", querytest.Sample{T: i * 60_000, Float: float64(i) / 3}, "job", `b<&>"\`+"\n")
	}
	add("odd", querytest.Sample{T: 1, Float: math.NaN()}, "n", "1")
	add("odd", querytest.Sample{T: 20, Float: math.Inf(-1)}, "n", "2")
	add("odd", querytest.Sample{T: 300, Float: 1e21}, "n", "3")
	add("odd", querytest.Sample{T: -1, Float: 1e-7}, "n", "4")
	add("http.size", querytest.Sample{T: 1000, FloatHistogram: &histogram.FloatHistogram{
		Count: 7.5, Sum: -2, ZeroCount: 1, ZeroThreshold: 0.25,
		PositiveSpans: []histogram.Span{{Offset: 0, Length: 2}}, PositiveBuckets: []float64{4, 0},
		NegativeSpans: []histogram.Span{{Offset: 1, Length: 1}}, NegativeBuckets: []float64{2.5},
	}}, "http.route", "/a/b")
	m.AppendExemplar(ext, labels.FromStrings("__name__", "up", "job", "a"), exemplar.Exemplar{
		Labels: labels.FromStrings("trace", "<1>"), Value: math.Inf(1), Ts: 1500, HasTs: true,
	})
	m.SetMetadata(ext, "up", metadata.Metadata{Type: "gauge", Help: "Up?"})
	m.SetMetadata(ext, "http.size", metadata.Metadata{Type: "histogram", Unit: "bytes"})
	return m
}

func newTestHandler(t testing.TB, source storage.ChunkQueryable, opts HandlerOptions) *Handler {
	t.Helper()
	engine, err := NewEngine(EngineOptions{})
	if err != nil {
		t.Fatal(err)
	}
	h, err := NewHandler(engine, source, opts)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// ask sends a request with the parameters in the URL.
func ask(h http.Handler, method, target string, header ...string) *httptest.ResponseRecorder {
	path, params, _ := strings.Cut(target, "?")
	var body io.Reader
	if method == "FORM" {
		method, target, body = http.MethodPost, path, strings.NewReader(params)
		header = append(header, "Content-Type", "application/x-www-form-urlencoded")
	}
	r := httptest.NewRequest(method, target, body)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// params encodes names and values for a URL.
func params(kv ...string) string {
	v := url.Values{}
	for i := 0; i < len(kv); i += 2 {
		v.Add(kv[i], kv[i+1])
	}
	return "?" + v.Encode()
}

func success(data string) string { return `{"status":"success","data":` + data + `}` }

func failure(typ, text string) string {
	b, _ := json.Marshal(text)
	return `{"status":"error","errorType":"` + typ + `","error":` + string(b) + `}`
}

// TestAPI compares whole answers with what Prometheus writes.
func TestAPI(t *testing.T) {
	h := newTestHandler(t, apiModel(t), HandlerOptions{Build: BuildInfo{Version: "1.2.3", Revision: "abc", GoVersion: "go0"}})
	const (
		metricA = `{"__name__":"up","job":"a","replica":"a"}`
		metricB = `{"__name__":"up","job":"b<&>\"\\\n","replica":"a"}`
	)
	for _, c := range []struct {
		name, target string
		code         int
		body         string
	}{
		{"vector", "query" + params("query", "up", "time", "60"), 200, success(
			`{"resultType":"vector","result":[{"metric":` + metricA + `,"value":[60,"1"]},{"metric":` + metricB + `,"value":[60,"0.3333333333333333"]}]}`)},
		{"odd floats", "query" + params("query", `sort_by_label({__name__="odd"}, "n")`, "time", "1970-01-01T00:00:01.25Z"), 400, failure("bad_data",
			`invalid parameter "query": 1:1: parse error: function "sort_by_label" is not enabled`)},
		{"NaN", "query" + params("query", `odd{n="1"}`, "time", "0.001"), 200, success(
			`{"resultType":"vector","result":[{"metric":{"__name__":"odd","n":"1","replica":"a"},"value":[0.001,"NaN"]}]}`)},
		{"-Inf", "query" + params("query", `odd{n="2"}`, "time", "0.02"), 200, success(
			`{"resultType":"vector","result":[{"metric":{"__name__":"odd","n":"2","replica":"a"},"value":[0.020,"-Inf"]}]}`)},
		{"big", "query" + params("query", `odd{n="3"}[1s]`, "time", "0.5"), 200, success(
			`{"resultType":"matrix","result":[{"metric":{"__name__":"odd","n":"3","replica":"a"},"values":[[0.300,"1e+21"]]}]}`)},
		{"small and before 1970", "query" + params("query", `odd{n="4"}[1s]`, "time", "0"), 200, success(
			`{"resultType":"matrix","result":[{"metric":{"__name__":"odd","n":"4","replica":"a"},"values":[[-0.001,"1e-07"]]}]}`)},
		{"histogram", "query" + params("query", `{"http.size"}`, "time", "1"), 200, success(
			`{"resultType":"vector","result":[{"metric":{"__name__":"http.size","http.route":"/a/b","replica":"a"},"histogram":[1,{"count":"7.5","sum":"-2","buckets":[[1,"-2","-1","2.5"],[3,"-0.25","0.25","1"],[0,"0.5","1","4"]]}]}]}`)},
		{"histogram range", "query_range" + params("query", `{"http.size"}`, "start", "1", "end", "1", "step", "1"), 200, success(
			`{"resultType":"matrix","result":[{"metric":{"__name__":"http.size","http.route":"/a/b","replica":"a"},"histograms":[[1,{"count":"7.5","sum":"-2","buckets":[[1,"-2","-1","2.5"],[3,"-0.25","0.25","1"],[0,"0.5","1","4"]]}]]}]}`)},
		{"scalar", "query" + params("query", "-0.5", "time", "1.5"), 200, success(`{"resultType":"scalar","result":[1.5,"-0.5"]}`)},
		{"string", "query" + params("query", `"a<b"`, "time", "2"), 200, success(`{"resultType":"string","result":[2,"a\u003cb"]}`)},
		{"nothing", "query" + params("query", "missing"), 200, success(`{"resultType":"vector","result":[]}`)},
		{
			"limit", "query" + params("query", "up", "time", "60", "limit", "1"), 200,
			`{"status":"success","data":{"resultType":"vector","result":[{"metric":` + metricA + `,"value":[60,"1"]}]},"warnings":["results truncated due to limit"]}`,
		},
		{"info", "query" + params("query", "rate(up[5m])", "time", "120", "limit", "1"), 200, "*\"infos\":[\"PromQL info: metric might not be a counter"},
		{
			"warning", "query" + params("query", "quantile(2, up)", "time", "120"), 200,
			`{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[120,"+Inf"]}]},"warnings":["PromQL warning: quantile value should be between 0 and 1, got 2 (1:10)"]}`,
		},
		{"range", "query_range" + params("query", `up{job="a"}`, "start", "0", "end", "60", "step", "30s"), 200, success(
			`{"resultType":"matrix","result":[{"metric":` + metricA + `,"values":[[0,"0"],[30,"0"],[60,"1"]]}]}`)},
		{"lookback", "query" + params("query", "up", "time", "61", "lookback_delta", "500ms"), 200, success(`{"resultType":"vector","result":[]}`)},
		{"series", "series" + params("match[]", `up{job="a"}`, "match[]", "up"), 200, success("[" + metricA + "," + metricB + "]")},
		{"series in time", "series" + params("match[]", `{replica="a"}`, "end", "-0.001"), 200, success(`[{"__name__":"odd","n":"4","replica":"a"}]`)},
		{
			"series limit", "series" + params("match[]", "up", "limit", "1"), 200,
			`{"status":"success","data":[` + metricA + `],"warnings":["results truncated due to limit"]}`,
		},
		{"series none", "series" + params("match[]", "missing"), 200, success("[]")},
		{"labels", "labels", 200, success(`["__name__","http.route","job","n","replica"]`)},
		{"labels matched", "labels" + params("match[]", "up", "match[]", "odd"), 200, success(`["__name__","job","n","replica"]`)},
		{"values escape HTML", "label/job/values", 200, success(`["a","b\u003c\u0026\u003e\"\\\n"]`)},
		{"values limit", "label/n/values" + params("limit", "3"), 200, `{"status":"success","data":["1","2","3"],"warnings":["results truncated due to limit"]}`},
		{"values escaped name", "label/U__http_2e_route/values", 200, success(`["/a/b"]`)},
		{"values encoded name", "label/http%2Eroute/values", 200, success(`["/a/b"]`)},
		{"values of nothing", "label/missing/values", 200, success("[]")},
		{"exemplars", "query_exemplars" + params("query", "rate(up[1m]) + missing"), 200, success(
			`[{"seriesLabels":` + metricA + `,"exemplars":[{"labels":{"trace":"<1>"},"value":"+Inf","timestamp":1.500}]}]`)},
		{"exemplars out of range", "query_exemplars" + params("query", "up", "start", "2"), 200, success("[]")},
		{"exemplars of no selector", "query_exemplars" + params("query", "1"), 204, ""},
		{"metadata", "metadata", 200, success(`{"http.size":[{"type":"histogram","unit":"bytes","help":""}],"up":[{"type":"gauge","unit":"","help":"Up?"}]}`)},
		{"metadata of one", "metadata" + params("metric", "up"), 200, success(`{"up":[{"type":"gauge","unit":"","help":"Up?"}]}`)},
		{"metadata limit", "metadata" + params("limit", "1"), 200, success(`{"http.size":[{"type":"histogram","unit":"bytes","help":""}]}`)},
		{"build", "status/buildinfo", 200, success(`{"version":"1.2.3","revision":"abc","branch":"","buildUser":"","buildDate":"","goVersion":"go0"}`)},
		{"format", "format_query" + params("query", "sum(up)by(job)"), 200, success(`"sum by (job) (up)"`)},
		{"stats", "query" + params("query", "up", "stats", "true", "time", "60"), 200, `*"stats":{"timings":{"evalTotalTime":`},
		{
			"stats of each step", "query_range" + params("query", "up", "stats", "all", "start", "0", "end", "60", "step", "60"), 200,
			`*"totalQueryableSamplesPerStep":[[0,2],[60,2]],"totalQueryableSamples":4`,
		},
		{"stats of another kind", "query" + params("query", "1", "stats", "yes"), 200, `*"warnings":["value \"yes\" for parameter \"stats\" is deprecated`},
	} {
		t.Run(c.name, func(t *testing.T) {
			methods := []string{http.MethodGet}
			if !strings.HasPrefix(c.target, "label/") && !strings.HasPrefix(c.target, "metadata") && !strings.HasPrefix(c.target, "status") {
				methods = append(methods, "FORM")
			}
			for _, method := range methods {
				w := ask(h, method, "/api/v1/"+c.target)
				if w.Code != c.code {
					t.Errorf("%s: status %d, want %d: %s", method, w.Code, c.code, w.Body)
				}
				if part, ok := strings.CutPrefix(c.body, "*"); ok {
					if !strings.Contains(w.Body.String(), part) {
						t.Errorf("%s: %s\nlacks %s", method, w.Body, part)
					}
				} else if diff := cmp.Diff(c.body, w.Body.String()); diff != "" {
					t.Errorf("%s: (-want +got)\n%s", method, diff)
				}
			}
		})
	}
}

func TestAPIRefuses(t *testing.T) {
	h := newTestHandler(t, apiModel(t), HandlerOptions{})
	bad := func(param, text string) string {
		return failure("bad_data", fmt.Sprintf("invalid parameter %q: %s", param, text))
	}
	for target, want := range map[string]string{
		"query" + params("query", "up", "time", "x"):                                         bad("time", `invalid time value for 'time': cannot parse "x" to a valid timestamp`),
		"query" + params("query", "up", "time", "NaN"):                                       bad("time", `invalid time value for 'time': cannot parse "NaN" to a valid timestamp`),
		"query" + params("query", "up", "time", "1e30"):                                      bad("time", `invalid time value for 'time': cannot parse "1e30" to a valid timestamp. Its milliseconds overflow int64`),
		"query_range" + params("query", "up", "start", "1", "end", "Inf", "step", "1"):       bad("end", `cannot parse "Inf" to a valid timestamp. Its milliseconds overflow int64`),
		"labels" + params("start", "-1e30"):                                                  bad("start", `invalid time value for 'start': cannot parse "-1e30" to a valid timestamp. Its milliseconds overflow int64`),
		"query" + params("query", "up", "limit", "-1"):                                       bad("limit", "limit must be non-negative"),
		"query" + params("query", "up", "timeout", "x"):                                      bad("timeout", `cannot parse "x" to a valid duration`),
		"query" + params("query", "up", "timeout", "1e300"):                                  bad("timeout", `cannot parse "1e300" to a valid duration. It overflows int64`),
		"query" + params("query", "up", "lookback_delta", "x"):                               failure("bad_data", `error parsing lookback delta duration: cannot parse "x" to a valid duration`),
		"query" + params("query", "up("):                                                     bad("query", "1:4: parse error: unclosed left parenthesis"),
		"query" + params("query", "up", "dedup", "x"):                                        bad("dedup", `"x" is neither true nor false`),
		"query" + params("query", "up", "partial_response", "x"):                             bad("partial_response", `"x" is neither true nor false`),
		"query" + params("query", "up", "max_source_resolution", "-5"):                       bad("max_source_resolution", "negative resolution"),
		"query" + params("query", "up", "engine", "x"):                                       bad("engine", `no engine "x"`),
		"query" + params("query", "up", "shard_info", "{}"):                                  bad("shard_info", "not supported"),
		"query_range" + params("query", "up"):                                                bad("start", `cannot parse "" to a valid timestamp`),
		"query_range" + params("query", "up", "start", "1"):                                  bad("end", `cannot parse "" to a valid timestamp`),
		"query_range" + params("query", "up", "start", "2", "end", "1", "step", "1"):         bad("end", "end timestamp must not be before start time"),
		"query_range" + params("query", "up", "start", "1", "end", "2", "step", "0"):         bad("step", "zero or negative query resolution step widths are not accepted. Try a positive integer"),
		"query_range" + params("query", "up", "start", "1", "end", "1", "step", "0.0001"):    bad("step", "steps below one millisecond are not accepted"),
		"query_range" + params("query", "up", "start", "0", "end", "11001", "step", "1"):     failure("bad_data", "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)"),
		"query_range" + params("query", "up", "start", "-1e15", "end", "1e15", "step", "1y"): failure("bad_data", "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)"),
		"series":                               failure("bad_data", "no match[] parameter provided"),
		"series" + params("match[]", `{a=""}`): bad("match[]", "match[] must contain at least one non-empty matcher"),
		"series" + params("match[]", "up", "match[]", `{a!="b"}`): bad("match[]", "match[] must contain at least one non-empty matcher"),
		"labels" + params("match[]", `{a=~".*"}`):                 failure("bad_data", "match[] must contain at least one non-empty matcher"),
		"label//values":    failure("bad_data", `invalid label name: ""`),
		"label/%FF/values": failure("bad_data", `invalid label name: "\xff"`),
		"query_exemplars" + params("query", "up("):                          failure("bad_data", "1:4: parse error: unclosed left parenthesis"),
		"query_exemplars" + params("query", "up", "start", "2", "end", "1"): failure("bad_data", "end timestamp must not be before start timestamp"),
		"metadata" + params("limit", "x"):                                   failure("bad_data", "limit must be a number"),
	} {
		w := ask(h, http.MethodGet, "/api/v1/"+target)
		if diff := cmp.Diff(want, w.Body.String()); w.Code != http.StatusBadRequest || diff != "" {
			t.Errorf("%s: status %d (-want +got)\n%s", target, w.Code, diff)
		}
		if w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: an error may be cached", target)
		}
	}
}

func TestAPIStatusOfTheHost(t *testing.T) {
	asked := 0
	h := newTestHandler(t, apiModel(t), HandlerOptions{Status: map[string]func() any{"blocks": func() any {
		asked++
		return []struct {
			Name  string    `json:"name"`
			Since time.Time `json:"since,omitzero"`
		}{{Name: fmt.Sprint("<", asked)}}
	}}})
	for i := 1; i <= 2; i++ {
		w := ask(h, "GET", "/api/v1/status/blocks")
		if want := fmt.Sprintf(`{"status":"success","data":[{"name":"\u003c%d"}]}`, i); w.Code != 200 || strings.TrimSpace(w.Body.String()) != want {
			t.Errorf("%d %s, want %s", w.Code, w.Body, want)
		}
	}
	if w := ask(h, "GET", "/api/v1/status/other"); w.Code != 404 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for _, name := range []string{"buildinfo", "", "a/b", "Blocks"} {
		if err := (HandlerOptions{Status: map[string]func() any{name: nil}}).Validate(); err == nil || !strings.Contains(err.Error(), "Status") {
			t.Errorf("%q: %v", name, err)
		}
	}
}
