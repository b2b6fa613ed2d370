package store

import (
	"context"

	"github.com/varve-tsdb/varve/internal/readcost"
)

// Budget limits the memory of reads, and more, each by itself and all together.
// It is the same type as in package query.
type Budget = readcost.Budget

// BudgetOptions are the limits of a Budget.
type BudgetOptions = readcost.BudgetOptions

// LimitError is what a read gets that a limit of its Budget has ended.
type LimitError = readcost.LimitError

// Cost is what a read has cost, and what it holds of a Budget. It travels in the
// context of the read.
type Cost = readcost.Cost

// NewBudget returns a Budget. It fails if an option is wrong or its metrics are
// registered already.
func NewBudget(opts BudgetOptions) (*Budget, error) { return readcost.NewBudget(opts) }

// WithCost returns a context whose reads are accounted for in c, which
// Budget.Open has made.
func WithCost(ctx context.Context, c *Cost) context.Context { return readcost.With(ctx, c) }
