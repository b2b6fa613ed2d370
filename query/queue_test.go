package query

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-tsdb/varve/query/querytest"
)

// Who finds the queue full, or waits in it for too long, is told to come back.
func TestBusyEngineAnswers429(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, err := NewEngine(EngineOptions{MaxConcurrent: 1, MaxQueued: 1, QueueTimeout: 10 * time.Second})
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
		var done sync.WaitGroup
		get := func(code int, limit string) {
			w := ask(h, http.MethodGet, "/api/v1/query?query=up&time=1")
			if w.Code != code || !strings.Contains(w.Body.String(), limit) {
				t.Errorf("%d %s, want %d for %s", w.Code, w.Body, code, limit)
			}
			if busy := code == http.StatusTooManyRequests; busy != (w.Header().Get("Retry-After") == "5") {
				t.Errorf("status %d with Retry-After %q", w.Code, w.Header().Get("Retry-After"))
			}
		}
		done.Go(func() { get(http.StatusOK, "success") })
		synctest.Wait()
		done.Go(func() { get(http.StatusTooManyRequests, "QueueTimeout") })
		synctest.Wait()
		get(http.StatusTooManyRequests, "MaxQueued")
		time.Sleep(time.Minute)
		close(release)
		done.Wait()
	})
}
