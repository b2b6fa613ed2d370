package query

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/stats"

	"github.com/varve-tsdb/varve/query/querytest"
)

// TestEngineQueue: as many queries run as may, others wait, and one whose time
// is up while it waits leaves the queue.
func TestEngineQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, err := NewEngine(EngineOptions{MaxConcurrent: 1})
		if err != nil {
			t.Fatal(err)
		}
		release := make(chan struct{})
		slow := &faulty{Model: querytest.NewModel(querytest.Data{}), stall: release}
		if err := slow.Append(labels.EmptyLabels(), labels.FromStrings("__name__", "up"), querytest.Sample{T: 1}); err != nil {
			t.Fatal(err)
		}
		h, err := NewHandler(engine, slow, HandlerOptions{})
		if err != nil {
			t.Fatal(err)
		}
		codes := make(chan int)
		get := func(timeout string) {
			r := httptest.NewRequest(http.MethodGet, "/api/v1/query?query=up&time=1&timeout="+timeout, nil)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			codes <- w.Code
		}
		go get("10m")
		synctest.Wait()
		go get("1s")
		if code := <-codes; code != http.StatusServiceUnavailable {
			t.Errorf("a query that waited in vain: %d", code)
		}
		go get("10m")
		synctest.Wait()
		close(release)
		for range 2 {
			if code := <-codes; code != http.StatusOK {
				t.Errorf("status %d", code)
			}
		}
	})
}

// The time that a query may run is that of running: it begins when it is let in.
func TestEngineTimeoutIsWithoutTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, err := NewEngine(EngineOptions{MaxConcurrent: 1, Timeout: 10 * time.Second, QueueTimeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		m := querytest.NewModel(querytest.Data{})
		if err := m.Append(labels.EmptyLabels(), labels.FromStrings("__name__", "up"), querytest.Sample{T: 1}); err != nil {
			t.Fatal(err)
		}
		slow := &faulty{Model: m, rendez: func(context.Context) { time.Sleep(6 * time.Second) }}
		exec := func(cancelAfter time.Duration) (*promql.Result, promql.Query) {
			q, err := engine.NewInstantQuery(t.Context(), Samples(slow), nil, "up", time.UnixMilli(1))
			if err != nil {
				t.Fatal(err)
			}
			defer q.Close()
			if cancelAfter > 0 {
				defer time.AfterFunc(cancelAfter, q.Cancel).Stop()
			}
			return q.Exec(t.Context()), q
		}
		var all sync.WaitGroup
		all.Go(func() { exec(0) })
		synctest.Wait()
		all.Go(func() { exec(0) })
		synctest.Wait()
		all.Go(func() { // waits 12 s, longer than it may run
			res, q := exec(0)
			if v, err := res.Vector(); err != nil || len(v) != 1 {
				t.Errorf("it waited for longer than it may run: %v, %v", v, err)
			}
			if waited := q.Stats().Timers.GetTimer(stats.ExecQueueTime).Duration(); waited != 12 {
				t.Errorf("it says that it waited for %v seconds", waited)
			}
		})
		synctest.Wait()
		if res, _ := exec(time.Second); !errors.Is(res.Err, context.Canceled) {
			t.Errorf("one that was canceled while it waited: %v", res.Err)
		}
		all.Wait()
		if res, _ := exec(time.Second); res.Err == nil {
			t.Error("one that was canceled while it ran goes on")
		}
	})
}

func TestEngineDefaults(t *testing.T) {
	engine, err := NewEngine(EngineOptions{})
	if err != nil {
		t.Fatal(err)
	}
	m := querytest.NewModel(querytest.Data{})
	if err := m.Append(labels.EmptyLabels(), labels.FromStrings("__name__", "up"), querytest.Sample{T: 1, Float: 1}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		at   time.Duration
		want int
	}{{5 * time.Minute, 1}, {5*time.Minute + time.Second, 0}} {
		q, err := engine.NewInstantQuery(t.Context(), Samples(m), nil, "up", time.UnixMilli(0).Add(c.at))
		if err != nil {
			t.Fatal(err)
		}
		v, err := q.Exec(t.Context()).Vector()
		if err != nil || len(v) != c.want {
			t.Errorf("after %s: %v, %v", c.at, v, err)
		}
		q.Close()
	}
}

func TestEngineLimitsSamples(t *testing.T) {
	engine, err := NewEngine(EngineOptions{MaxSamples: 2})
	if err != nil {
		t.Fatal(err)
	}
	q, err := engine.NewRangeQuery(t.Context(), Samples(apiModel(t)), nil, "up", time.Unix(0, 0), time.Unix(60, 0), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	if res := q.Exec(t.Context()); !isType[promql.ErrTooManySamples](res.Err) {
		t.Errorf("%v", res.Err)
	}
}

// TestEngineSeesPartialWarnings: the warnings of a Fanout pass through the
// engine, whenever the source fails.
func TestEngineSeesPartialWarnings(t *testing.T) {
	engine, err := NewEngine(EngineOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ctx := WithReadOptions(t.Context(), ReadOptions{Partial: true})
	for name, bad := range map[string]*faulty{
		"at once": {selectErr: errGone}, "midway": {midErr: errGone, after: 20}, "chunks": {chunkErr: errGone},
	} {
		f := pair(t, bad, FanoutOptions{})
		q, err := engine.NewRangeQuery(ctx, Samples(f), nil, `count({__name__=~".+"}) + count(up)`,
			time.UnixMilli(querytest.Start), time.UnixMilli(querytest.End), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		res := q.Exec(ctx)
		if res.Err != nil || len(res.Value.(promql.Matrix)) != 1 {
			t.Errorf("%s: %v", name, res)
		}
		if ws := res.Warnings.AsErrors(); len(ws) == 0 || !errors.Is(errors.Join(ws...), errGone) {
			t.Errorf("%s: warnings %v", name, ws)
		}
		q.Close()
	}
}

// TestEngineReportsSourceTimeout: a source that took too long is the reason of
// the status, through the engine too.
func TestEngineReportsSourceTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := pair(t, &faulty{stall: make(chan struct{})}, FanoutOptions{SourceTimeout: time.Second})
		w := ask(newTestHandler(t, f, HandlerOptions{}), http.MethodGet, "/api/v1/query"+params("query", "up", "time", "1700010000"))
		if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), `source bad: no answer within 1s`) {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		synctest.Wait() // for the call that was given up
	})
}

var _ storage.ChunkQueryable = (*Fanout)(nil)

// A query that is cancelled does not run, also if it is let in at that moment.
func TestEngineCancelWhileLetIn(t *testing.T) {
	up := labels.FromStrings("__name__", "up")
	for range 50 { // it is one moment or another
		synctest.Test(t, func(t *testing.T) {
			engine, err := NewEngine(EngineOptions{MaxConcurrent: 1})
			if err != nil {
				t.Fatal(err)
			}
			release := make(chan struct{})
			slow := &faulty{Model: querytest.NewModel(querytest.Data{}), stall: release}
			if err := slow.Append(labels.EmptyLabels(), up, querytest.Sample{T: 1}); err != nil {
				t.Fatal(err)
			}
			var queries [2]promql.Query
			var done sync.WaitGroup
			for i, source := range []storage.ChunkQueryable{slow, querytest.NewModel(querytest.Data{})} {
				if queries[i], err = engine.NewInstantQuery(t.Context(), Samples(source), nil, "up", time.UnixMilli(1)); err != nil {
					t.Fatal(err)
				}
				done.Go(func() {
					if got := queries[i].Exec(t.Context()); (got.Err != nil) != (i == 1) {
						t.Errorf("query %d: %v", i, got.Err)
					}
				})
				synctest.Wait()
			}
			queries[1].Cancel()
			close(release)
			done.Wait()
		})
	}
}
