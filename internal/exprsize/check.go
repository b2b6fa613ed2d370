package exprsize

import (
	"fmt"

	"github.com/prometheus/prometheus/promql/parser"
)

// MaxOperators is how many operators, calls, parentheses and ranges an expression
// may have.
// The parser and the engine recurse into each, on a stack that ends the process
// when it is full, and take time that grows with their square: ten thousand are
// up to ten seconds, a million are the end. People write dozens.
const MaxOperators = 5000

// Check refuses expressions that have more, without parsing them.
func Check(expr string) error {
	if n := nesting(expr); n > MaxOperators {
		return fmt.Errorf("query has %d operators, calls, parentheses and ranges, more than %d", n, MaxOperators)
	}
	return nil
}

// nesting counts what the parser may recurse into. It asks the lexer that the
// parser asks: where the two disagreed about comments or quotes, one could
// hide from the count. Matchers do not nest, however many there are.
func nesting(expr string) (n int) {
	lexer := parser.Lex(expr)
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
