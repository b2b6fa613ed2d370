// Command query answers PromQL over servers of the StoreAPI, with the flags of Thanos
// Query: Varve's or Thanos' stores, receivers, sidecars and queriers. Replicas are
// merged. What it asks others for it serves by gRPC itself.
//
// /-/ready answers 503 until each endpoint has been asked once what it holds, also if
// it is away; /api/v1/status/stores lists the endpoints, and what is wrong with them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/prometheus/storage"
	"golang.org/x/sync/errgroup"

	"github.com/varve-tsdb/varve/dedup"
	"github.com/varve-tsdb/varve/examples/internal/cli"
	"github.com/varve-tsdb/varve/query"
	"github.com/varve-tsdb/varve/store/storeapi"
)

func main() {
	err := run(cli.Interrupted(), os.Args[1:])
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "query:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	set, err := parse(args)
	if err != nil {
		return err
	}
	log, err := cli.Logger(set.logLevel)
	if err != nil {
		return err
	}
	listener, err := cli.Listen(set.httpAddress)
	if err != nil {
		return err
	}
	defer listener.Close()
	stores, err := set.grpc.Listen(log)
	if err != nil {
		return err
	}
	defer stores.Close()
	return serve(ctx, set, listener, stores, log)
}

func serve(ctx context.Context, set *settings, listener net.Listener, stores *cli.GRPCListener, log *slog.Logger) error {
	reg := cli.Registry()
	endpoints, hangUp, err := set.endpoints.Open(log, reg)
	if err != nil {
		return err
	}
	defer hangUp()
	var sources []storage.ChunkQueryable
	for _, e := range endpoints {
		sources = append(sources, e)
	}
	all := query.NewFanout(sources, query.FanoutOptions{SourceTimeout: time.Duration(set.storeTimeout), Logger: log})
	one := dedup.New(all, dedup.Options{ReplicaLabels: set.replicaLabels})
	budget, err := set.query.Budget(reg)
	if err != nil {
		return err
	}
	remote, err := storeapi.NewServer(all, set.grpc.Options("query", budget, reg))
	if err != nil {
		return err
	}
	engine, err := set.query.Engine(log, reg)
	if err != nil {
		return err
	}
	opts := set.query.Handler(budget, nil, log, reg)
	opts.Status = map[string]func() any{"stores": func() any { return statusOf(endpoints) }}
	opts.PartialResponse, opts.AutoDownsampling = set.partial, set.coarse
	api, err := query.NewHandler(engine, one, opts)
	if err != nil {
		return err
	}

	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	mux.HandleFunc("/-/healthy", cli.Text("OK\n"))
	mux.HandleFunc("/-/ready", cli.ReadyWhen(func() error { return unasked(endpoints) }))
	mux.Handle("/", api)
	mux.HandleFunc("GET /{$}", cli.Text(welcome))

	g, running := errgroup.WithContext(ctx)
	g.Go(func() error { return cli.Serve(running, listener, mux, log) })
	g.Go(func() error { return stores.ServeStoreAPI(running, remote, log) })
	for _, e := range endpoints {
		g.Go(func() error { return e.Run(running) })
	}
	log.Info("querying", "endpoints", set.endpoints.Addresses, "grpc", stores.Addr(), "http", listener.Addr())
	return g.Wait()
}
