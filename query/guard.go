package query

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
)

// maxOperators is how many operators, calls, parentheses and ranges a query may
// have.
// The parser and the engine recurse into each, on a stack that ends the process
// when it is full, and take time that grows with their square: ten thousand are
// up to ten seconds, a million are the end. People write dozens.
const maxOperators = 5000

// guarded refuses queries that would end the process before a limit of the
// engine could notice.
type guarded struct {
	engine   *promql.Engine
	maxSteps int64
	step     time.Duration // of subqueries that name none
}

// NewInstantQuery returns a query for one time.
func (g guarded) NewInstantQuery(ctx context.Context, q storage.Queryable, opts promql.QueryOpts, qs string, ts time.Time) (promql.Query, error) {
	return g.check(qs, func() (promql.Query, error) { return g.engine.NewInstantQuery(parsing(ctx), q, opts, qs, ts) })
}

// NewRangeQuery returns a query for the inclusive range [start, end].
func (g guarded) NewRangeQuery(ctx context.Context, q storage.Queryable, opts promql.QueryOpts, qs string, start, end time.Time, interval time.Duration) (promql.Query, error) {
	return g.check(qs, func() (promql.Query, error) {
		return g.engine.NewRangeQuery(parsing(ctx), q, opts, qs, start, end, interval)
	})
}

func (g guarded) check(qs string, open func() (promql.Query, error)) (promql.Query, error) {
	if err := checkSize(qs); err != nil {
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
	return q, nil
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

// checkSize refuses queries that nest too deep, without parsing them.
func checkSize(qs string) error {
	if n := nesting(qs); n > maxOperators {
		return fmt.Errorf("query has %d operators, calls, parentheses and ranges, more than %d", n, maxOperators)
	}
	return nil
}

// nesting counts what the parser may recurse into. It asks the lexer that the
// parser asks: where the two disagreed about comments or quotes, a query could
// hide from the count. Matchers do not nest, however many there are.
func nesting(qs string) (n int) {
	lexer := parser.Lex(qs)
	inBraces := false
	for item := (parser.Item{}); ; {
		switch lexer.NextItem(&item); {
		case item.Typ == parser.EOF || item.Typ == parser.ERROR:
			return n
		case item.Typ == parser.LEFT_BRACE || item.Typ == parser.RIGHT_BRACE:
			inBraces = item.Typ == parser.LEFT_BRACE
		case inBraces:
		case item.Typ.IsOperator() || item.Typ == parser.LEFT_PAREN || item.Typ == parser.LEFT_BRACKET:
			n++
		}
	}
}
