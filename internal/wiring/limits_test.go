package wiring

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/varve-tsdb/varve/dedup"
	"github.com/varve-tsdb/varve/internal/blocktest"
	"github.com/varve-tsdb/varve/internal/readcost"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
	"github.com/varve-tsdb/varve/query"
	"github.com/varve-tsdb/varve/store"
	"github.com/varve-tsdb/varve/store/storeapi"
)

// replicaBlocks are two blocks of each of two replicas, of eight series with 40
// samples a block. Reads may take the stored label pod for one of replicas, too.
func replicaBlocks(tb testing.TB) *objstoretest.Memory {
	bkt := objstoretest.NewMemory()
	for _, replica := range []string{"a", "b"} {
		for day := range int64(2) {
			b := blocktest.Block{External: labels.FromStrings("replica", replica), MinTime: day * 600_000, MaxTime: (day + 1) * 600_000}
			for _, pod := range []string{"1", "2", "3", "4", "5", "6", "7", "8"} {
				b.Series = append(b.Series, blocktest.Series{
					Labels: labels.FromStrings("__name__", "up", "pod", pod), Samples: blocktest.Floats(day*600_000, (day+1)*600_000, 15_000, 0),
				})
			}
			blocktest.Put(tb, bkt, b)
		}
	}
	return bkt
}

// apiOver is the API over a bucket behind fan-out and deduplication.
func apiOver(tb testing.TB, bkt *objstoretest.Memory, limits query.BudgetOptions) (http.Handler, *query.Budget) {
	tb.Helper()
	budget, err := query.NewBudget(limits)
	if err != nil {
		tb.Fatal(err)
	}
	hist, err := store.Open(bkt, tb.TempDir(), store.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := hist.Close(); err != nil {
			tb.Error(err)
		}
	})
	if err := hist.Sync(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return handlerOver(tb, hist, query.HandlerOptions{Budget: budget}), budget
}

// handlerOver is the API over a source behind fan-out and deduplication.
func handlerOver(tb testing.TB, source storage.ChunkQueryable, opts query.HandlerOptions) http.Handler {
	tb.Helper()
	engine, err := query.NewEngine(query.EngineOptions{})
	if err != nil {
		tb.Fatal(err)
	}
	all := query.NewFanout([]storage.ChunkQueryable{source}, query.FanoutOptions{})
	h, err := query.NewHandler(engine, dedup.New(all, dedup.Options{ReplicaLabels: []string{"replica"}}), opts)
	if err != nil {
		tb.Fatal(err)
	}
	return h
}

// Each limit shows as what it is, whatever the read comes through: an error of
// the query, or of the process, also where failures may be warnings.
func TestLimitsThroughAllLayers(t *testing.T) {
	bkt := replicaBlocks(t)
	for name, c := range map[string]struct {
		limits query.BudgetOptions
		code   int
		held   int64 // by others
	}{
		"QueryBytes":               {query.BudgetOptions{QueryBytes: 10_000}, http.StatusUnprocessableEntity, 0},
		"QueryFetch":               {query.BudgetOptions{QueryFetch: 1000}, http.StatusUnprocessableEntity, 0},
		"QueryBlocks":              {query.BudgetOptions{QueryBlocks: 3}, http.StatusUnprocessableEntity, 0},
		"QuerySeries":              {query.BudgetOptions{QuerySeries: 1}, http.StatusUnprocessableEntity, 0},
		"QuerySamples":             {query.BudgetOptions{QuerySamples: 150}, http.StatusUnprocessableEntity, 0},
		"TotalBytes":               {query.BudgetOptions{QueryBytes: -1, TotalBytes: 10_000}, http.StatusUnprocessableEntity, 0},
		"TotalBytes beside others": {query.BudgetOptions{TotalBytes: 8 << 20}, http.StatusTooManyRequests, 8<<20 - 10_000},
	} {
		h, budget := apiOver(t, bkt, c.limits)
		others := budget.Open()
		if err := others.Take(readcost.Kept, c.held); err != nil {
			t.Fatal(err)
		}
		limit, _, _ := strings.Cut(name, " ")
		for _, more := range []string{"", "&partial_response=true", "&dedup=false", "&replicaLabels[]=pod", "&replicaLabels[]=pod&partial_response=true"} {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/v1/query?query=count_over_time(up[20m])&time=1200"+more, nil))
			if w.Code != c.code || !strings.Contains(w.Body.String(), limit) {
				t.Errorf("%s%s: %d %s", name, more, w.Code, w.Body)
			}
			if retry := w.Header().Get("Retry-After"); (retry == "5") != (c.code == http.StatusTooManyRequests) {
				t.Errorf("%s%s: status %d with Retry-After %q", name, more, w.Code, retry)
			}
		}
		others.Close()
		if used := budget.InUse(); used != 0 {
			t.Errorf("%s: %d bytes are still in use", name, used)
		}
	}
}

// What a store refuses by gRPC the querier that asks it refuses in the same words and
// by the same status, and so does one that asks that querier.
func TestLimitsOfRemoteStores(t *testing.T) {
	bkt := replicaBlocks(t)
	for name, c := range map[string]struct {
		limits store.BudgetOptions
		code   int
	}{
		"QueryBytes":   {store.BudgetOptions{QueryBytes: 10_000}, http.StatusUnprocessableEntity},
		"QuerySeries":  {store.BudgetOptions{QuerySeries: 1}, http.StatusUnprocessableEntity},
		"QuerySamples": {store.BudgetOptions{QuerySamples: 150}, http.StatusUnprocessableEntity},
		"TotalBytes":   {store.BudgetOptions{TotalBytes: 8 << 20, RetryAfter: 7 * time.Second}, http.StatusTooManyRequests},
	} {
		budget, err := store.NewBudget(c.limits)
		if err != nil {
			t.Fatal(err)
		}
		others := budget.Open() // which leave no room, where that counts
		if c.code == http.StatusTooManyRequests {
			if err := others.Take(readcost.Kept, 8<<20-10_000); err != nil {
				t.Fatal(err)
			}
		}
		hist, err := store.Open(bkt, t.TempDir(), store.Options{Budget: budget})
		if err != nil {
			t.Fatal(err)
		}
		if err := hist.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		near, endNear := servedAs(t, hist, storeapi.ServerOptions{Budget: budget}, false)
		far, endFar := remoteOf(t, query.NewFanout([]storage.ChunkQueryable{near}, query.FanoutOptions{}), false)
		for hops, source := range []storage.ChunkQueryable{near, far} {
			w := httptest.NewRecorder()
			handlerOver(t, source, query.HandlerOptions{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/v1/query?query=count_over_time(up[20m])&time=1200", nil))
			if w.Code != c.code || !strings.Contains(w.Body.String(), name) {
				t.Errorf("%s, %d servers between: %d %s", name, 1+hops, w.Code, w.Body)
			}
			if retry := w.Header().Get("Retry-After"); (retry == "7") != (c.code == http.StatusTooManyRequests) {
				t.Errorf("%s, %d servers between: status %d with Retry-After %q", name, 1+hops, w.Code, retry)
			}
		}
		endFar()
		endNear()
		others.Close()
		if err := hist.Close(); err != nil {
			t.Error(err)
		}
	}
}

// What fits is answered, by the same limits set wide enough.
func TestWithinLimits(t *testing.T) {
	h, budget := apiOver(t, replicaBlocks(t), query.BudgetOptions{
		QueryBytes: 4 << 20, QueryFetch: 1 << 20, QueryBlocks: 4, QuerySeries: 16, QuerySamples: 16 * 80, TotalBytes: 4 << 20,
	})
	for _, more := range []string{"", "&dedup=false", "&replicaLabels[]=pod"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/v1/query?query=count_over_time(up[20m])&time=1200"+more, nil))
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"79"`) {
			t.Errorf("%s: %d %s", more, w.Code, w.Body)
		}
	}
	for _, target := range []string{"series?match[]=up", "labels", "label/pod/values", "label/pod/values?match[]=up"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/v1/"+target, nil))
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "pod") && !strings.Contains(w.Body.String(), `"8"`) {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
	if used := budget.InUse(); used != 0 {
		t.Errorf("%d bytes are still in use", used)
	}
}

// What merging leaves counts, not what is merged: by the headers there are eight
// series, but the reader gets two.
func TestLimitCountsMergedSeries(t *testing.T) {
	h, _ := apiOver(t, replicaBlocks(t), query.BudgetOptions{QuerySeries: 2})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/v1/query?query=count_over_time(up[20m])&time=1200&replicaLabels[]=pod", nil))
	if w.Code != http.StatusOK {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// Questions about labels have a budget, too.
func TestLimitsOfLabels(t *testing.T) {
	h, _ := apiOver(t, replicaBlocks(t), query.BudgetOptions{QueryBytes: 500})
	for _, target := range []string{"series?match[]=up", "label/pod/values", "label/pod/values?match[]=up", "labels?match[]=up"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/v1/"+target, nil))
		if w.Code != http.StatusUnprocessableEntity || !strings.Contains(w.Body.String(), "QueryBytes") {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
}
