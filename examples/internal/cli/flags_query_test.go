package cli

import (
	"errors"
	"flag"
	"io"
	"strings"
	"testing"

	"github.com/varve-tsdb/varve/query"
)

func parseQuery(t *testing.T, args ...string) (*Query, error) {
	t.Helper()
	var q Query
	flags := flag.NewFlagSet("test", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	q.Register(flags)
	q.RegisterBucket(flags)
	return &q, flags.Parse(args)
}

// What the flags say is what queries may take, and 0 turns a limit off.
func TestQueryFlags(t *testing.T) {
	for _, c := range []struct {
		args  []string
		limit string // that a query of 3 GiB meets, empty for none
	}{
		{nil, "QueryBytes"},
		{[]string{"--query.max-bytes=0"}, "TotalBytes"},
		{[]string{"--query.max-bytes=0", "--query.max-total-bytes=4GiB"}, ""},
		{[]string{"--query.max-bytes=0", "--query.max-total-bytes=0"}, ""},
		{[]string{"--query.max-bytes=0", "--query.max-total-bytes=0", "--store.grpc.downloaded-bytes-limit=1000"}, "QueryFetch"},
		{[]string{"--query.max-bytes=0", "--query.max-total-bytes=0", "--store.limits.request-series=5"}, "QuerySeries"},
		{[]string{"--query.max-bytes=0", "--query.max-total-bytes=0", "--store.limits.request-samples=5"}, "QuerySamples"},
		{[]string{"--query.max-bytes=0", "--query.max-total-bytes=0", "--store.limits.request-blocks=5"}, "QueryBlocks"},
	} {
		q, err := parseQuery(t, c.args...)
		if err != nil {
			t.Fatal(err)
		}
		budget, err := q.Budget(nil)
		if err != nil {
			t.Fatal(err)
		}
		cost := budget.Open()
		err = errors.Join(cost.Fetch(2000), cost.Returned(6, 6, 6), cost.Blocks(6), cost.Take(0, 3<<30))
		limit := &query.LimitError{}
		if got := errors.As(err, &limit); got != (c.limit != "") || limit.Limit != c.limit {
			t.Errorf("%v: %v, want %q", c.args, err, c.limit)
		}
		cost.Close()
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]Size{"0": 0, "1000": 1000, "12B": 12, "64KiB": 64 << 10, "512MB": 512 << 20, "2GiB": 2 << 30} {
		var s Size
		if err := s.Set(text); err != nil || s != want {
			t.Errorf("%s: %d, %v", text, s, err)
		}
	}
	for _, text := range []string{"", "x", "-1", "1XB", "9999999999GiB", "1.5GiB"} {
		_, err := parseQuery(t, "--query.max-bytes="+text)
		if err == nil || !strings.Contains(err.Error(), "query.max-bytes") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
