package query

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestParseTime(t *testing.T) {
	for s, want := range map[string]time.Time{
		"0":                                   time.Unix(0, 0),
		"1700000000.123":                      time.Unix(1700000000, 123e6),
		"-1.5":                                time.Unix(-2, 500e6),
		"1.0006":                              time.Unix(1, 1e6), // to the millisecond
		"2023-11-15T00:00:00Z":                time.Unix(1700006400, 0),
		"2023-11-15T01:00:00.5+01:00":         time.Unix(1700006400, 500e6),
		"9223372036854774":                    maxTime,
		"-9223372036854775":                   minTime,
		"9223309901257974.999999999":          maxTime.Truncate(time.Second), // as numbers, which are not as fine there
		"-9223309901257974":                   minTime,
		"-292273086-05-16T16:47:06Z":          minTime,
		"292277025-08-18T07:12:54.999999999Z": maxTime,
	} {
		if got, err := parseTime(s); err != nil || !got.Equal(want) {
			t.Errorf("%s: %s, %v; want %s", s, got, err, want)
		}
	}
	for _, s := range []string{"", "NaN", "now", "2023-11-15", "1s", "1e30", "-1e30", "9223372036854777", "-9223372036854779", "Inf", "-Inf"} {
		if got, err := parseTime(s); err == nil {
			t.Errorf("%q: %s", s, got)
		}
	}
}

func TestParseDuration(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"15": 15 * time.Second, "0.25": 250 * time.Millisecond, "1h30m": 90 * time.Minute, "5ms": 5 * time.Millisecond, "-2": -2 * time.Second, "0": 0,
	} {
		if got, err := parseDuration(s); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", s, got, err, want)
		}
	}
	for _, s := range []string{"", "NaN", "Inf", "1e10", "-1e10", "1 h", "h"} {
		if got, err := parseDuration(s); err == nil {
			t.Errorf("%q: %s", s, got)
		}
	}
}

func TestAcceptsGzip(t *testing.T) {
	for accept, want := range map[string]bool{
		"": false, "gzip": true, "br, gzip": true, "gzip;q=0.5, br": true, "gzip; q=0": false, "*;q=0": false, "*": true, "x-gzip": false, "identity": false,
	} {
		if got := acceptsGzip([]string{accept}); got != want {
			t.Errorf("%q: %v", accept, got)
		}
	}
}

// FuzzAPI sends arbitrary parameters to every endpoint: whatever they are, the
// answer is an envelope of a known status.
func FuzzAPI(f *testing.F) {
	for _, seed := range []string{
		"query=up&time=1", "query=up&start=0&end=60&step=30", "match[]=up&limit=1&start=1", "match[]={a=\"b\"}&match[]=up",
		"query=rate(up[5m])&start=-1e15&end=1e15&step=1y", "query=%zz", "time=NaN&query=1", "query=up&timeout=-1", "limit=99999999999999999999",
		"query=up[1y:1ms]&time=1e12", "dedup=false&replicaLabels[]=a&partial_response=1&max_source_resolution=auto&query=up", "metric=up&limit_per_metric=1",
		"query=up&start=0&end=0&step=0.0000001", "query=up&lookback_delta=-1", "query=up&stats=all",
	} {
		f.Add("query", seed)
		f.Add("query_range", seed)
		f.Add("series", seed)
		f.Add("labels", seed)
		f.Add("query_exemplars", seed)
		f.Add("metadata", seed)
		f.Add("format_query", seed)
	}
	f.Add("label/U__a_/values", "")
	f.Add("label/%ff/values", "limit=1")
	model := apiModel(f)
	engine, err := NewEngine(EngineOptions{MaxSamples: 10000, Timeout: time.Second})
	if err != nil {
		f.Fatal(err)
	}
	h, err := NewHandler(engine, NewFanout(sources(model), FanoutOptions{}), HandlerOptions{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, path, form string) {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			r, err := http.NewRequestWithContext(t.Context(), method, "http://localhost/api/v1/"+path, strings.NewReader(form))
			if err != nil {
				return // no such URL can arrive
			}
			if method == http.MethodGet {
				r.URL.RawQuery = form
			}
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			switch w.Code {
			case 200, 400, 404, 405, 422, 499, 503:
				if !json.Valid(w.Body.Bytes()) || !strings.Contains(w.Body.String(), `"status":`) {
					if strings.HasPrefix(r.URL.Path, "/api/") {
						t.Errorf("%s %s: %d, no envelope: %q", method, r.URL, w.Code, w.Body)
					}
				}
			case 204:
			default:
				t.Errorf("%s %s %q: status %d: %s", method, r.URL, form, w.Code, w.Body)
			}
		}
	})
}
