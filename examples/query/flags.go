package main

import (
	"errors"
	"flag"

	"github.com/varve-tsdb/varve/examples/internal/cli"
)

// settings are what the flags say.
type settings struct {
	httpAddress, logLevel string
	grpc                  cli.GRPC
	endpoints             cli.Endpoints
	replicaLabels         cli.Strings
	query                 cli.Query
	storeTimeout          cli.Duration
	partial, coarse       bool
}

func parse(args []string) (*settings, error) {
	s := &settings{}
	flags := flag.NewFlagSet("query", flag.ContinueOnError)
	flags.StringVar(&s.httpAddress, "http-address", "0.0.0.0:10902", "`address` of the query API, metrics and probes")
	s.grpc.Define(flags, "0.0.0.0:10901", "to serve Thanos' StoreAPI on, with the series of all endpoints")
	s.endpoints.Define(flags)
	flags.Var(&s.replicaLabels, "query.replica-label", "`label` that tells replicas apart and is removed from answers (repeatable)")
	flags.Var(&s.storeTimeout, "store.response-timeout", "`duration` that an endpoint may take to come up with its next series; 0 is as long as the query")
	flags.BoolVar(&s.partial, "query.partial-response", false, "answer without endpoints that fail, with a warning, where a query does not say; Thanos does by default")
	flags.BoolVar(&s.coarse, "query.auto-downsampling", false, "answer from downsampled data where a query's steps are long")
	flags.StringVar(&s.logLevel, "log.level", "info", "log from this `level` on: debug, info, warn or error")
	s.query.Register(flags)
	if err := cli.Parse(flags, args); err != nil {
		return nil, err
	}
	if err := s.query.Check(); err != nil {
		return nil, err
	}
	if len(s.endpoints.Addresses) == 0 {
		return nil, errors.New("no --endpoint: say whom to ask, such as --endpoint=127.0.0.1:10901")
	}
	return s, nil
}
