package query

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
)

// failing is a source that fails as it is told.
type failing struct {
	storage.ChunkQueryable
	err   error
	panic any
	seen  func(context.Context)
}

func (f failing) ChunkQuerier(mint, maxt int64) (storage.ChunkQuerier, error) {
	q, err := f.ChunkQueryable.ChunkQuerier(mint, maxt)
	return failingQuerier{q, f}, err
}

type failingQuerier struct {
	storage.ChunkQuerier
	f failing
}

func (q failingQuerier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, ms ...*labels.Matcher) storage.ChunkSeriesSet {
	if q.f.seen != nil {
		q.f.seen(ctx)
	}
	if q.f.panic != nil {
		panic(q.f.panic)
	}
	if q.f.err != nil {
		return storage.ErrChunkSeriesSet(q.f.err)
	}
	return q.ChunkQuerier.Select(ctx, sorted, hints, ms...)
}

func (q failingQuerier) LabelNames(ctx context.Context, hints *storage.LabelHints, ms ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	if q.f.panic != nil {
		panic(q.f.panic)
	}
	if q.f.err != nil {
		return nil, nil, q.f.err
	}
	return q.ChunkQuerier.LabelNames(ctx, hints, ms...)
}

type marked struct {
	error
	unavailable, limited bool
}

func (m marked) Unavailable() bool   { return m.unavailable }
func (m marked) LimitExceeded() bool { return m.limited }

func TestAPIErrorTypes(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
		typ  string
	}{
		{errors.New("broken"), 422, "execution"},
		{fmt.Errorf("read: %w", context.Canceled), 499, "canceled"},
		{fmt.Errorf("read: %w", context.DeadlineExceeded), 503, "timeout"},
		{marked{errors.New("starting"), true, false}, 503, "unavailable"},
		{fmt.Errorf("too much: %w", marked{context.Canceled, false, true}), 422, "execution"},
		{promql.ErrTooManySamples("x"), 422, "execution"},
		{promql.ErrStorage{Err: errors.New("broken")}, 500, "internal"},
		{promql.ErrStorage{Err: marked{errors.New("starting"), true, false}}, 503, "unavailable"},
		{promql.ErrQueryTimeout("x"), 503, "timeout"},
		{promql.ErrQueryCanceled("x"), 499, "canceled"},
	} {
		h := newTestHandler(t, NewFanout([]storage.ChunkQueryable{failing{ChunkQueryable: apiModel(t), err: c.err}}, FanoutOptions{}), HandlerOptions{})
		for _, target := range []string{"query?query=up", "query_range?query=up&start=1&end=2&step=1", "series?match[]=up", "labels"} {
			w := ask(h, "GET", "/api/v1/"+target)
			if w.Code != c.code || !strings.Contains(w.Body.String(), `"errorType":"`+c.typ+`"`) {
				t.Errorf("%T %v, %s: %d %s, want %d %s", c.err, c.err, target, w.Code, w.Body, c.code, c.typ)
			}
		}
	}
}

func TestAPITimeout(t *testing.T) {
	h := newTestHandler(t, apiModel(t), HandlerOptions{})
	if w := ask(h, "GET", "/api/v1/query?query=up&timeout=0.0000001"); w.Code != 503 || !strings.Contains(w.Body.String(), `"timeout"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	r := httptest.NewRequest("GET", "/api/v1/query?query=up", nil)
	ctx, cancel := context.WithCancel(r.Context())
	cancel()
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, r.WithContext(ctx)); w.Code != 499 {
		t.Errorf("client gone: %d %s", w.Code, w.Body)
	}
}

func TestAPISurvivesPanics(t *testing.T) {
	for name, source := range map[string]storage.ChunkQueryable{
		"in a source":         failing{ChunkQueryable: apiModel(t), panic: "boom"},
		"in a fanned out one": NewFanout([]storage.ChunkQueryable{failing{ChunkQueryable: apiModel(t), panic: "boom"}}, FanoutOptions{}),
	} {
		h := newTestHandler(t, source, HandlerOptions{})
		for _, target := range []string{"query?query=up", "labels", "series?match[]=up"} {
			w := ask(h, "GET", "/api/v1/"+target)
			if w.Code < 400 || !strings.Contains(w.Body.String(), "boom") || !strings.Contains(w.Body.String(), `"status":"error"`) {
				t.Errorf("%s, %s: %d %s", name, target, w.Code, w.Body)
			}
		}
	}
}

func TestAPIReadOptions(t *testing.T) {
	base := ReadOptions{Tenant: "t", ReplicaLabels: []string{"r"}}
	for target, want := range map[string]ReadOptions{
		"query?query=up": base,
		"query?query=up&dedup=false&partial_response=1&max_source_resolution=5m":             {Tenant: "t", NoDedup: true, Partial: true, ReplicaLabels: []string{"r"}, MaxResolution: 5 * time.Minute},
		"query?query=up&replicaLabels[]=a&replicaLabels[]=b":                                 {Tenant: "t", ReplicaLabels: []string{"a", "b"}},
		"query?query=up&max_source_resolution=auto":                                          base,
		"query_range?query=up&start=0&end=60&step=60&max_source_resolution=auto":             {Tenant: "t", ReplicaLabels: []string{"r"}, MaxResolution: 12 * time.Second},
		"series?match[]=up&dedup=0":                                                          {Tenant: "t", NoDedup: true, ReplicaLabels: []string{"r"}, MaxResolution: math.MaxInt64},
		"query?query=up&engine=thanos&shard_info=null&storeMatch[]=&max_source_resolution=0": base,
	} {
		var got ReadOptions
		h := newTestHandler(t, failing{ChunkQueryable: apiModel(t), seen: func(ctx context.Context) { got = ReadOptionsFrom(ctx) }}, HandlerOptions{})
		r := httptest.NewRequest("GET", "/api/v1/"+target, nil)
		h.ServeHTTP(httptest.NewRecorder(), r.WithContext(WithReadOptions(r.Context(), base)))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", target, diff)
		}
	}
}

func TestAutoDownsampling(t *testing.T) {
	for target, want := range map[string]time.Duration{
		"query?query=up": 0,
		"query_range?query=up&start=0&end=60&step=1h":                          12 * time.Minute,
		"query_range?query=up&start=0&end=60&step=1h&max_source_resolution=0":  0,
		"query_range?query=up&start=0&end=60&step=1h&max_source_resolution=1h": time.Hour,
	} {
		got := time.Duration(-1)
		h := newTestHandler(t, failing{ChunkQueryable: apiModel(t), seen: func(ctx context.Context) { got = ReadOptionsFrom(ctx).MaxResolution }}, HandlerOptions{AutoDownsampling: true})
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/api/v1/"+target, nil))
		if got != want {
			t.Errorf("%s: up to %s, want %s", target, got, want)
		}
	}
}

// Samples of an hour's resolution are an hour apart: the answer must not be full
// of holes.
func TestCoarseDataIsLookedBackTo(t *testing.T) {
	h := newTestHandler(t, apiModel(t), HandlerOptions{})
	for target, found := range map[string]bool{
		"query?query=up&time=%d":                                                        false,
		"query?query=up&time=%d&max_source_resolution=5m":                               false,
		"query?query=up&time=%d&max_source_resolution=1h":                               true,
		"query?query=up&time=%d&max_source_resolution=1h&lookback_delta=1m":             false,
		"query_range?query=up&start=%[1]d&end=%[1]d&step=5h&max_source_resolution=auto": true,
	} {
		w := ask(h, "GET", "/api/v1/"+fmt.Sprintf(target, 240+50*60))
		if w.Code != 200 || strings.Contains(w.Body.String(), `"up"`) != found {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
}

func TestAPIPartialAnswer(t *testing.T) {
	broken := failing{ChunkQueryable: apiModel(t), err: errors.New("disk gone")}
	h := newTestHandler(t, NewFanout([]storage.ChunkQueryable{apiModel(t), broken}, FanoutOptions{}), HandlerOptions{PartialResponse: true})
	for _, target := range []string{"query?query=up&time=60", "labels", "series?match[]=up"} {
		w := ask(h, "GET", "/api/v1/"+target)
		if w.Code != 200 || !strings.Contains(w.Body.String(), `"warnings":["source 1 (query.failing): disk gone`) || !strings.Contains(w.Body.String(), `"up"`) && target != "labels" {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
		if w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: an incomplete answer may be cached", target)
		}
		w = ask(h, "GET", "/api/v1/"+target+params("partial_response", "false")[strings.Count(target, "?"):])
		if target != "labels" {
			w = ask(h, "GET", "/api/v1/"+target+"&partial_response=false")
		}
		if w.Code != 422 || !strings.Contains(w.Body.String(), "disk gone") {
			t.Errorf("%s, strict: %d %s", target, w.Code, w.Body)
		}
	}
}
