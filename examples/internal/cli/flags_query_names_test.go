package cli

import (
	"flag"
	"strings"
	"testing"
)

// What is refused names the flag that an operator has to raise, and there is
// such a flag.
func TestRefusalsNameFlags(t *testing.T) {
	flags := flag.NewFlagSet("test", flag.ContinueOnError)
	var all Query
	all.Register(flags)
	all.RegisterBucket(flags)
	for limit, name := range limitNames() {
		if flags.Lookup(strings.TrimPrefix(name, "--")) == nil {
			t.Errorf("there is no flag %s for %s", name, limit)
		}
	}
	q, err := parseQuery(t, "--query.max-bytes=1MiB")
	if err != nil {
		t.Fatal(err)
	}
	budget, err := q.Budget(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := budget.Open().Take(0, 2<<20); err == nil || !strings.Contains(err.Error(), "raise --query.max-bytes") {
		t.Errorf("got %v", err)
	}
}
