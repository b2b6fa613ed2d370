// Command receive takes remote write and shares it out among receivers, with the
// flags of Thanos Receive and next to ones of that kind, if you like. What it
// does follows from the flags:
//
//	--receive.hashrings-file and --receive.local-endpoint   routes and stores
//	--receive.hashrings-file                                only routes
//	neither                                                 only stores
//
// /-/ready answers 503 while tenants are still being opened after a start. Those
// that are open take writes before that, which peers send without asking.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/varve-tsdb/varve/examples/internal/cli"
	"github.com/varve-tsdb/varve/receive"
	"github.com/varve-tsdb/varve/receive/otlp"
	"github.com/varve-tsdb/varve/receive/writestore"
)

func main() {
	err := run(cli.Interrupted(), os.Args[1:])
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "receive:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	s, err := parse(args)
	if err != nil {
		return err
	}
	log, err := cli.Logger(s.logLevel)
	if err != nil {
		return err
	}
	l, err := listen(s, log) // before anything is created on disk
	if err != nil {
		return err
	}
	return errors.Join(serve(ctx, s, l, log), l.close())
}

func serve(ctx context.Context, s *settings, l listeners, log *slog.Logger) (err error) {
	reg := cli.Registry()
	creds, err := s.grpc.Credentials(log)
	if err != nil {
		return err
	}
	limits, err := cli.Limits(ctx, s.limitsConfig, log, reg)
	if err != nil {
		return err
	}
	opts := receive.HandlerOptions{
		TenantHeader: s.tenantHeader, DefaultTenant: s.defaultTenant, Limits: limits.Current, Logger: log, Registerer: reg,
	}
	by, err := hashrings(ctx, s, log, reg)
	if err != nil {
		return err
	}
	budget, err := s.query.Budget(reg)
	if err != nil {
		return err
	}
	runs := []func(context.Context) error{limits.Run, by.follow}

	if s.routes() {
		if opts.Router, err = newRouter(s, by, log, reg); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, opts.Router.Close()) }()
	}
	mux := http.NewServeMux()
	var kept storage
	var to receive.Appendable // stays nil, and not a nil *receive.Tenants, where nothing is stored
	if s.stores() {
		if kept, err = openStorage(s, by, log, reg); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, kept.close()) }()
		to, runs = kept.heads, append(runs, kept.run)
		if err := handleQueries(mux, s, kept.heads, budget, log, reg); err != nil {
			return err
		}
	}
	write, err := receive.NewHandler(to, opts)
	if err != nil {
		return err
	}
	otel, err := otlp.NewHandler(write, otlp.Options{DropTargetInfo: !s.targetInfo, PromoteResourceAttributes: s.promoted, Registerer: reg})
	if err != nil {
		return err
	}
	peers, err := writestore.NewServer(write.Peer(), writestore.ServerOptions{})
	if err != nil {
		return err
	}
	api, err := kept.storeAPI(s.grpc.Options("receive", budget, reg))
	if err != nil {
		return err
	}
	grpcServer := grpc.NewServer(slices.Concat(api.GRPCOptions(), peers.GRPCOptions(), creds)...)
	api.Register(grpcServer)
	peers.Register(grpcServer)

	mux.Handle("/metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	mux.HandleFunc("/-/healthy", cli.Text("OK\n"))
	mux.HandleFunc("/-/ready", cli.Ready(kept.opening))
	writes := http.NewServeMux()
	writes.Handle("/api/v1/receive", write)
	writes.Handle("/api/v1/write", write)
	writes.Handle("/api/v1/otlp", otel)
	writes.Handle("/api/v1/otlp/v1/metrics", otel)

	g, running := errgroup.WithContext(ctx)
	g.Go(func() error { return cli.ServeGRPC(running, l.grpc, grpcServer, log) })
	g.Go(func() error { return cli.Serve(running, l.writes, writes, log) })
	g.Go(func() error { return cli.Serve(running, l.http, mux, log) })
	for _, run := range runs {
		g.Go(func() error { return run(running) })
	}
	log.Info("receiving", "remote_write", l.writes.Addr(), "grpc", l.grpc.Addr(), "http", l.http.Addr(), "mode", s.mode())
	err = g.Wait()
	log.Info("flushing and shipping what is in memory")
	late, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return errors.Join(err, kept.save(late))
}
