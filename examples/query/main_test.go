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
		{"store", "127.0.0.1:1", "only once"},
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
	address := startQuery(t, args...)
	for query, want := range map[string]string{
		"query=count(up)":             `,"1"]`,
		"query=count(up)&dedup=false": `,"2"]`,
	} {
		if got := get(t, address, "query", query); !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
	away := startQuery(t, append(args, "--endpoint=127.0.0.1:1")...)
	if got := get(t, away, "query", "query=up"); !strings.Contains(got, `"status":"error"`) || !strings.Contains(got, "127.0.0.1:1") {
		t.Errorf("with one away: %s", got)
	}
	if got := get(t, away, "query", "query=up&partial_response=true"); !strings.Contains(got, `"job":"a"`) || !strings.Contains(got, "127.0.0.1:1") {
		t.Errorf("with one away, in part: %s", got)
	}
}

// startQuery runs the program until the test ends, and returns the address of its API.
func startQuery(t *testing.T, args ...string) (address string) {
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
	return l.Addr().String()
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
