package readcost

import (
	"strings"
	"testing"
)

// A query that is too big for the process by itself does not fit later either,
// and is not told to try again.
func TestQueryTooBigForTheProcess(t *testing.T) {
	b := newBudget(t, BudgetOptions{QueryBytes: -1, TotalBytes: 20 << 20})
	other := b.Open()
	if err := other.Take(Kept, 15<<20); err != nil {
		t.Fatal(err)
	}
	for name, ask := range map[string]func(*Cost) error{
		"taken": func(c *Cost) error {
			if err := c.Take(PostingsInFlight, 1<<20); err != nil {
				return err
			}
			return c.Take(Kept, 20<<20)
		},
		"promised": func(c *Cost) error { return c.Admit(Least{Postings: 1 << 20, Kept: 20 << 20}) },
	} {
		err := ask(b.Open())
		limit := limitOf(t, err)
		if _, busy := limit.Overloaded(); busy || !limit.LimitExceeded() || limit.Limit != "TotalBytes" {
			t.Errorf("%s: %v is not final", name, err)
		}
		for _, part := range []string{"21 MiB", "20 MiB for all queries together", "select fewer series or less time, or raise TotalBytes"} {
			if !strings.Contains(err.Error(), part) || strings.Contains(err.Error(), "try again") {
				t.Errorf("%s: %q does not say %q", name, err, part)
			}
		}
	}
}

// Errors name what an operator can change: what the host calls the limits.
func TestLimitsHaveTheHostsNames(t *testing.T) {
	names := map[string]string{"QueryBytes": "--query.max-bytes", "TotalBytes": "--query.max-total-bytes", "QuerySeries": "--series"}
	b := newBudget(t, BudgetOptions{QueryBytes: 100, TotalBytes: 150, QuerySeries: 1, QueryBlocks: 1, Names: names})
	names["QueryBytes"] = "changed"
	if err := b.Open().Take(Kept, 100); err != nil {
		t.Fatal(err)
	}
	for limit, err := range map[string]error{
		"QueryBytes": b.Open().Take(Kept, 101), "TotalBytes": b.Open().Take(Kept, 60),
		"QuerySeries": b.Open().Returned(2, 0, 0), "QueryBlocks": b.Open().Blocks(2),
	} {
		want := map[string]string{"QueryBytes": "--query.max-bytes", "TotalBytes": "--query.max-total-bytes", "QuerySeries": "--series", "QueryBlocks": "QueryBlocks"}[limit]
		e := limitOf(t, err)
		if e.Limit != limit || e.Name() != want || !strings.Contains(err.Error(), "raise "+want) || want != limit && strings.Contains(err.Error(), limit) {
			t.Errorf("%s is called %s: %v", limit, e.Name(), err)
		}
		if limit == "TotalBytes" && !strings.HasSuffix(err.Error(), "lower --query.max-bytes") {
			t.Errorf("the other remedy is not named: %v", err)
		}
	}
	_, err := NewBudget(BudgetOptions{Names: map[string]string{"QueryByte": "--x"}})
	if err == nil || !strings.Contains(err.Error(), `"QueryByte"`) {
		t.Errorf("a name of no limit: %v", err)
	}
}

// What exceeds a limit by little does not read as if it did not.
func TestNearMissesAreExact(t *testing.T) {
	err := newBudget(t, BudgetOptions{QueryBytes: 20 << 20}).Open().Take(Kept, 20<<20+1)
	if !strings.Contains(err.Error(), "20971521 bytes") || !strings.Contains(err.Error(), "limit of 20971520 bytes") {
		t.Error(err)
	}
}
