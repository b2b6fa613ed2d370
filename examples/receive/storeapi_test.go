package main

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-tsdb/varve/examples/internal/cli"
)

// A receiver takes what others forward, however much, and says what it has, both at
// one address.
func TestForwardedAndAskedForAtOneAddress(t *testing.T) {
	stores := start(t, "--label=a=b")
	// The router is to wait longer than a busy machine takes.
	routes := start(t, fmt.Sprintf(`--receive.hashrings=[{"endpoints": [%q]}]`, stores.grpc.Addr()), "--receive-forward-timeout=5m")
	// Far more than gRPC takes by default.
	names := []string{"m"}
	for i := range 60_000 {
		names = append(names, fmt.Sprintf("a_rather_long_name_%s_%d", strings.Repeat("x", 80), i))
	}
	if status, text := request(t, http.DefaultClient, fmt.Sprintf("http://%s/api/v1/receive", routes.writes.Addr()), protobuf, remoteWrite(t, names...)); status != http.StatusNoContent {
		t.Fatalf("answered %d %s", status, text)
	}
	var endpoints cli.Endpoints
	for _, p := range []program{stores, routes} {
		if err := endpoints.Addresses.Set(p.grpc.Addr().String()); err != nil {
			t.Fatal(err)
		}
	}
	clients, hangUp, err := endpoints.Open(slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer hangUp()
	for i, want := range []string{`{a="b", tenant_id="default-tenant"}`, ""} {
		c := clients[i]
		if err := c.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := ""
		c.Streams(func(external labels.Labels, _, _ int64) bool { got += external.String(); return true })
		if got != want || c.Component() != "receive" {
			t.Errorf("%s is a %s and holds %s, want %s", c, c.Component(), got, want)
		}
	}
	now := time.Now().UnixMilli()
	q, err := clients[0].ChunkQuerier(now-60_000, now+60_000)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	set := q.Select(t.Context(), true, nil, labels.MustNewMatcher(labels.MatchRegexp, "__name__", "m|a_rather.*"))
	n := 0
	for set.Next() {
		n++
	}
	if err := set.Err(); err != nil || n != len(names) {
		t.Errorf("%d series of %d come back, %v", n, len(names), err)
	}
}
