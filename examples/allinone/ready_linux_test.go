package main

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/varve-tsdb/varve/examples/internal/cli"
	"github.com/varve-tsdb/varve/examples/internal/clitest"
)

func TestReadyOnceTenantsAreOpen(t *testing.T) {
	dir := t.TempDir()
	open := clitest.SlowTenant(t, filepath.Join(dir, "heads"))
	set, err := parse([]string{"--data-dir", dir})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := cli.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stores, err := (&cli.GRPC{Address: "127.0.0.1:0"}).Listen(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, set, listener, stores, slog.New(slog.DiscardHandler)) }()
	clitest.NotReadyUntil(t, fmt.Sprintf("http://%s/-/ready", listener.Addr()), open)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
