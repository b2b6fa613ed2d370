package query

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/varve-tsdb/varve/internal/fairqueue"
	"github.com/varve-tsdb/varve/internal/registration"
)

// EngineOptions are the settings of an engine. The zero value is what
// Prometheus does by default.
type EngineOptions struct {
	// Timeout after which a running query is ended. The wait for its turn is not
	// in it, see QueueTimeout. Default 2 minutes.
	Timeout time.Duration
	// MaxSamples that one query may hold in memory at a time. A float counts as
	// one, a histogram as its size in floats. Default 50 million.
	MaxSamples int
	// LookbackDelta is how old the latest sample of a series may be to count.
	// A query may ask for another. Default 5 minutes.
	LookbackDelta time.Duration
	// MaxConcurrent queries run at a time; more wait in a queue. When one ends,
	// the next is of the tenant (ReadOptions.Tenant) that has the fewest running.
	// Default 20.
	MaxConcurrent int
	// MaxTenantConcurrent queries of one tenant run at a time, so that there is
	// always room for others at once. Zero means no limit but MaxConcurrent.
	MaxTenantConcurrent int
	// MaxQueued queries wait. Of more, the last of the tenant of which most wait
	// is refused with a *BusyError. Default 10 times MaxConcurrent.
	MaxQueued int
	// QueueTimeout is how long a query waits for its turn, before it is refused
	// with a *BusyError. Default 1 minute.
	QueueTimeout time.Duration
	// SubqueryStep of subqueries that name none. Default 1 minute.
	SubqueryStep time.Duration
	// Parser turns on experimental parts of the language. Give the same to
	// HandlerOptions.
	Parser parser.Options
	// DelayedNameRemoval, StartTimestamps and TypeAndUnitLabels are Prometheus'
	// feature flags promql-delayed-name-removal, use-start-timestamps and
	// type-and-unit-labels.
	DelayedNameRemoval, StartTimestamps, TypeAndUnitLabels bool

	// Logger of the engine; nil is silent.
	Logger *slog.Logger
	// Registerer of the engine's metrics, which have Prometheus' names
	// (prometheus_engine_*), and of those of its queue, varve_query_queue_*, which
	// alone tell of the time that queries wait; nil is fine.
	Registerer prometheus.Registerer
}

// Validate returns all problems at once.
func (o EngineOptions) Validate() error {
	return errors.Join(
		notNegative("Timeout", o.Timeout),
		notNegative("MaxSamples", o.MaxSamples),
		notNegative("LookbackDelta", o.LookbackDelta),
		notNegative("MaxConcurrent", o.MaxConcurrent),
		notNegative("MaxTenantConcurrent", o.MaxTenantConcurrent),
		notNegative("MaxQueued", o.MaxQueued),
		notNegative("QueueTimeout", o.QueueTimeout),
		notNegative("SubqueryStep", o.SubqueryStep),
	)
}

func notNegative[T int | time.Duration](field string, v T) error {
	if v < 0 {
		return fmt.Errorf("%s must not be negative, got %v", field, v)
	}
	return nil
}

func (o EngineOptions) withDefaults() EngineOptions {
	orDefault(&o.Timeout, 2*time.Minute)
	orDefault(&o.MaxSamples, 50_000_000)
	orDefault(&o.LookbackDelta, 5*time.Minute)
	orDefault(&o.MaxConcurrent, 20)
	orDefault(&o.MaxQueued, 10*o.MaxConcurrent)
	orDefault(&o.QueueTimeout, time.Minute)
	orDefault(&o.SubqueryStep, time.Minute)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// queue is what of the options concerns the queue.
func (o EngineOptions) queue() fairqueue.Options {
	return fairqueue.Options{Concurrent: o.MaxConcurrent, PerTenant: o.MaxTenantConcurrent, Queued: o.MaxQueued, Wait: o.QueueTimeout}
}

// busyRetryAfter is what a query is told that finds no place.
const busyRetryAfter = 5 * time.Second

func orDefault[T comparable](v *T, otherwise T) {
	var zero T
	if *v == zero {
		*v = otherwise
	}
}

// NewEngine returns Prometheus' own PromQL engine. It fails if an option is
// wrong or if its metrics are already registered.
//
// It refuses what would end the process before a limit of the engine could
// notice: subqueries of more steps than MaxSamples, and queries of more than
// 5,000 operators, calls, parentheses and ranges, whatever is in their comments
// and strings.
func NewEngine(opts EngineOptions) (promql.QueryEngine, error) {
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("engine options: %w", err)
	}
	opts = opts.withDefaults()
	// The engine panics when it cannot register, which a library must not.
	reg := registration.NewSet(opts.Registerer, "query engine")
	metrics := newQueueMetrics()
	reg.MustRegister(metrics.All()...)
	engine := promql.NewEngine(promql.EngineOpts{
		Logger:                   opts.Logger,
		Reg:                      reg,
		MaxSamples:               opts.MaxSamples,
		Timeout:                  opts.Timeout,
		ActiveQueryTracker:       concurrency(opts.MaxConcurrent),
		LookbackDelta:            opts.LookbackDelta,
		NoStepSubqueryIntervalFn: func(int64) int64 { return opts.SubqueryStep.Milliseconds() },
		EnableAtModifier:         true,
		EnableNegativeOffset:     true,
		EnablePerStepStats:       true,
		EnableDelayedNameRemoval: opts.DelayedNameRemoval,
		EnableTypeAndUnitLabels:  opts.TypeAndUnitLabels,
		UseStartTimestamps:       opts.StartTimestamps,
		Parser:                   parser.NewParser(opts.Parser),
	})
	if err := reg.Err(); err != nil {
		return nil, err
	}
	return guarded{
		engine: engine, queue: newQueue(opts.queue(), busyRetryAfter, metrics), maxSteps: int64(opts.MaxSamples), step: opts.SubqueryStep,
	}, nil
}
