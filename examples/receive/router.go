package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/varve-tsdb/varve/receive"
	"github.com/varve-tsdb/varve/receive/writestore"
)

// newRouter returns a router by the hashrings, and what follows them until its
// context is done.
func newRouter(ctx context.Context, s *settings, log *slog.Logger, reg prometheus.Registerer) (*receive.Router, func(context.Context) error, error) {
	rings, follow, err := hashrings(ctx, s, log, reg)
	if err != nil {
		return nil, nil, err
	}
	dial, err := dialer(s, log)
	if err != nil {
		return nil, nil, err
	}
	router, err := receive.NewRouter(rings, s.self, dial, receive.RouterOptions{
		ForwardTimeout: time.Duration(s.forwardTimeout), Logger: log, Registerer: reg,
	})
	return router, follow, err
}

// hashrings returns the hashrings of the flags, which must be good for a start.
func hashrings(ctx context.Context, s *settings, log *slog.Logger, reg prometheus.Registerer) (func() *receive.Hashrings, func(context.Context) error, error) {
	opts := receive.HashringsOptions{Algorithm: receive.HashringAlgorithm(s.algorithm), ReplicationFactor: s.replicationFactor}
	if s.hashringsFile == "" {
		rings, err := receive.ParseHashrings([]byte(s.hashrings), opts)
		if err != nil {
			return nil, nil, fmt.Errorf("--receive.hashrings: %w", err)
		}
		return func() *receive.Hashrings { return rings }, func(context.Context) error { return nil }, nil
	}
	file, err := receive.NewHashringFile(s.hashringsFile, receive.HashringFileOptions{Hashrings: opts, Logger: log, Registerer: reg})
	if err != nil {
		return nil, nil, err
	}
	return file.Current, file.Run, file.Load(ctx)
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
