package main

import (
	"errors"
	"flag"
	"fmt"
	"strconv"
	"time"

	"github.com/varve-tsdb/varve/examples/internal/cli"
	"github.com/varve-tsdb/varve/receive"
)

// settings are what the flags say.
type settings struct {
	writeAddress, httpAddress                 string
	grpc                                      cli.GRPC
	writeTLS                                  cli.ServerTLS
	peerTLS                                   cli.ClientTLS
	dataDir                                   cli.Folder
	external                                  cli.Labels
	retention, blockDuration, outOfOrder      cli.Duration
	bucketConfig, limitsConfig, logLevel      string
	tenantHeader, defaultTenant, tenantLabel  string
	hashringsFile, hashrings, algorithm, self string
	replicationFactor                         int
	forwardTimeout                            cli.Duration
	targetInfo                                bool
	promoted                                  cli.Strings
	query                                     cli.Query
}

// routes reports whether there are hashrings to share out series by.
func (s *settings) routes() bool { return s.hashringsFile != "" || s.hashrings != "" }

// stores reports whether series are kept here.
func (s *settings) stores() bool { return s.self != "" || !s.routes() }

func (s *settings) mode() string {
	switch {
	case !s.routes():
		return "stores"
	case !s.stores():
		return "routes"
	}
	return "routes and stores"
}

func parse(args []string) (*settings, error) {
	s := &settings{
		dataDir: "./data", retention: cli.Duration(15 * 24 * time.Hour), blockDuration: cli.Duration(2 * time.Hour),
		outOfOrder: cli.Duration(5 * time.Minute), forwardTimeout: cli.Duration(5 * time.Second),
	}
	flags := flag.NewFlagSet("receive", flag.ContinueOnError)
	flags.StringVar(&s.writeAddress, "remote-write.address", "0.0.0.0:19291", "`address` to take remote write on, at /api/v1/receive, and OTLP, at /api/v1/otlp/v1/metrics")
	s.grpc.Define(flags, "0.0.0.0:10901", "where other receivers forward series to, and Thanos Query asks for them")
	flags.StringVar(&s.httpAddress, "http-address", "0.0.0.0:10902", "`address` of metrics, probes and the query API")
	s.writeTLS.Define(flags, "remote-write.server-tls", "--remote-write.address")
	s.peerTLS.Define(flags, "remote-write.client-tls", "remote-write.client-server-name", "other receivers")
	flags.Var(&s.external, "label", "external label `name=\"value\"` of all that is stored here (repeatable)")
	flags.Var(&s.dataDir, "tsdb.path", "`folder` for heads and blocks")
	flags.Var(&s.retention, "tsdb.retention", "how long blocks stay on the local disk; 0d is for ever")
	flags.Var(&s.blockDuration, "tsdb.min-block-duration", "time range of the blocks that are cut and shipped")
	flags.Var(&s.outOfOrder, "tsdb.out-of-order.time-window", "how old an out-of-order sample may be; covers senders that lag behind while this process restarts")
	flags.StringVar(&s.bucketConfig, "objstore.config-file", "", "`file` with the type, config and prefix of the bucket in YAML; without it nothing is shipped")
	flags.StringVar(&s.hashringsFile, "receive.hashrings-file", "", "`file` with the hashrings in JSON, followed as it changes")
	flags.StringVar(&s.hashrings, "receive.hashrings", "", "hashrings in `JSON`, if there is no file")
	flags.StringVar(&s.algorithm, "receive.hashrings-algorithm", string(receive.AlgorithmHashmod), "`algorithm` of hashrings that name none: hashmod or ketama")
	flags.StringVar(&s.self, "receive.local-endpoint", "", "`address` of this receiver in the hashrings; without it series are only routed")
	flags.IntVar(&s.replicationFactor, "receive.replication-factor", 1, "on how many receivers each series is stored")
	flags.StringVar(&s.limitsConfig, "receive.limits-config-file", "", "`file` with limits in YAML; read again when it changes")
	flags.StringVar(&s.tenantHeader, "receive.tenant-header", receive.DefaultTenantHeader, "request `header` that names the tenant")
	flags.StringVar(&s.defaultTenant, "receive.default-tenant-id", receive.DefaultTenant, "`tenant` of requests that name none")
	flags.StringVar(&s.tenantLabel, "receive.tenant-label-name", "tenant_id", "external `label` that carries the tenant")
	flags.BoolVar(&s.targetInfo, "receive.otlp-enable-target-info", true, "make a series target_info of the resources of OTLP")
	flags.BoolFunc("no-receive.otlp-enable-target-info", "make none", func(text string) error {
		none, err := strconv.ParseBool(text)
		s.targetInfo = !none
		return err
	})
	flags.Var(&s.promoted, "receive.otlp-promote-resource-attributes", "`attribute` of resources of OTLP that each series gets as a label (repeatable)")
	flags.Var(&s.forwardTimeout, "receive-forward-timeout", "how long another receiver may take to answer")
	flags.StringVar(&s.logLevel, "log.level", "info", "log from this `level` on: debug, info, warn or error")
	s.query.Register(flags)
	if err := cli.Parse(flags, args); err != nil {
		return nil, err
	}
	if err := s.query.Check(); err != nil {
		return nil, err
	}
	if s.replicationFactor < 1 {
		return nil, fmt.Errorf("--receive.replication-factor is %d, must be at least 1", s.replicationFactor)
	}
	if s.stores() && s.external.IsEmpty() {
		return nil, errors.New(`no --label: what is stored needs an external label that no other receiver has, such as --label='receive_replica="0"'`)
	}
	return s, nil
}
