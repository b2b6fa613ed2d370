package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	promstorage "github.com/prometheus/prometheus/storage"
	"golang.org/x/sync/errgroup"

	"github.com/varve-tsdb/varve/block"
	"github.com/varve-tsdb/varve/examples/internal/cli"
	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/query"
	"github.com/varve-tsdb/varve/receive"
	"github.com/varve-tsdb/varve/store/storeapi"
)

// storage is what is kept here, and on its way into the bucket if there is one.
// The zero value keeps nothing.
type storage struct {
	heads *receive.Tenants
	bkt   objstore.Bucket
	ship  *block.Shipper
}

func openStorage(s *settings, by rings, log *slog.Logger, reg prometheus.Registerer) (kept storage, err error) {
	kept.heads, err = receive.OpenTenants(string(s.dataDir), receive.TenantsOptions{
		Labels: s.external.Labels, ExternalLabels: by.externalLabels, TenantLabel: s.tenantLabel, BlockDuration: time.Duration(s.blockDuration),
		Retention: s.retention.OrForever(), LocalOnly: s.bucketConfig == "", OutOfOrderWindow: time.Duration(s.outOfOrder),
		Logger: log, Registerer: reg,
	})
	if err != nil || s.bucketConfig == "" {
		return kept, err
	}
	if kept.bkt, err = cli.Bucket(s.bucketConfig, "", log, reg); err == nil {
		kept.ship, err = block.NewShipper(kept.bkt, kept.heads, block.ShipperOptions{Logger: log, Registerer: reg})
	}
	if err != nil {
		err = errors.Join(err, kept.close())
	}
	return kept, err
}

// opening returns how many tenants are still to be opened.
func (kept storage) opening() int {
	if kept.heads == nil {
		return 0
	}
	return kept.heads.Opening()
}

func (kept storage) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return kept.heads.Run(ctx) })
	if kept.ship != nil {
		g.Go(func() error { return kept.ship.Run(ctx) })
	}
	return g.Wait()
}

// save cuts what is in memory into blocks and ships them.
func (kept storage) save(ctx context.Context) error {
	if kept.heads == nil {
		return nil
	}
	err := kept.heads.Flush(ctx)
	if kept.ship == nil {
		return err
	}
	if err = errors.Join(err, kept.ship.Ship(ctx)); err != nil {
		return fmt.Errorf("%w\n%d blocks are kept and shipped after the next start", err, kept.ship.Pending().Blocks)
	}
	return nil
}

func (kept storage) close() error {
	err := kept.heads.Close()
	if kept.bkt != nil {
		err = errors.Join(err, kept.bkt.Close())
	}
	return err
}

// storeAPI serves what is kept here to Thanos Query and the like. Where that is
// nothing it says so.
func (kept storage) storeAPI(opts storeapi.ServerOptions) (*storeapi.Server, error) {
	var source promstorage.ChunkQueryable = query.NewFanout(nil, query.FanoutOptions{})
	if kept.heads != nil {
		source = kept.heads
	}
	return storeapi.NewServer(source, opts)
}

// handleQueries answers PromQL over what is kept here.
func handleQueries(mux *http.ServeMux, s *settings, heads *receive.Tenants, budget *query.Budget, log *slog.Logger, reg prometheus.Registerer) error {
	engine, err := s.query.Engine(log, reg)
	if err != nil {
		return err
	}
	api, err := query.NewHandler(engine, heads, s.query.Handler(budget, nil, log, reg))
	if err != nil {
		return err
	}
	mux.Handle("/", api)
	return nil
}
