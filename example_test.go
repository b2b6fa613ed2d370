package varve_test

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"golang.org/x/sync/errgroup"

	"github.com/varve-tsdb/varve/block"
	"github.com/varve-tsdb/varve/dedup"
	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/query"
	"github.com/varve-tsdb/varve/receive"
	"github.com/varve-tsdb/varve/store"
)

// What a host writes, without its handling of errors. The README shows the
// lines between the marks.
func Example() {
	host := func(mux *http.ServeMux, g *errgroup.Group, ctx context.Context, dataDir, cacheDir string, bkt objstore.Bucket, ext labels.Labels, log *slog.Logger, reg prometheus.Registerer) (err error) {
		// begin
		heads, err := receive.OpenTenants(dataDir, receive.TenantsOptions{Labels: ext, Logger: log, Registerer: reg})
		hist, err := store.Open(bkt, cacheDir, store.Options{Logger: log, Registerer: reg})
		ship, err := block.NewShipper(bkt, heads, block.ShipperOptions{Logger: log, Registerer: reg})
		write, err := receive.NewHandler(heads, receive.HandlerOptions{Logger: log, Registerer: reg})
		engine, err := query.NewEngine(query.EngineOptions{Logger: log, Registerer: reg})

		all := query.NewFanout([]storage.ChunkQueryable{heads, hist}, query.FanoutOptions{})
		one := dedup.New(all, dedup.Options{ReplicaLabels: []string{"replica"}})
		api, err := query.NewHandler(engine, one, query.HandlerOptions{Logger: log, Registerer: reg})

		mux.Handle("/api/v1/receive", write)
		mux.Handle("/", api)
		for _, run := range []func(context.Context) error{heads.Run, hist.Run, ship.Run} {
			g.Go(func() error { return run(ctx) })
		}
		// end
		return err
	}
	_ = host
}
