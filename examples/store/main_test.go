package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-tsdb/varve/examples/internal/cli"
	"github.com/varve-tsdb/varve/internal/blocktest"
	"github.com/varve-tsdb/varve/objstore/filesystem"
)

func bucketConfig(t *testing.T, dir string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "bucket.yaml")
	if err := os.WriteFile(name, fmt.Appendf(nil, "type: FILESYSTEM\nconfig: {directory: %q}\n", dir), 0o666); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestFlagsAreRefusedByName(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, c := range []struct{ flag, value, want string }{
		{"objstore.config-file", "", "which bucket"},
		{"objstore.config-file", "/nowhere", "no such file"},
		{"sync-block-duration", "soon", "not a valid duration"},
		{"grpc-server-tls-client-ca", "nowhere", "give --grpc-server-tls-cert and --grpc-server-tls-key too"},
		{"grpc-address", taken.Addr().String(), "choose another"},
		{"http-address", "nonsense", "choose another"},
		{"log.level", "loud", "debug, info, warn or error"},
	} {
		dir := filepath.Join(t.TempDir(), "data")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := run(ctx, []string{"--http-address=127.0.0.1:0", "--grpc-address=127.0.0.1:0", "--data-dir=" + dir, "--objstore.config-file=" + bucketConfig(t, t.TempDir()), "--" + c.flag + "=" + c.value})
		if err == nil || !strings.Contains(err.Error(), "-"+c.flag) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("--%s=%s: %v", c.flag, c.value, err)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("--%s=%s: the data directory was created", c.flag, c.value)
		}
	}
}

// The blocks of a bucket are there by gRPC and by PromQL, once it has been looked into.
func TestStore(t *testing.T) {
	dir := t.TempDir()
	bkt, err := filesystem.NewBucket(dir)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UnixMilli()
	blocktest.Put(t, bkt, blocktest.Block{
		External: labels.FromStrings("cluster", "eu"),
		Series:   []blocktest.Series{{Labels: labels.FromStrings("__name__", "up"), Samples: []blocktest.Sample{{T: now, V: 1}}}},
	})
	log := slog.New(slog.DiscardHandler)
	set, err := parse([]string{"--grpc-address=127.0.0.1:0", "--data-dir=" + t.TempDir(), "--objstore.config-file=" + bucketConfig(t, dir)})
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
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, set, l, stores, log) }()
	get := func(path string) (int, string) {
		res, err := http.Get("http://" + l.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(body)
	}
	for range 1000 {
		if status, _ := get("/-/ready"); status == http.StatusOK {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if _, answer := get("/api/v1/query?query=up"); !strings.Contains(answer, `{"__name__":"up","cluster":"eu"}`) {
		t.Errorf("by PromQL: %s", answer)
	}
	var endpoints cli.Endpoints
	if err := endpoints.Addresses.Set(stores.Addr().String()); err != nil {
		t.Fatal(err)
	}
	client, hangUp, err := endpoints.Open(log, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer hangUp()
	if err := client[0].Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	client[0].Streams(func(external labels.Labels, mint, maxt int64) bool {
		if external.String() != `{cluster="eu"}` || mint > now || maxt < now || client[0].Component() != "store" {
			t.Errorf("by gRPC: %s from %d to %d, a %s", external, mint, maxt, client[0].Component())
		}
		return true
	})
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
