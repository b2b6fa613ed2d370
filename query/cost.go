package query

import (
	"context"

	"github.com/varve-tsdb/varve/internal/readcost"
)

// Budget limits the memory of reads, and more, each by itself and all together.
// It is the same type as in package store: one for all parts of a process makes
// them share its memory.
type Budget = readcost.Budget

// BudgetOptions are the limits of a Budget.
type BudgetOptions = readcost.BudgetOptions

// LimitError is what a read gets that a limit of its Budget has ended. It passes
// through fan-out, deduplication and engine, and is never a mere warning. The
// HTTP API answers 422, or 429 with Retry-After if all reads together have no
// memory left.
type LimitError = readcost.LimitError

// Cost is what a read has cost, and what it holds of a Budget. It travels in the
// context of the read. The HTTP API opens one for each request that brings none.
type Cost = readcost.Cost

// CostReport is what a Cost has come to.
type CostReport = readcost.Report

// Prices is what a provider asks for reading of a bucket.
type Prices = readcost.Prices

// NewBudget returns a Budget. It fails if an option is wrong or its metrics are
// registered already.
func NewBudget(opts BudgetOptions) (*Budget, error) { return readcost.NewBudget(opts) }

// WithCost returns a context whose reads are accounted for in c, which
// Budget.Open has made.
func WithCost(ctx context.Context, c *Cost) context.Context { return readcost.With(ctx, c) }

// CostFrom returns the Cost that ctx carries, or nil, on which all methods work.
func CostFrom(ctx context.Context) *Cost { return readcost.From(ctx) }
