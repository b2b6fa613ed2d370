package cli

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/promql"

	"github.com/varve-tsdb/varve/query"
	"github.com/varve-tsdb/varve/store"
)

// Query is the flags of what reads may take: queries in PromQL, and calls of the
// StoreAPI. Where an error names a limit as the library does, the help of its flag says
// so.
type Query struct {
	timeout, slow                   Duration
	concurrent, samples             Count
	queryBytes, totalBytes, fetched Size
	series, requestSamples, blocks  Count
	thousandRequests, perGiga       Price
}

// Register defines the flags of whoever reads anything, with the names that Thanos and
// Prometheus have for them where they have one.
func (q *Query) Register(flags *flag.FlagSet) {
	q.timeout, q.concurrent, q.samples, q.queryBytes, q.totalBytes = Duration(2*time.Minute), 20, 50_000_000, 512<<20, 2<<30
	flags.Var(&q.timeout, "query.timeout", "`duration` after which a query is ended")
	flags.Var(&q.concurrent, "query.max-concurrent", "`number` of queries that run at a time; others wait (MaxConcurrent)")
	flags.Var(&q.samples, "query.max-samples", "`number` of samples that one query may compute with at a time (MaxSamples)")
	flags.Var(&q.queryBytes, "query.max-bytes", "`size` of the memory that one query may take for postings, series and chunks, such as 512MiB; 0 means no limit")
	flags.Var(&q.totalBytes, "query.max-total-bytes", "`size` of the memory that all queries together may take for the same; 0 means no limit")
	flags.Var(&q.series, "store.limits.request-series", "`number` of series that one query, or one call of the StoreAPI, may get; 0 means no limit")
	flags.Var(&q.requestSamples, "store.limits.request-samples", "`number` of samples in the chunks that one query, or one call of the StoreAPI, may get; 0 means no limit")
	flags.Var(&q.slow, "query.slow", "`duration` from which on a query gets a line in the log; 0 means never")
}

// RegisterBucket defines the flags of whoever reads blocks in a bucket, too.
func (q *Query) RegisterBucket(flags *flag.FlagSet) {
	flags.Var(&q.blocks, "store.limits.request-blocks", "`number` of blocks that one query, or one call of the StoreAPI, may look into; 0 means no limit")
	flags.Var(&q.fetched, "store.grpc.downloaded-bytes-limit", "`size` of what one query, or one call of the StoreAPI, may read of the bucket; 0 means no limit")
	flags.Var(&q.thousandRequests, "objstore.price-per-1000-requests", "`price` of 1000 reading requests of the bucket in USD, to show what queries cost")
	flags.Var(&q.perGiga, "objstore.price-per-gigabyte", "`price` of a gigabyte read of the bucket in USD, to show what queries cost")
}

// Check tells what of the flags does not go together.
func (q *Query) Check() error {
	if q.totalBytes > 0 && q.queryBytes > q.totalBytes {
		return fmt.Errorf("--query.max-bytes is %s, more than the %s of --query.max-total-bytes: no query could ever use it", &q.queryBytes, &q.totalBytes)
	}
	for _, one := range []struct {
		name  string
		value Count
	}{{"query.max-concurrent", q.concurrent}, {"query.max-samples", q.samples}} {
		if one.value == 0 {
			return fmt.Errorf("--%s is 0: no query could ever run", one.name)
		}
	}
	if q.timeout == 0 {
		return errors.New("--query.timeout is 0: no query could ever end")
	}
	return nil
}

// Budget is what the flags say of memory and sizes.
func (q *Query) Budget(reg prometheus.Registerer) (*query.Budget, error) {
	return query.NewBudget(query.BudgetOptions{
		QueryBytes: orNone(q.queryBytes), TotalBytes: orNone(q.totalBytes), QueryFetch: int64(q.fetched),
		QuerySeries: int64(q.series), QuerySamples: int64(q.requestSamples), QueryBlocks: int(q.blocks), Registerer: reg,
		Names: limitNames(),
	})
}

// Engine is an engine by the flags.
func (q *Query) Engine(log *slog.Logger, reg prometheus.Registerer) (promql.QueryEngine, error) {
	return query.NewEngine(query.EngineOptions{
		Timeout: time.Duration(q.timeout), MaxConcurrent: int(q.concurrent), MaxSamples: int(q.samples), Logger: log, Registerer: reg,
	})
}

// Handler is options for a handler by the flags, which also shows the blocks of hist,
// if that is not nil.
func (q *Query) Handler(budget *query.Budget, hist *store.Bucket, log *slog.Logger, reg prometheus.Registerer) query.HandlerOptions {
	opts := query.HandlerOptions{
		Budget: budget, SlowQuery: time.Duration(q.slow),
		Prices: query.Prices{ThousandRequests: float64(q.thousandRequests), Gigabyte: float64(q.perGiga)},
		Logger: log, Registerer: reg,
	}
	if hist != nil {
		opts.Status = map[string]func() any{"blocks": func() any { return hist.Blocks() }}
	}
	return opts
}

// orNone is a limit in the library's notation, where negative is none and zero
// the default.
func orNone(s Size) int64 {
	if s == 0 {
		return -1
	}
	return int64(s)
}

// Count is a flag of a whole number that is not negative.
type Count int

func (c *Count) String() string { return strconv.Itoa(int(*c)) }

// Set parses a number.
func (c *Count) Set(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return fmt.Errorf("%q is not a whole number from 0 on", text)
	}
	*c = Count(n)
	return nil
}

// Price is a flag of an amount of money.
type Price float64

func (p *Price) String() string { return strconv.FormatFloat(float64(*p), 'g', -1, 64) }

// Set parses an amount.
func (p *Price) Set(text string) error {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || !(v >= 0) || math.IsInf(v, 0) {
		return fmt.Errorf("%q is not an amount such as 0.0004", text)
	}
	*p = Price(v)
	return nil
}
