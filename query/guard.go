package query

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"

	"github.com/varve-tsdb/varve/internal/exprsize"
)

// guarded refuses queries that would end the process before a limit of the
// engine could notice. Others wait for their turn.
type guarded struct {
	engine   *promql.Engine
	queue    *queue
	maxSteps int64
	step     time.Duration // of subqueries that name none
}

// NewInstantQuery returns a query for one time.
func (g guarded) NewInstantQuery(ctx context.Context, q storage.Queryable, opts promql.QueryOpts, qs string, ts time.Time) (promql.Query, error) {
	return g.check(qs, func() (promql.Query, error) { return g.engine.NewInstantQuery(ctx, q, opts, qs, ts) })
}

// NewRangeQuery returns a query for the inclusive range [start, end].
func (g guarded) NewRangeQuery(ctx context.Context, q storage.Queryable, opts promql.QueryOpts, qs string, start, end time.Time, interval time.Duration) (promql.Query, error) {
	return g.check(qs, func() (promql.Query, error) {
		return g.engine.NewRangeQuery(ctx, q, opts, qs, start, end, interval)
	})
}

func (g guarded) check(qs string, open func() (promql.Query, error)) (promql.Query, error) {
	if err := exprsize.Check(qs); err != nil {
		return nil, err
	}
	q, err := open()
	if err != nil {
		return nil, err
	}
	if stmt, ok := q.Statement().(*parser.EvalStmt); ok {
		if err := g.checkSteps(stmt.Expr, stmt.End.Sub(stmt.Start)); err != nil {
			q.Close()
			return nil, err
		}
	}
	return &queuedQuery{Query: q, queue: g.queue}, nil
}

// checkSteps refuses subqueries of more steps than the engine may hold samples.
// The engine reserves memory for each step, whether it has samples or not.
// width is the time that expr is evaluated over.
func (g guarded) checkSteps(expr parser.Node, width time.Duration) error {
	switch e := expr.(type) {
	case *parser.StepInvariantExpr:
		width = 0
	case *parser.SubqueryExpr:
		step := e.Step
		if step <= 0 {
			step = g.step
		}
		width += e.Range
		if width < 0 {
			return fmt.Errorf("subquery %s goes back too far", e.String())
		}
		if steps := int64(width/step) + 1; steps > g.maxSteps {
			return fmt.Errorf("subquery %s takes %d steps, more than the %d samples a query may hold in memory", e.String(), steps, g.maxSteps)
		}
	}
	for child := range parser.ChildrenIter(expr) {
		if err := g.checkSteps(child, width); err != nil {
			return err
		}
	}
	return nil
}
