// Command allinone is a whole long-term store in one process: it takes remote
// write and OTLP, keeps the newest samples in heads, cuts and ships blocks to a
// bucket, and answers PromQL over heads and bucket together. Run it without flags.
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
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"golang.org/x/sync/errgroup"

	"github.com/varve-tsdb/varve/block"
	"github.com/varve-tsdb/varve/dedup"
	"github.com/varve-tsdb/varve/examples/internal/cli"
	"github.com/varve-tsdb/varve/query"
	"github.com/varve-tsdb/varve/receive"
	"github.com/varve-tsdb/varve/receive/otlp"
	"github.com/varve-tsdb/varve/store"
	"github.com/varve-tsdb/varve/store/storeapi"
)

func main() {
	err := run(cli.Interrupted(), os.Args[1:])
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "allinone:", err)
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
	bkt, err := cli.Bucket(set.bucketConfig, set.dataDir.Join("bucket"), log, reg)
	if err != nil {
		return err
	}
	if bkt, err = set.caches.Around(bkt, set.bucketConfig, set.dataDir.Join("cache"), log, reg); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bkt.Close()) }()
	heads, err := receive.OpenTenants(set.dataDir.Join("heads"), receive.TenantsOptions{
		Labels: set.external.Labels, BlockDuration: time.Duration(set.blockDuration), Retention: set.retention.OrForever(),
		OutOfOrderWindow: time.Duration(set.outOfOrder), Logger: log, Registerer: reg,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, heads.Close()) }()
	budget, err := set.query.Budget(reg)
	if err != nil {
		return err
	}
	hist, err := store.Open(bkt, set.dataDir.Join("store"), store.Options{Budget: budget, Logger: log, Registerer: reg})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, hist.Close()) }()
	ship, err := block.NewShipper(bkt, heads, block.ShipperOptions{Logger: log, Registerer: reg})
	if err != nil {
		return err
	}
	limits, err := cli.Limits(ctx, set.limitsConfig, log, reg)
	if err != nil {
		return err
	}
	write, err := receive.NewHandler(heads, receive.HandlerOptions{
		TenantHeader: *set.tenantHeader, DefaultTenant: *set.defaultTenant, Limits: limits.Current, Logger: log, Registerer: reg,
	})
	if err != nil {
		return err
	}
	otel, err := otlp.NewHandler(write, otlp.Options{Registerer: reg})
	if err != nil {
		return err
	}
	self, err := receive.NewSelfScraper(reg, heads, receive.SelfScrapeOptions{
		Tenant: *set.defaultTenant, Labels: labels.FromStrings("job", "varve", "instance", set.httpAddress), Logger: log,
	})
	if err != nil {
		return err
	}
	engine, err := set.query.Engine(log, reg)
	if err != nil {
		return err
	}
	all := query.NewFanout([]storage.ChunkQueryable{heads, hist}, query.FanoutOptions{})
	one := dedup.New(all, dedup.Options{ReplicaLabels: set.replicaLabels})
	api, err := query.NewHandler(engine, one, set.query.Handler(budget, hist, log, reg))
	if err != nil {
		return err
	}
	remote, err := storeapi.NewServer(all, set.grpc.Options("store", budget, reg))
	if err != nil {
		return err
	}

	mux := http.NewServeMux()
	mux.Handle("/api/v1/receive", write)
	mux.Handle("/api/v1/write", write)
	mux.Handle("/api/v1/otlp", otel)
	mux.Handle("/api/v1/otlp/v1/metrics", otel)
	mux.Handle("/metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	mux.HandleFunc("/-/healthy", cli.Text("OK\n"))
	mux.HandleFunc("/-/ready", cli.Ready(heads.Opening))
	mux.Handle("/", api)
	mux.HandleFunc("GET /{$}", cli.Text(welcome))
	// Writes must not wait for a bucket that is away; queries are told so.
	cli.Try(ctx, 10*time.Second, "look into the bucket", hist.Sync, log)
	announce(cli.Reachable(listener.Addr()), string(set.dataDir))

	g, running := errgroup.WithContext(ctx)
	g.Go(func() error { return cli.Serve(running, listener, mux, log) })
	g.Go(func() error { return stores.ServeStoreAPI(running, remote, log) })
	for _, run := range []func(context.Context) error{heads.Run, hist.Run, ship.Run, self.Run, limits.Run} {
		g.Go(func() error { return run(running) })
	}
	return errors.Join(g.Wait(), shipAll(heads, ship, set.dataDir, log))
}
