package main

import (
	"errors"
	"flag"
	"time"

	"github.com/varve-tsdb/varve/examples/internal/cli"
)

// settings are what the flags say.
type settings struct {
	httpAddress, bucketConfig, logLevel string
	grpc                                cli.GRPC
	dataDir                             cli.Folder
	interval, consistency, marks        cli.Duration
	caches                              cli.Caches
	query                               cli.Query
}

func parse(args []string) (*settings, error) {
	s := &settings{
		dataDir: "./data", interval: cli.Duration(time.Minute), marks: cli.Duration(24 * time.Hour),
	}
	flags := flag.NewFlagSet("store", flag.ContinueOnError)
	flags.StringVar(&s.httpAddress, "http-address", "0.0.0.0:10902", "`address` of metrics, probes and the query API")
	s.grpc.Define(flags, "0.0.0.0:10901", "to serve Thanos' StoreAPI on")
	flags.Var(&s.dataDir, "data-dir", "`folder` for index headers, caches and what is known of the blocks; it may be lost")
	flags.StringVar(&s.bucketConfig, "objstore.config-file", "", "`file` with the type, config and prefix of the bucket in YAML")
	flags.Var(&s.interval, "sync-block-duration", "`duration` between two looks at which blocks there are")
	flags.Var(&s.consistency, "consistency-delay", "`duration` that a block has to be old to be served, for buckets whose listings lag behind")
	flags.Var(&s.marks, "ignore-deletion-marks-delay", "`duration` that a block is served after it was marked for deletion")
	flags.StringVar(&s.logLevel, "log.level", "info", "log from this `level` on: debug, info, warn or error")
	s.caches.Register(flags)
	s.query.Register(flags)
	s.query.RegisterBucket(flags)
	if err := cli.Parse(flags, args); err != nil {
		return nil, err
	}
	if err := s.query.Check(); err != nil {
		return nil, err
	}
	if s.bucketConfig == "" {
		return nil, errors.New("no --objstore.config-file: say which bucket the blocks are in")
	}
	return s, nil
}
