package exprsize

import (
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
)

func TestCheck(t *testing.T) {
	many := strings.Repeat
	for name, c := range map[string]struct {
		query string
		ok    bool
	}{
		"usual":              {`sum by (job) (rate(http_requests_total{code=~"5.."}[5m])) / on () group_left () vector(1)`, true},
		"many terms":         {"up" + many(" or up", 1000), true},
		"long regexp":        {`up{job=~"` + many("(a+b-c)|", 100000) + `x"}`, true},
		"many matchers":      {`up{` + many(`a="b",`, 10000) + `}`, true},
		"escaped quote":      {`up{job="\"` + many("(", 10000) + `"}`, true},
		"raw string":         {"label_replace(up, `\\`, `" + many("(", 10000) + "`, ``, ``)", true},
		"brace in a string":  {`up{job="}` + many("(", 10000) + `"}`, true},
		"operators in names": {many("order_and:band ", 10000), true},
		"parentheses":        {many("(", 10000) + "up" + many(")", 10000), false},
		"calls":              {many("abs(", 10000) + "up" + many(")", 10000), false},
		"signs":              {many("- ", 10000) + "up", false},
		"words":              {"up" + many(" UNLESS up", 10000), false},
		"ranges":             {"up" + many("[1m:]", 10000), false},
		"after matchers":     {`up{a="b"}` + many("+1", 10000), false},
		"in a comment":       {"up # " + many("(", 10000), true},
		"unclosed":           {`up{a="b`, true},
	} {
		if err := Check(c.query); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What looks like the begin of a string or of matchers, but is in a comment,
// must not hide what follows it.
func TestCommentsDoNotHideOperators(t *testing.T) {
	for _, start := range []string{"# \"\n", "# '\n", "# `\n", "# {\n", "x{# \"\n} + ", "x{a=\"b\" # '\n} + ", "x{# }\n} + "} {
		query := start + strings.Repeat("(", 10000) + "up" + strings.Repeat(")", 10000)
		if err := Check(query); err == nil {
			t.Errorf("%q and 10,000 parentheses were let through", start)
		}
	}
}

// Whatever can be parsed has at least as many operators, calls and parentheses
// in the count of Check as in its tree, so that nothing deeper gets through.
func FuzzCheckSeesAllThatNests(f *testing.F) {
	for _, query := range []string{
		`sum by (job) (rate(http_requests_total{code=~"5.."}[5m])) / on () group_left () vector(1)`,
		"# \"\n((1))", "x{a=\"b\" # '\n} + -(up)", "max_over_time(up[1h:1m] @ end())[1h:1m]",
		"a unless (b atan2 c) or -d ^ 2 >= bool 1", "{\"up\", a='}'} offset (5m + 1m)", "up[(5m*2)+1m]", "`\\` == \"#\"",
	} {
		f.Add(query)
	}
	parse := parser.NewParser(parser.Options{EnableExperimentalFunctions: true, ExperimentalDurationExpr: true, EnableExtendedRangeSelectors: true, EnableBinopFillModifiers: true})
	f.Fuzz(func(t *testing.T, query string) {
		counted := nesting(query)
		if len(query) > 1<<16 || counted > MaxOperators {
			return
		}
		expr, err := parse.ParseExpr(query)
		if err != nil {
			return
		}
		parsed := 0
		parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
			switch node.(type) {
			case *parser.BinaryExpr, *parser.UnaryExpr, *parser.ParenExpr, *parser.Call, *parser.AggregateExpr, *parser.SubqueryExpr:
				parsed++
			}
			return nil
		})
		if counted < parsed {
			t.Fatalf("counted %d in %q, which parses as %d", counted, query, parsed)
		}
	})
}
