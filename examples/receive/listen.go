package main

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net"

	"github.com/varve-tsdb/varve/examples/internal/cli"
)

// listeners are what this process is reached by.
type listeners struct{ grpc, writes, http net.Listener }

// listen opens the addresses of the flags, with TLS for writes if they ask for
// it. gRPC brings its own.
func listen(s *settings, log *slog.Logger) (l listeners, err error) {
	for _, one := range []struct {
		at            *net.Listener
		flag, address string
	}{
		{&l.grpc, "grpc-address", s.grpc.Address},
		{&l.writes, "remote-write.address", s.writeAddress},
		{&l.http, "http-address", s.httpAddress},
	} {
		if *one.at, err = cli.ListenOn(one.flag, one.address); err != nil {
			return l, errors.Join(err, l.close())
		}
	}
	// HTTP/2 would have all shards of a Prometheus share one connection.
	config, err := s.writeTLS.Config(log, "http/1.1")
	if err != nil {
		return l, errors.Join(err, l.close())
	}
	if config != nil {
		l.writes = tls.NewListener(l.writes, config)
	}
	return l, nil
}

func (l listeners) close() (err error) {
	for _, one := range []net.Listener{l.grpc, l.writes, l.http} {
		if one == nil {
			continue
		}
		if closed := one.Close(); !errors.Is(closed, net.ErrClosed) {
			err = errors.Join(err, closed)
		}
	}
	return err
}
