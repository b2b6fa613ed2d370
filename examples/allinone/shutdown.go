package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/varve-tsdb/varve/block"
	"github.com/varve-tsdb/varve/examples/internal/cli"
	"github.com/varve-tsdb/varve/receive"
)

// shipAll puts what is in memory into blocks and these into the bucket.
func shipAll(heads *receive.Tenants, ship *block.Shipper, dataDir cli.Folder, log *slog.Logger) error {
	log.Info("flushing and shipping what is in memory")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := errors.Join(heads.Flush(ctx), ship.Ship(ctx)); err != nil {
		return fmt.Errorf("%w\n%s kept in %s and shipped after the next start", err, cli.Blocks(ship.Pending().Blocks), dataDir)
	}
	return nil
}
