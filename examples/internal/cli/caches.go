package cli

import (
	"errors"
	"flag"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/cache"
)

// Caches are flags of what is remembered of the blocks in a bucket.
type Caches struct{ memory, disk Size }

// Register adds the flags.
func (c *Caches) Register(flags *flag.FlagSet) {
	c.memory, c.disk = 256<<20, 10<<30
	flags.Var(&c.memory, "store.cache-size", "`size` of what is remembered in memory of blocks in the bucket; 0 means nothing")
	flags.Var(&c.disk, "store.disk-cache-size", "`size` of what is remembered of them below --data-dir, if there is --objstore.config-file; 0 means nothing")
}

// Around puts the caches around a bucket that was opened by a configuration file, or
// is a folder if there is none. That is as near as a cache on the same disk would
// be. Close of what it returns closes both, and so does an error.
func (c *Caches) Around(bkt objstore.Bucket, configFile, dir string, log *slog.Logger, reg prometheus.Registerer) (objstore.Bucket, error) {
	disk := c.disk
	if configFile == "" {
		disk = 0
	}
	if c.memory == 0 && disk == 0 {
		return bkt, nil
	}
	opts := cache.Options{MemoryBytes: int64(c.memory), Logger: log, Registerer: reg}
	if c.memory == 0 {
		opts.MemoryBytes = -1
	}
	if disk > 0 {
		opts.Dir, opts.DiskBytes = dir, int64(disk)
	}
	cached, err := cache.New(bkt, opts)
	if err != nil {
		return nil, errors.Join(err, bkt.Close())
	}
	return cached, nil
}
