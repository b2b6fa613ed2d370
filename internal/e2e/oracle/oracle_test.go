package oracle

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	jsoniter "github.com/json-iterator/go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/route"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	v1 "github.com/prometheus/prometheus/web/api/v1"

	"github.com/varve-tsdb/varve/query"
)

// Varve answers like Prometheus, to the byte, save for what normal does to both
// answers and what the tests below it name.
func TestAnswersAreThoseOfPrometheus(t *testing.T) {
	db := openDB(t)
	oracle := newPrometheus(t, db)
	fanout := query.NewFanout([]storage.ChunkQueryable{db}, query.FanoutOptions{})
	varve := map[string]http.Handler{"the storage": newVarve(t, db), "a fan-out": newVarve(t, fanout)}
	requests := generate(2000)
	statuses, endpoints, empty := map[int]int{}, map[string]int{}, 0
	for _, r := range requests {
		wantCode, want := ask(t, oracle, r)
		statuses[wantCode]++
		endpoints[r.endpoint()]++
		if strings.Contains(want, `"result":[]`) || strings.Contains(want, `"data":[]`) {
			empty++
		}
		for over, h := range varve {
			if gotCode, got := ask(t, h, r); gotCode != wantCode || got != want {
				t.Errorf("%s, over %s\n got %d %s\nwant %d %s", r, over, gotCode, short(got, want), wantCode, short(want, got))
			}
		}
	}
	t.Logf("%d requests: statuses %v, endpoints %v, %d empty answers", len(requests), statuses, endpoints, empty)
	if statuses[200]-empty < len(requests)/3 || statuses[400] < len(requests)/20 {
		t.Error("these are not the requests that were meant")
	}
}

// Where Varve differs it means to: each of these is a request that Prometheus
// answers in a way that helps nobody.
func TestAnswersThatDifferOnPurpose(t *testing.T) {
	db := openDB(t)
	varve, oracle := newVarve(t, db), newPrometheus(t, db)
	for _, c := range []struct {
		name, target  string
		varve, theirs int
	}{
		{"a time that overflows", "query?query=up&time=1e30", 400, 200},
		{"no time", "query?query=up&time=NaN", 400, 200},
		{"a path that is not there", "nothing", 404, 404},
	} {
		r := request{method: http.MethodGet, target: c.target}
		code, got := ask(t, varve, r)
		theirs, want := ask(t, oracle, r)
		if code != c.varve || theirs != c.theirs || got == want {
			t.Errorf("%s: Varve says %d %s, Prometheus %d %s", c.name, code, got, theirs, want)
		}
	}
}

// short cuts what is equal at the start of two long texts.
func short(s, other string) string {
	const context, most = 100, 600
	n := 0
	for n < len(s) && n < len(other) && s[n] == other[n] {
		n++
	}
	if n > context {
		s = "…" + s[n-context:]
	}
	return s[:min(len(s), most)]
}

// request is one request to both. Parameters of a POST go in its body.
type request struct {
	method, target string
	form           url.Values
}

func (r request) String() string {
	return r.method + " " + r.target + " " + r.form.Encode()
}

func (r request) endpoint() string {
	path, _, _ := strings.Cut(r.target, "?")
	if strings.HasPrefix(path, "label/") {
		return "label values"
	}
	return path
}

func ask(t *testing.T, h http.Handler, r request) (int, string) {
	t.Helper()
	var req *http.Request
	if r.method == http.MethodPost {
		req = httptest.NewRequest(r.method, "/api/v1/"+r.target, strings.NewReader(r.form.Encode()))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	} else {
		req = httptest.NewRequest(r.method, "/api/v1/"+r.target, nil)
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, req)
	return rec.Code, rec.Header().Get("Content-Type") + " " + normal(t, rec.Body.String())
}

var (
	timings = regexp.MustCompile(`"timings":\{[^}]*\}`)
	// What Prometheus says of a limit that is no number is the text of strconv.
	limits      = regexp.MustCompile(`(invalid parameter \\"limit\\": )[^}]*`)
	annotations = regexp.MustCompile(`,"(warnings|infos)":(\[(?:"(?:[^"\\]|\\.)*",?)+\])`)
)

// normal takes out of an answer what differs between two answers of Prometheus
// itself: how long it took, and the order of warnings and infos. What is wrong
// with a limit we say in words of our own.
func normal(t *testing.T, body string) string {
	t.Helper()
	body = timings.ReplaceAllString(body, `"timings":{}`)
	body = limits.ReplaceAllString(body, `${1}..."`)
	return annotations.ReplaceAllStringFunc(body, func(field string) string {
		parts := annotations.FindStringSubmatch(field)
		var list []string
		if err := jsoniter.UnmarshalFromString(parts[2], &list); err != nil {
			t.Fatalf("%s in an answer: %v", field, err)
		}
		slices.Sort(list)
		return `,"` + parts[1] + `":["` + strings.Join(list, `","`) + `"]`
	})
}

func newVarve(t *testing.T, source storage.ChunkQueryable) http.Handler {
	t.Helper()
	engine, err := query.NewEngine(query.EngineOptions{})
	if err != nil {
		t.Fatal(err)
	}
	h, err := query.NewHandler(engine, source, query.HandlerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// newPrometheus is the API as Prometheus' main sets it up without flags, but
// for statistics by step, for which it has one.
func newPrometheus(t *testing.T, db *tsdb.DB) http.Handler {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	language := parser.NewParser(parser.Options{})
	engine := promql.NewEngine(promql.EngineOpts{
		Logger: log, MaxSamples: 50_000_000, Timeout: 2 * time.Minute, LookbackDelta: 5 * time.Minute,
		NoStepSubqueryIntervalFn: func(int64) int64 { return time.Minute.Milliseconds() },
		EnableAtModifier:         true, EnableNegativeOffset: true, EnablePerStepStats: true, Parser: language,
	})
	api := v1.NewAPI(
		engine, db, nil, nil, db,
		nil, nil, nil, // scrape pools, targets, Alertmanagers
		func() config.Config { return config.Config{} }, nil, v1.GlobalURLOptions{},
		func(f http.HandlerFunc) http.HandlerFunc { return f }, // ready
		nil, "", false, false, 0, // admin and search
		log, nil, 0, 0, 0, false, nil,
		func() (v1.RuntimeInfo, error) { return v1.RuntimeInfo{}, errors.New("not asked for") },
		&v1.PrometheusVersion{}, nil, nil,
		prometheus.NewRegistry(), prometheus.NewRegistry(), nil,
		false, nil, false, false, false, false, // writing
		5*time.Minute, false, false, nil, nil, v1.OpenAPIOptions{}, language,
	)
	router := route.New().WithPrefix("/api/v1")
	api.Register(router)
	return router
}

// openDB opens a TSDB with the samples that fill makes.
func openDB(t *testing.T) *tsdb.DB {
	t.Helper()
	opts := tsdb.DefaultOptions()
	opts.EnableExemplarStorage, opts.MaxExemplars = true, 1000
	opts.RetentionDuration = 0
	db, err := tsdb.Open(t.TempDir(), slog.New(slog.DiscardHandler), nil, opts, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	db.DisableCompactions()
	fill(t, db)
	return db
}

func appended(t *testing.T, db *tsdb.DB, add func(storage.Appender) error) {
	t.Helper()
	app := db.Appender(context.Background())
	if err := errors.Join(add(app), app.Commit()); err != nil {
		t.Fatal(err)
	}
}
