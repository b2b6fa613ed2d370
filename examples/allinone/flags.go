package main

import (
	"flag"
	"time"

	"github.com/varve-tsdb/varve/examples/internal/cli"
	"github.com/varve-tsdb/varve/receive"
)

// settings are what the flags say.
type settings struct {
	httpAddress, bucketConfig, limitsConfig, logLevel string
	grpc                                              cli.GRPC
	tenantHeader, defaultTenant                       *string
	dataDir                                           cli.Folder
	external                                          cli.Labels
	replicaLabels                                     cli.Strings
	retention, outOfOrder                             cli.Duration
	blockDuration                                     cli.BlockDuration
	query                                             cli.Query
	caches                                            cli.Caches
}

func parse(args []string) (*settings, error) {
	s := &settings{
		dataDir: "./data", retention: cli.Duration(15 * 24 * time.Hour), outOfOrder: cli.Duration(5 * time.Minute),
		blockDuration: cli.BlockDuration(2 * time.Hour),
	}
	flags := flag.NewFlagSet("allinone", flag.ContinueOnError)
	flags.StringVar(&s.httpAddress, "http-address", "127.0.0.1:10902", "`address` to serve HTTP on")
	s.grpc.Define(flags, "127.0.0.1:10901", "to serve Thanos' StoreAPI on, so that a Thanos Query can ask what is here")
	flags.StringVar(&s.bucketConfig, "objstore.config-file", "", "`file` with the type, config and prefix of the bucket in YAML")
	flags.StringVar(&s.limitsConfig, "receive.limits-config-file", "", "`file` with limits in YAML, as for Thanos Receive; read again when it changes")
	flags.StringVar(&s.logLevel, "log.level", "info", "log from this `level` on: debug, info, warn or error")
	s.tenantHeader = cli.Checked(flags, "receive.tenant-header", receive.DefaultTenantHeader, "request `header` that names the tenant", cli.HeaderName)
	s.defaultTenant = cli.Checked(flags, "receive.default-tenant-id", receive.DefaultTenant, "`tenant` of requests that name none", receive.ValidateTenant)
	flags.Var(&s.dataDir, "data-dir", "`folder` for heads, caches and, without --objstore.config-file, the bucket")
	flags.Var(&s.external, "label", "external label `name=\"value\"` of all that is stored here (repeatable)")
	flags.Var(&s.replicaLabels, "query.replica-label", "`label` that tells replicas apart and is removed from answers (repeatable)")
	flags.Var(&s.retention, "tsdb.retention", "`duration` that shipped blocks stay on the local disk; 0 means for ever")
	flags.Var(&s.blockDuration, "tsdb.min-block-duration", "`duration` of the blocks that are cut and shipped, at least 1s")
	flags.Var(&s.outOfOrder, "tsdb.out-of-order.time-window", "`duration` that an out-of-order sample may be old; covers senders that lag behind while this process restarts")
	s.caches.Register(flags)
	s.query.Register(flags)
	s.query.RegisterBucket(flags)
	if err := cli.Parse(flags, args); err != nil {
		return nil, err
	}
	if err := s.query.Check(); err != nil {
		return nil, err
	}
	return s, nil
}
