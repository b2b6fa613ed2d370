// Command store serves the blocks of a bucket, with the flags of Thanos Store: to
// Thanos Query and examples/query by gRPC, and to Grafana by PromQL over HTTP. The
// blocks may be Varve's or Thanos', downsampled ones too.
//
// /-/ready answers 503 until the bucket has been looked into once.
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
	"golang.org/x/sync/errgroup"

	"github.com/varve-tsdb/varve/examples/internal/cli"
	"github.com/varve-tsdb/varve/query"
	"github.com/varve-tsdb/varve/store"
	"github.com/varve-tsdb/varve/store/storeapi"
)

func main() {
	err := run(cli.Interrupted(), os.Args[1:])
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "store:", err)
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
	listener, err := cli.Listen(set.httpAddress) // before anything is created on disk
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

func serve(ctx context.Context, set *settings, listener net.Listener, stores *cli.GRPCListener, log *slog.Logger) (err error) {
	reg := cli.Registry()
	bkt, err := cli.Bucket(set.bucketConfig, "", log, reg)
	if err != nil {
		return err
	}
	if bkt, err = set.caches.Around(bkt, set.bucketConfig, set.dataDir.Join("cache"), log, reg); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bkt.Close()) }()
	budget, err := set.query.Budget(reg)
	if err != nil {
		return err
	}
	hist, err := store.Open(bkt, string(set.dataDir), store.Options{
		Budget: budget, SyncInterval: time.Duration(set.interval), ConsistencyDelay: time.Duration(set.consistency),
		IgnoreDeletionMarksDelay: set.marks.OrForever(), Logger: log, Registerer: reg,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, hist.Close()) }()
	// A bucket that nobody has looked into is not ready, so that it is not taken for
	// an empty one.
	ready := func() error {
		q, err := hist.ChunkQuerier(0, 0)
		if err != nil {
			return err
		}
		return q.Close()
	}
	opts := set.grpc.Options("store", budget, reg)
	opts.Ready = ready
	remote, err := storeapi.NewServer(hist, opts)
	if err != nil {
		return err
	}
	engine, err := set.query.Engine(log, reg)
	if err != nil {
		return err
	}
	api, err := query.NewHandler(engine, hist, set.query.Handler(budget, hist, log, reg))
	if err != nil {
		return err
	}

	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	mux.HandleFunc("/-/healthy", cli.Text("OK\n"))
	mux.HandleFunc("/-/ready", cli.ReadyWhen(ready))
	mux.Handle("/", api)
	mux.HandleFunc("GET /{$}", cli.Text(welcome))

	// So that the log can say how much there is. A bucket that is away holds up nobody
	// for longer.
	cli.Try(ctx, 10*time.Second, "look into the bucket", hist.Sync, log)
	g, running := errgroup.WithContext(ctx)
	g.Go(func() error { return cli.Serve(running, listener, mux, log) })
	g.Go(func() error { return stores.ServeStoreAPI(running, remote, log) })
	g.Go(func() error { return hist.Run(running) })
	log.Info("serving the bucket", "blocks", len(hist.Blocks()), "grpc", stores.Addr(), "http", listener.Addr())
	return g.Wait()
}

// welcome is for who opens the address in a browser.
const welcome = `This serves the blocks of a bucket, by Varve.

  /api/v1/query?query=up   the query API of Prometheus, which Grafana can use
  /api/v1/status/blocks    the blocks, and what is wrong with them
  /metrics                 what this process has to say about itself
  /-/ready                 for probes: 503 until the bucket has been looked into
  /-/healthy               for probes: 200 as long as the process answers
`
