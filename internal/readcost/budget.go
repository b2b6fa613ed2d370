package readcost

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The limits, by the fields of BudgetOptions.
const (
	queryBytes   = "QueryBytes"
	totalBytes   = "TotalBytes"
	queryFetch   = "QueryFetch"
	queryBlocks  = "QueryBlocks"
	querySeries  = "QuerySeries"
	querySamples = "QuerySamples"
)

func limits() []string {
	return []string{queryBytes, totalBytes, queryFetch, queryBlocks, querySeries, querySamples}
}

// BudgetOptions are the limits of reads. The zero value is the default. Negative
// values turn a limit off.
type BudgetOptions struct {
	// QueryBytes is how much memory one query may take: postings, series and
	// chunks in flight, and the series and chunks that its reader keeps. 0 means
	// 512 MiB. What the PromQL engine computes from them is not in it; that is
	// for the engine's MaxSamples to limit.
	QueryBytes int64
	// TotalBytes is how much all queries together may take. 0 means 2 GiB. A query
	// that alone takes more is refused for good, one that does not fit beside
	// others for the moment.
	TotalBytes int64
	// QueryFetch is how many bytes one query may read of blocks, whether they come
	// from the bucket or a cache. Their headers, which many queries share, are not
	// in it. 0 means no limit.
	QueryFetch int64
	// QueryBlocks is how many blocks one query may look into, counted for each
	// selector. 0 means no limit.
	QueryBlocks int
	// QuerySeries is how many series one query may get, after those of blocks
	// and replicas were merged, counted for each selector. 0 means no limit.
	QuerySeries int64
	// QuerySamples is how many samples the chunks that one query gets may hold.
	// 0 means no limit.
	QuerySamples int64
	// RetryAfter is what a query is told that finds no memory left because of
	// others. 0 means 5 seconds.
	RetryAfter time.Duration
	// Names has what the host calls the limits, such as the flags that set them,
	// by the names of the fields above: errors tell an operator to raise those. A
	// field that is not in it goes by its own name.
	Names map[string]string
	// Registerer gets the metrics varve_query_budget_*, and keeps them. nil is
	// fine. For two Budgets with one registry wrap it for each of them, with
	// different values of one label.
	Registerer prometheus.Registerer
}

// Validate reports all problems at once.
func (o BudgetOptions) Validate() error {
	var errs []error
	if o.QueryBytes > 0 && o.TotalBytes > 0 && o.QueryBytes > o.TotalBytes {
		errs = append(errs, fmt.Errorf("BudgetOptions.QueryBytes is %d, more than the %d of TotalBytes: no query could ever use it", o.QueryBytes, o.TotalBytes))
	}
	for name := range o.Names {
		if !slices.Contains(limits(), name) {
			errs = append(errs, fmt.Errorf("BudgetOptions.Names has a name for %q, which is none of the limits %s", name, strings.Join(limits(), ", ")))
		}
	}
	if o.RetryAfter < 0 {
		errs = append(errs, fmt.Errorf("BudgetOptions.RetryAfter is %s, want 0 or more", o.RetryAfter))
	}
	return errors.Join(errs...)
}

func (o BudgetOptions) withDefaults() BudgetOptions {
	if o.QueryBytes == 0 {
		o.QueryBytes = 512 << 20
		if o.TotalBytes > 0 {
			o.QueryBytes = min(o.QueryBytes, o.TotalBytes)
		}
	}
	if o.TotalBytes == 0 {
		o.TotalBytes = max(2<<30, o.QueryBytes)
	}
	if o.RetryAfter == 0 {
		o.RetryAfter = 5 * time.Second
	}
	o.Names = maps.Clone(o.Names)
	return o
}

// Budget limits reads, each by itself and all together. Give the same one to all
// parts of a process that read, so that they share its memory. All methods may
// run at once.
type Budget struct {
	opts    BudgetOptions
	used    atomic.Int64
	metrics *budgetMetrics
}

// NewBudget returns a Budget. It fails if an option is wrong or its metrics are
// registered already.
func NewBudget(opts BudgetOptions) (*Budget, error) {
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("read budget: %w", err)
	}
	b := &Budget{opts: opts.withDefaults()}
	var err error
	b.metrics, err = newBudgetMetrics(b)
	return b, err
}

// Open begins the account of a read. Close it when the read has ended and
// nothing of it is kept any more.
func (b *Budget) Open() *Cost { return &Cost{budget: b, computing: make(chan struct{}, processors())} }

// QueryBytes returns the limit of that name, 0 or less for none.
func (b *Budget) QueryBytes() int64 { return b.opts.QueryBytes }

// InUse returns how many bytes all reads hold now.
func (b *Budget) InUse() int64 { return b.used.Load() }

// take never shows others what it does not grant: a request that fits beside what
// is granted is not refused because of a larger one that is refused at the time.
func (b *Budget) take(n int64) bool {
	for {
		used := b.used.Load()
		if limit := b.opts.TotalBytes; limit > 0 && n > limit-used {
			return false
		}
		if b.used.CompareAndSwap(used, used+n) {
			return true
		}
	}
}

func (b *Budget) give(n int64) { b.used.Add(-n) }

// overTotal is the refusal of a query that holds used bytes and needs so many, for
// what all of them may take: for good if it is too much for the query alone, else
// because of what others hold.
func (b *Budget) overTotal(used, need int64) *LimitError {
	err := &LimitError{Limit: totalBytes, Value: b.opts.TotalBytes, Asked: need, Unit: "bytes"}
	if need <= b.opts.TotalBytes {
		err.Asked, err.RetryAfter = need-used, b.opts.RetryAfter
	}
	return err
}
