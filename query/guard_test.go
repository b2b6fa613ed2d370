package query

import (
	"net/http"
	"strings"
	"testing"
)

// TestDangerousQueries would end the process, or take minutes, if the engine got
// them.
func TestDangerousQueries(t *testing.T) {
	h := newTestHandler(t, apiModel(t), HandlerOptions{})
	for name, c := range map[string]struct {
		query string
		ok    bool
	}{
		"subquery":                   {"max_over_time(up[1h:1m])", true},
		"fine subquery":              {"max_over_time(up[6h:1s])", true},
		"endless subquery":           {"up[10y:1ms]", false},
		"in a call":                  {"sum(max_over_time(up[10y:1ms]) > 0)", false},
		"nested":                     {"max_over_time(max_over_time(up[1h:1s])[9y:1d])", false},
		"at a time":                  {"max_over_time(up[1h:1s] @ end())", true},
		"endless at a time":          {"max_over_time(up[10y:1ms] @ end())", false},
		"ranges add up":              {"max_over_time(max_over_time(up[200y:1d])[200y:1d])", false},
		"parentheses without number": {strings.Repeat("(", 1<<20), false},
	} {
		for _, target := range []string{"query" + params("query", c.query, "time", "60"), "query_range" + params("query", c.query, "start", "0", "end", "60", "step", "60")} {
			w := ask(h, "FORM", "/api/v1/"+target)
			if got := w.Code == http.StatusOK; got != c.ok && !strings.Contains(w.Body.String(), "must be Scalar or instant Vector") || w.Code >= 500 {
				t.Errorf("%s: %d %.300s", name, w.Code, w.Body)
			}
		}
	}
	for _, target := range []string{"format_query", "query_exemplars"} {
		if w := ask(h, "FORM", "/api/v1/"+target+params("query", strings.Repeat("abs(", 1<<20))); w.Code != http.StatusBadRequest {
			t.Errorf("%s: %d %.300s", target, w.Code, w.Body)
		}
	}
}
