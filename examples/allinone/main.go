// Command allinone is a whole long-term store in one process: it takes remote
// write and OTLP, keeps the newest samples in heads, cuts and ships blocks to a
// bucket, and answers PromQL over heads and bucket together. Run it without flags.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
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
)

func main() {
	err := run(cli.Interrupted(), os.Args[1:])
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "allinone:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) (err error) {
	var (
		flags         = flag.NewFlagSet("allinone", flag.ContinueOnError)
		httpAddress   = flags.String("http-address", "127.0.0.1:10902", "`address` to serve HTTP on")
		bucketConfig  = flags.String("objstore.config-file", "", "`file` with the type, config and prefix of the bucket in YAML")
		tenantHeader  = cli.Checked(flags, "receive.tenant-header", receive.DefaultTenantHeader, "request `header` that names the tenant", cli.HeaderName)
		defaultTenant = cli.Checked(flags, "receive.default-tenant-id", receive.DefaultTenant, "`tenant` of requests that name none", receive.ValidateTenant)
		limitsConfig  = flags.String("receive.limits-config-file", "", "`file` with limits in YAML, as for Thanos Receive; read again when it changes")
		logLevel      = flags.String("log.level", "info", "log from this `level` on: debug, info, warn or error")
		dataDir       = cli.Folder("./data")
		external      cli.Labels
		replicaLabels cli.Strings
		retention     = cli.Duration(15 * 24 * time.Hour)
		blockDuration = cli.BlockDuration(2 * time.Hour)
		outOfOrder    = cli.Duration(5 * time.Minute)
	)
	flags.Var(&dataDir, "data-dir", "`folder` for heads, caches and, without --objstore.config-file, the bucket")
	flags.Var(&external, "label", "external label `name=\"value\"` of all that is stored here (repeatable)")
	flags.Var(&replicaLabels, "query.replica-label", "`label` that tells replicas apart and is removed from answers (repeatable)")
	flags.Var(&retention, "tsdb.retention", "`duration` that shipped blocks stay on the local disk; 0 means for ever")
	flags.Var(&blockDuration, "tsdb.min-block-duration", "`duration` of the blocks that are cut and shipped, at least 1s")
	flags.Var(&outOfOrder, "tsdb.out-of-order.time-window", "`duration` that an out-of-order sample may be old; covers senders that lag behind while this process restarts")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unknown argument %q; flags start with --", flags.Arg(0))
	}
	log, err := cli.Logger(*logLevel)
	if err != nil {
		return err
	}
	reg := cli.Registry()
	listener, err := cli.Listen(*httpAddress) // before anything is created on disk
	if err != nil {
		return err
	}
	defer listener.Close()

	bkt, err := cli.Bucket(*bucketConfig, dataDir.Join("bucket"), log, reg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bkt.Close()) }()
	heads, err := receive.OpenTenants(dataDir.Join("heads"), receive.TenantsOptions{
		Labels: external.Labels, BlockDuration: time.Duration(blockDuration), Retention: retention.OrForever(),
		OutOfOrderWindow: time.Duration(outOfOrder), Logger: log, Registerer: reg,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, heads.Close()) }()
	hist, err := store.Open(bkt, dataDir.Join("store"), store.Options{Logger: log, Registerer: reg})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, hist.Close()) }()
	ship, err := block.NewShipper(bkt, heads, block.ShipperOptions{Logger: log, Registerer: reg})
	if err != nil {
		return err
	}
	limits, err := cli.Limits(ctx, *limitsConfig, log, reg)
	if err != nil {
		return err
	}
	write, err := receive.NewHandler(heads, receive.HandlerOptions{
		TenantHeader: *tenantHeader, DefaultTenant: *defaultTenant, Limits: limits.Current, Logger: log, Registerer: reg,
	})
	if err != nil {
		return err
	}
	otel, err := otlp.NewHandler(write, otlp.Options{Registerer: reg})
	if err != nil {
		return err
	}
	self, err := receive.NewSelfScraper(reg, heads, receive.SelfScrapeOptions{
		Tenant: *defaultTenant, Labels: labels.FromStrings("job", "varve", "instance", *httpAddress), Logger: log,
	})
	if err != nil {
		return err
	}
	engine, err := query.NewEngine(query.EngineOptions{Logger: log, Registerer: reg})
	if err != nil {
		return err
	}
	all := query.NewFanout([]storage.ChunkQueryable{heads, hist}, query.FanoutOptions{})
	one := dedup.New(all, dedup.Options{ReplicaLabels: replicaLabels})
	api, err := query.NewHandler(engine, one, query.HandlerOptions{Logger: log, Registerer: reg})
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
	mux.HandleFunc("/-/ready", cli.Text("OK\n"))
	mux.Handle("/", api)
	mux.HandleFunc("GET /{$}", cli.Text(welcome))
	// Writes must not wait for a bucket that is away; queries are told so.
	cli.Try(ctx, 10*time.Second, "look into the bucket", hist.Sync, log)
	announce(cli.Reachable(listener.Addr()), string(dataDir))

	g, running := errgroup.WithContext(ctx)
	g.Go(func() error { return cli.Serve(running, listener, mux, log) })
	for _, run := range []func(context.Context) error{heads.Run, hist.Run, ship.Run, self.Run, limits.Run} {
		g.Go(func() error { return run(running) })
	}
	err = g.Wait()
	log.Info("flushing and shipping what is in memory")
	last, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err = errors.Join(err, heads.Flush(last), ship.Ship(last)); err != nil {
		return fmt.Errorf("%w\n%s kept in %s and shipped after the next start", err, cli.Blocks(ship.Pending().Blocks), dataDir)
	}
	return nil
}
