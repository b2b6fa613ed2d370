package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-tsdb/varve/examples/internal/cli"
	"github.com/varve-tsdb/varve/examples/internal/clitest"
	"github.com/varve-tsdb/varve/query/querytest"
	"github.com/varve-tsdb/varve/store/storeapi"
)

func TestFlagsAreRefusedByName(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, c := range []struct{ flag, value, want string }{
		{"endpoint", "nowhere", "host:port"},
		{"endpoint", "dnssrv+_grpc._tcp.store", "discovery by DNS"},
		{"store", "127.0.0.1:1", "given twice"},
		{"endpoint", ":10901", "host:port"},
		{"endpoint", "http://127.0.0.1:10901", "without a scheme"},
		{"endpoint", "127.0.0.1:99999", "not a port"},
		{"endpoint", "127.0.0.1:grpc", "not a port"},
		{"store.limits.request-series", "many", "whole number"},
		{"store.grpc.series-max-concurrency", "-1", "whole number"},
		{"query.max-bytes", "3GiB", "--query.max-total-bytes"},
		{"query.max-concurrent", "0", "no query could ever run"},
		{"grpc-server-tls-min-version", "1.4", "one of 1.0, 1.1, 1.2, 1.3"},
		{"grpc-client-tls-min-version", "1.4", "one of 1.0, 1.1, 1.2, 1.3"},
		{"grpc-compression", "gzip", "none or snappy"},
		{"grpc-client-tls-ca", "nowhere", "give --grpc-client-tls-secure too"},
		{"grpc-server-tls-cert", "nowhere", "give --grpc-server-tls-key too"},
		{"grpc-address", taken.Addr().String(), "choose another"},
		{"http-address", taken.Addr().String(), "choose another"},
		{"query.replica-label", "", "empty"},
		{"query.timeout", "soon", "not a valid duration"},
		{"log.level", "loud", "debug, info, warn or error"},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := run(ctx, []string{"--http-address=127.0.0.1:0", "--grpc-address=127.0.0.1:0", "--endpoint=127.0.0.1:1", "--" + c.flag + "=" + c.value})
		name := c.flag
		if name == "store" {
			name = "endpoint"
		}
		if err == nil || !strings.Contains(err.Error(), "-"+name) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("--%s=%s: %v", c.flag, c.value, err)
		}
	}
	for _, args := range [][]string{{"--nonsense"}, {"nonsense"}} {
		if err := run(t.Context(), args); err == nil || !strings.Contains(err.Error(), "nonsense") || !strings.Contains(err.Error(), "--help") {
			t.Errorf("%s: %v", args, err)
		}
	}
	taken.Close()
	own := taken.Addr().String()
	if err := run(t.Context(), []string{"--http-address=127.0.0.1:0", "--grpc-address=" + own, "--endpoint=" + own}); err == nil || !strings.Contains(err.Error(), "--endpoint "+own) {
		t.Errorf("asking itself: %v", err)
	}
	if err := run(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "--endpoint") {
		t.Errorf("no endpoint: %v", err)
	}
}

// startStore serves a replica by the StoreAPI with the flags of a server.
func startStore(t *testing.T, replica string, args ...string) (address string) {
	t.Helper()
	model := querytest.NewModel(querytest.Data{})
	if err := model.Append(labels.FromStrings("replica", replica), labels.FromStrings("__name__", "up", "job", "a"), querytest.Sample{T: time.Now().UnixMilli(), Float: 1}); err != nil {
		t.Fatal(err)
	}
	var g cli.GRPC
	flags := flag.NewFlagSet("store", flag.ContinueOnError)
	g.Define(flags, "127.0.0.1:0", "")
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	l, err := g.Listen(log)
	if err != nil {
		t.Fatal(err)
	}
	api, err := storeapi.NewServer(model, storeapi.ServerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- l.ServeStoreAPI(ctx, api, log) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// Two stores with mutual TLS, the replicas of one series, are one in answers; and a
// third that is away fails a query that does not want to do without.
func TestQueryOverStores(t *testing.T) {
	authority := clitest.NewAuthority(t)
	cert, key := authority.Issue(t, "server", 1)
	mine, mineKey := authority.Issue(t, "client", 2)
	tls := []string{"--grpc-server-tls-cert=" + cert, "--grpc-server-tls-key=" + key, "--grpc-server-tls-client-ca=" + authority.File}
	first, second := startStore(t, "1", tls...), startStore(t, "2", tls...)
	args := []string{
		"--endpoint=" + first, "--store=" + second, "--query.replica-label=replica", "--grpc-compression=snappy",
		"--grpc-client-tls-secure", "--grpc-client-tls-ca=" + authority.File, "--grpc-client-tls-cert=" + mine, "--grpc-client-tls-key=" + mineKey,
	}
	address, _ := startQuery(t, args...)
	for query, want := range map[string]string{
		"query=count(up)":             `,"1"]`,
		"query=count(up)&dedup=false": `,"2"]`,
	} {
		if got := get(t, address, "query", query); !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
	away, _ := startQuery(t, append(args, "--endpoint=127.0.0.1:1")...)
	if got := get(t, away, "query", "query=up"); !strings.Contains(got, `"status":"error"`) || !strings.Contains(got, "127.0.0.1:1") {
		t.Errorf("with one away: %s", got)
	}
	ready(t, away)
	if got := get(t, away, "status/stores", ""); !strings.Contains(got, `"name":"`+first+`","component":"store"`) || !strings.Contains(got, `"lastError":null,"streams":[{"labels":{"replica":"1"}`) ||
		!strings.Contains(got, `"name":"127.0.0.1:1","component":""`) || !strings.Contains(got, "connection refused") {
		t.Errorf("the endpoints: %s", got)
	}
	if got := get(t, away, "query", "query=up&partial_response=true"); !strings.Contains(got, `"job":"a"`) || !strings.Contains(got, "127.0.0.1:1") {
		t.Errorf("with one away, in part: %s", got)
	}
}

// The limits of the flags are those of queries, and of calls of the StoreAPI.
func TestLimitsOfFlags(t *testing.T) {
	first, second := startStore(t, "1"), startStore(t, "2")
	for _, flag := range []string{"--store.limits.request-series=1", "--store.limits.request-samples=1", "--query.max-bytes=100"} {
		limit, _, _ := strings.Cut(flag, "=")
		address, grpc := startQuery(t, "--endpoint="+first, "--endpoint="+second, flag)
		if got := get(t, address, "query", "query=up"); !strings.Contains(got, limit) || !strings.Contains(got, `"errorType":"execution"`) {
			t.Errorf("%s: %s", flag, got)
		}
		if limit == "--query.max-bytes" { // nothing is kept of what is passed on
			continue
		}
		// What serves PromQL serves the StoreAPI, too.
		above, _ := startQuery(t, "--endpoint="+grpc)
		if got := get(t, above, "query", "query=up"); !strings.Contains(got, limit) || !strings.Contains(got, `"errorType":"execution"`) {
			t.Errorf("%s, by gRPC: %s", flag, got)
		}
	}
}

// ready waits until the program says that it is.
func ready(t *testing.T, address string) {
	t.Helper()
	for range 1000 {
		res, err := http.Get("http://" + address + "/-/ready")
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode == http.StatusOK {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("it is not ready")
}

// startQuery runs the program until the test ends, and returns the addresses of its
// API and of its StoreAPI.
func startQuery(t *testing.T, args ...string) (address, grpc string) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	set, err := parse(append(args, "--grpc-address=127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	l, err := cli.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stores, err := set.grpc.Listen(log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, set, l, stores, log) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String(), stores.Addr().String()
}

func get(t *testing.T, address, path, query string) string {
	t.Helper()
	values, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.Get(fmt.Sprintf("http://%s/api/v1/%s?%s", address, path, values.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
