package query

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/varve-tsdb/varve/internal/readcost"
	"github.com/varve-tsdb/varve/query/querytest"
)

// accounting is a source that says what it reads.
type accounting struct{ storage.ChunkQueryable }

type accountingQuerier struct{ storage.ChunkQuerier }

func (a accounting) ChunkQuerier(mint, maxt int64) (storage.ChunkQuerier, error) {
	q, err := a.ChunkQueryable.ChunkQuerier(mint, maxt)
	return accountingQuerier{q}, err
}

func (q accountingQuerier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, ms ...*labels.Matcher) storage.ChunkSeriesSet {
	cost := CostFrom(ctx)
	cost.Considered(3)
	cost.Skipped(readcost.SkippedTime, 1)
	for range 4 {
		cost.Requests(readcost.Chunks, 1)
	}
	cost.Bytes(readcost.Chunks, 5000)
	return q.ChunkQuerier.Select(ctx, sorted, hints, ms...)
}

func TestStatsHaveTheCost(t *testing.T) {
	h := newTestHandler(t, accounting{apiModel(t)}, HandlerOptions{Prices: Prices{ThousandRequests: 0.5, Currency: "EUR"}})
	var got struct {
		Data struct {
			Stats struct {
				Timings map[string]float64
				Samples map[string]any
				Cost    *CostReport
			}
		}
	}
	w := ask(h, http.MethodGet, "/api/v1/query?query=up&time=60&stats=all")
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	cost := got.Data.Stats.Cost
	if cost == nil || cost.Requests() != 4 || cost.Bytes() != 5000 || cost.BlocksRead() != 2 || cost.SeriesReturned != 2 || cost.SamplesReturned != 10 || cost.PeakBytes == 0 {
		t.Fatalf("%s", w.Body)
	}
	if cost.Price == nil || *cost.Price != 0.002 || cost.Currency != "EUR" {
		t.Errorf("%s", w.Body)
	}
	if got.Data.Stats.Timings == nil || got.Data.Stats.Samples["peakSamples"] == nil {
		t.Errorf("what Prometheus tells is gone: %s", w.Body)
	}
	// What Prometheus gives comes first, as it gives it.
	with, _, _ := strings.Cut(w.Body.String(), `,"cost":`)
	plain, _, _ := strings.Cut(ask(newTestHandler(t, apiModel(t), HandlerOptions{}), http.MethodGet, "/api/v1/query?query=up&time=60&stats=all").Body.String(), `}}}`)
	if a, b := withoutTimings(with), withoutTimings(plain+"}"); a != b {
		t.Errorf("with the cost\n%s\nwithout\n%s", a, b)
	}
	for _, target := range []string{"query?query=up&time=60&stats=true", "query?query=up&time=60"} {
		if w := ask(h, http.MethodGet, "/api/v1/"+target); strings.Contains(w.Body.String(), `"cost"`) {
			t.Errorf("%s: %s", target, w.Body)
		}
	}
}

func withoutTimings(s string) string {
	before, rest, _ := strings.Cut(s, `"timings":{`)
	_, after, _ := strings.Cut(rest, `}`)
	return before + after
}

func TestHostHearsOfEachQuery(t *testing.T) {
	var seen []QueryEnd
	var log bytes.Buffer
	reg := prometheus.NewRegistry()
	h := newTestHandler(t, accounting{apiModel(t)}, HandlerOptions{
		OnQuery:   func(_ context.Context, e QueryEnd) { seen = append(seen, e) },
		SlowQuery: time.Nanosecond, Logger: slog.New(slog.NewTextHandler(&log, nil)),
		Prices: Prices{ThousandRequests: 250}, Registerer: reg,
	})
	for _, target := range []string{"query?query=sum(up)&time=60", "series?match[]=up", "labels", "query?query=up+up", "format_query?query=up"} {
		ask(h, http.MethodGet, "/api/v1/"+target)
	}
	if len(seen) != 4 {
		t.Fatalf("%d calls", len(seen))
	}
	if e := seen[0]; e.Endpoint != "query" || e.Query != "sum(up)" || e.Status != 200 || e.Err != nil || e.Took <= 0 || e.Cost.Requests() != 4 || *e.Cost.Price != 1 {
		t.Errorf("%+v", e)
	}
	if e := seen[1]; e.Endpoint != "series" || e.Query != "up" || e.Cost.SeriesReturned != 2 {
		t.Errorf("%+v", e)
	}
	if e := seen[3]; e.Status != 400 || e.Err == nil {
		t.Errorf("%+v", e)
	}
	if !strings.Contains(log.String(), `level=WARN msg="slow query" endpoint=query query=sum(up)`) || !strings.Contains(log.String(), "price=1") {
		t.Errorf("%s", log.String())
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			values[f.GetName()] += m.GetCounter().GetValue() + m.GetHistogram().GetSampleSum()
		}
	}
	for name, want := range map[string]float64{
		"varve_query_cost_requests": 8, "varve_query_cost_read_bytes": 10_000, "varve_query_cost_price_total": 2, "varve_query_cost_blocks_total": 6,
	} {
		if values[name] != want {
			t.Errorf("%s is %v, want %v", name, values[name], want)
		}
	}
}

// The limit of a query, or of the process, is never a warning, whatever source it
// shows in.
func TestRefusalIsNeverAWarning(t *testing.T) {
	for name, c := range map[string]struct {
		opts BudgetOptions
		code int
		word string
		held int64 // by others
	}{
		"a query's":     {BudgetOptions{QueryBytes: 1000}, http.StatusUnprocessableEntity, "QueryBytes", 0},
		"all's":         {BudgetOptions{TotalBytes: 1 << 20}, http.StatusTooManyRequests, "TotalBytes", 1 << 20},
		"all's for one": {BudgetOptions{QueryBytes: -1, TotalBytes: 1000}, http.StatusUnprocessableEntity, "TotalBytes", 1000},
		"series":        {BudgetOptions{QuerySeries: 1}, http.StatusUnprocessableEntity, "QuerySeries", 0},
		"samples":       {BudgetOptions{QuerySamples: 5}, http.StatusUnprocessableEntity, "QuerySamples", 0},
	} {
		budget, err := NewBudget(c.opts)
		if err != nil {
			t.Fatal(err)
		}
		others := budget.Open()
		if err := others.Take(readcost.Kept, c.held); err != nil {
			t.Fatal(err)
		}
		f := NewFanout([]storage.ChunkQueryable{apiModel(t), apiModel(t)}, FanoutOptions{})
		h := newTestHandler(t, f, HandlerOptions{Budget: budget})
		for _, partial := range []string{"true", "false"} {
			w := ask(h, http.MethodGet, "/api/v1/query?query=up&time=60&partial_response="+partial)
			if w.Code != c.code || !strings.Contains(w.Body.String(), c.word) {
				t.Errorf("%s: %d %s", name, w.Code, w.Body)
			}
			if retry := w.Header().Get("Retry-After"); (retry != "") != (c.code == http.StatusTooManyRequests) {
				t.Errorf("%s: status %d with Retry-After %q", name, w.Code, retry)
			}
		}
		others.Close()
		if budget.InUse() != 0 {
			t.Errorf("%s: %d bytes are still in use", name, budget.InUse())
		}
	}
	refused := &readcost.LimitError{Limit: "QueryFetch", Value: 1, Asked: 2, Unit: "bytes"}
	for where, bad := range map[string]*faulty{"at once": {selectErr: refused}, "midway": {midErr: refused, after: 20}, "chunks": {chunkErr: refused}} {
		h := newTestHandler(t, pair(t, bad, FanoutOptions{}), HandlerOptions{})
		w := ask(h, http.MethodGet, "/api/v1/query"+params("query", `count({__name__=~".+"})`, "time", "1700010000", "partial_response", "true"))
		if w.Code != http.StatusUnprocessableEntity || !strings.Contains(w.Body.String(), "QueryFetch") {
			t.Errorf("%s: %d %s", where, w.Code, w.Body)
		}
	}
}

// Who reads without the API can have the account of a read, too.
func TestOwnCost(t *testing.T) {
	budget, err := NewBudget(BudgetOptions{QueryBytes: 600})
	if err != nil {
		t.Fatal(err)
	}
	read := func(cost *Cost) error {
		q, err := Samples(apiModel(t)).Querier(0, 300_000)
		if err != nil {
			t.Fatal(err)
		}
		defer q.Close()
		set := q.Select(WithCost(t.Context(), cost), false, nil, labels.MustNewMatcher(labels.MatchEqual, "__name__", "up"))
		for set.Next() {
		}
		return set.Err()
	}
	cost := budget.Open()
	defer cost.Close()
	if limit := (*LimitError)(nil); !errors.As(read(cost), &limit) || limit.Limit != "QueryBytes" {
		t.Error("the budget was not heeded")
	}
	if err := read(nil); err != nil {
		t.Errorf("without an account: %v", err)
	}
}

var _ storage.ChunkQueryable = (*querytest.Model)(nil)
