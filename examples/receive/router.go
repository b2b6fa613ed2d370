package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/varve-tsdb/varve/receive"
	"github.com/varve-tsdb/varve/receive/writestore"
)

// rings are the hashrings of now, and what follows them until its context is
// done.
type rings struct {
	now    func() *receive.Hashrings
	follow func(context.Context) error
}

// externalLabels are those of a tenant.
func (r rings) externalLabels(tenant string) labels.Labels { return r.now().ExternalLabels(tenant) }

// hashrings returns the hashrings of the flags, which must be good for a start.
func hashrings(ctx context.Context, s *settings, log *slog.Logger, reg prometheus.Registerer) (rings, error) {
	opts := receive.HashringsOptions{Algorithm: receive.HashringAlgorithm(s.algorithm), ReplicationFactor: s.replicationFactor}
	if s.hashringsFile != "" {
		file, err := receive.NewHashringFile(s.hashringsFile, receive.HashringFileOptions{Hashrings: opts, Logger: log, Registerer: reg})
		if err == nil {
			err = file.Load(ctx)
		}
		if err != nil {
			return rings{}, fmt.Errorf("--receive.hashrings-file: %w", err)
		}
		return rings{file.Current, file.Run}, nil
	}
	var fixed *receive.Hashrings
	if s.hashrings != "" {
		var err error
		if fixed, err = receive.ParseHashrings([]byte(s.hashrings), opts); err != nil {
			return rings{}, fmt.Errorf("--receive.hashrings: %w", err)
		}
	}
	return rings{func() *receive.Hashrings { return fixed }, func(context.Context) error { return nil }}, nil
}

// newRouter returns a router by the hashrings.
func newRouter(s *settings, by rings, log *slog.Logger, reg prometheus.Registerer) (*receive.Router, error) {
	dial, err := dialer(s, log)
	if err != nil {
		return nil, err
	}
	return receive.NewRouter(by.now, s.self, dial, receive.RouterOptions{
		ForwardTimeout: time.Duration(s.forwardTimeout), Logger: log, Registerer: reg,
	})
}

// dialer returns what makes another receiver a peer that the router closes.
func dialer(s *settings, log *slog.Logger) (func(receive.Endpoint) (receive.Peer, error), error) {
	creds := insecure.NewCredentials()
	if config, err := s.peerTLS.Config(log); err != nil {
		return nil, err
	} else if config != nil {
		creds = credentials.NewTLS(config)
	}
	return func(e receive.Endpoint) (receive.Peer, error) {
		conn, err := grpc.NewClient(e.Address, append(writestore.DialOptions(), grpc.WithTransportCredentials(creds))...)
		if err != nil {
			return nil, err
		}
		return struct {
			*writestore.Client
			io.Closer
		}{writestore.NewClient(conn), conn}, nil
	}, nil
}
