package query

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/prometheus/util/stats"

	"github.com/varve-tsdb/varve/internal/readcost"
	"github.com/varve-tsdb/varve/internal/readopts"
)

// QueryEnd is a request of the API that has read something, or was refused, once
// its answer is out.
type QueryEnd struct {
	// Endpoint is its name as in metrics, such as query_range.
	Endpoint string
	// Query is the expression, or the selectors one after the other.
	Query string
	// Tenant of the read options.
	Tenant string
	// Took is the time from the request's arrival to the end of its answer.
	Took time.Duration
	// Status of the answer.
	Status int
	// Err is why there was no answer, nil if there was.
	Err error
	// Cost is what it came to.
	Cost CostReport
}

// account opens an account for a request that brings none. end closes it.
func (h *Handler) account(ctx context.Context) (_ context.Context, cost *readcost.Cost, end func()) {
	if cost = readcost.From(ctx); cost != nil {
		return ctx, cost, func() {}
	}
	cost = h.opts.Budget.Open()
	return readcost.With(ctx, cost), cost, cost.Close
}

// ended tells of a request whose answer is out.
func (h *Handler) ended(r *http.Request, e QueryEnd, cost *readcost.Cost) {
	e.Cost = h.opts.Prices.Of(cost.Report())
	e.Tenant = readopts.From(r.Context()).Tenant
	if e.Query = r.Form.Get("query"); e.Query == "" {
		for _, selector := range r.Form["match[]"] {
			e.Query += selector
		}
	}
	h.metrics.cost(e.Endpoint, e.Cost, cost.Touched())
	if h.opts.OnQuery != nil {
		h.opts.OnQuery(context.WithoutCancel(r.Context()), e)
	}
	level, text := slog.LevelDebug, "query ended"
	if h.opts.SlowQuery > 0 && e.Took >= h.opts.SlowQuery {
		level, text = slog.LevelWarn, "slow query"
	}
	if ctx := context.WithoutCancel(r.Context()); h.opts.Logger.Enabled(ctx, level) {
		h.opts.Logger.LogAttrs(ctx, level, text, e.attrs()...)
	}
}

func (e QueryEnd) attrs() []slog.Attr {
	attrs := []slog.Attr{
		slog.String("endpoint", e.Endpoint), slog.String("query", e.Query), slog.String("tenant", e.Tenant),
		slog.Duration("took", e.Took), slog.Int("status", e.Status),
		slog.Int64("requests", e.Cost.Requests()), slog.Int64("bytes", e.Cost.Bytes()), slog.Int64("peak_bytes", e.Cost.PeakBytes),
		slog.Int64("blocks", e.Cost.BlocksRead()), slog.Int64("series", e.Cost.SeriesReturned), slog.Int64("samples", e.Cost.SamplesReturned),
	}
	if e.Cost.Price != nil {
		attrs = append(attrs, slog.Float64("price", *e.Cost.Price), slog.String("currency", e.Cost.Currency))
	}
	if e.Err != nil {
		attrs = append(attrs, slog.Any("err", e.Err))
	}
	return attrs
}

// statsAndCost is the statistics of Prometheus, and beside them what the stores
// say that the query has cost.
type statsAndCost struct {
	stats.BuiltinStats
	Cost CostReport `json:"cost"`
}

// queryStats returns what the parameter stats asks for. Without a store that
// accounts for what it reads, it is what Prometheus gives.
func (h *Handler) queryStats(r *http.Request, s *stats.Statistics) any {
	all := stats.NewQueryStats(s)
	cost := readcost.From(r.Context())
	if r.Form.Get("stats") != "all" || !cost.Touched() {
		return all
	}
	return statsAndCost{all.Builtin(), h.opts.Prices.Of(cost.Report())}
}
