package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/varve-tsdb/varve/query"
	"github.com/varve-tsdb/varve/store/storeapi"
)

// GRPC is the flags of a gRPC server, by the names that Thanos gives them.
type GRPC struct {
	Address    string
	TLS        ServerTLS
	concurrent Count
}

// Define defines the flags.
func (g *GRPC) Define(flags *flag.FlagSet, address, what string) {
	flags.StringVar(&g.Address, "grpc-address", address, "`address` "+what)
	g.concurrent = 20
	flags.Var(&g.concurrent, "store.grpc.series-max-concurrency", "`number` of calls of Series that run at a time; others wait; 0 means no limit (MaxConcurrent)")
	g.TLS.Define(flags, "grpc-server-tls", "--grpc-address")
}

// Options are those of a server of the StoreAPI by the flags.
func (g *GRPC) Options(component string, budget *query.Budget, reg prometheus.Registerer) storeapi.ServerOptions {
	opts := storeapi.ServerOptions{Component: component, MaxConcurrent: int(g.concurrent), Budget: budget, Registerer: reg}
	if g.concurrent == 0 {
		opts.MaxConcurrent = -1
	}
	return opts
}

// Credentials are the options of a server that the flags ask for, if any.
func (g *GRPC) Credentials(log *slog.Logger) ([]grpc.ServerOption, error) {
	config, err := g.TLS.Config(log, "h2")
	if err != nil || config == nil {
		return nil, err
	}
	return []grpc.ServerOption{grpc.Creds(credentials.NewTLS(config))}, nil
}

// Listen listens on the address.
func (g *GRPC) Listen(log *slog.Logger) (*GRPCListener, error) {
	creds, err := g.Credentials(log)
	if err != nil {
		return nil, err
	}
	l, err := ListenOn("grpc-address", g.Address)
	return &GRPCListener{l, creds}, err
}

// GRPCListener is where a gRPC server will be reached.
type GRPCListener struct {
	net.Listener
	creds []grpc.ServerOption
}

// ServeStoreAPI serves the StoreAPI until ctx is done; see ServeGRPC.
func (l *GRPCListener) ServeStoreAPI(ctx context.Context, api *storeapi.Server, log *slog.Logger) error {
	server := grpc.NewServer(append(api.GRPCOptions(), l.creds...)...)
	api.Register(server)
	return ServeGRPC(ctx, l.Listener, server, log)
}

// Endpoints is the flags of a client of the StoreAPI, by the names that Thanos gives
// them.
type Endpoints struct {
	Addresses   Strings
	compression string
	tls         ClientTLS
}

// Define defines the flags.
func (e *Endpoints) Define(flags *flag.FlagSet) {
	flags.Var(&e.Addresses, "endpoint", "`address` of a server of the StoreAPI, as host:port (repeatable)")
	flags.Var(&e.Addresses, "store", "`address`: the same as --endpoint, by an older name")
	flags.StringVar(&e.compression, "grpc-compression", "none", "`name` of the compression of what goes to and comes from endpoints: none or snappy")
	e.tls.Define(flags, "grpc-client-tls", "grpc-client-server-name", "endpoints")
}

// Open returns a client of each endpoint, and what closes their connections.
func (e *Endpoints) Open(log *slog.Logger, reg prometheus.Registerer) (clients []*storeapi.Client, closeAll func(), err error) {
	dial, err := e.dialOptions(log)
	if err != nil {
		return nil, nil, err
	}
	var conns []*grpc.ClientConn
	closeAll = func() {
		for _, conn := range conns {
			_ = conn.Close() // it was a client's only
		}
	}
	seen := map[string]bool{}
	for _, address := range e.Addresses {
		if err := checkEndpoint(address, seen); err != nil {
			closeAll()
			return nil, nil, fmt.Errorf("--endpoint %s: %w", address, err)
		}
		conn, err := grpc.NewClient(address, dial...)
		if err == nil {
			conns = append(conns, conn)
			var client *storeapi.Client
			client, err = storeapi.NewClient(conn, storeapi.ClientOptions{
				Name: address, Logger: log, Registerer: prometheus.WrapRegistererWith(prometheus.Labels{"endpoint": address}, reg),
			})
			clients = append(clients, client)
		}
		if err != nil {
			closeAll()
			return nil, nil, fmt.Errorf("--endpoint %s: %w", address, err)
		}
	}
	return clients, closeAll, nil
}

// checkEndpoint refuses an address that is none, or in seen, to which it adds it.
func checkEndpoint(address string, seen map[string]bool) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" || strings.ContainsAny(host, "/+") {
		return errors.New("it has to be host:port, such as 127.0.0.1:10901, without a scheme; discovery by DNS or files is not there")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("%q is not a port, which is a number from 1 to 65535", port)
	}
	if seen[address] {
		return errors.New("it is given twice, and each endpoint may be only once")
	}
	seen[address] = true
	return nil
}

func (e *Endpoints) dialOptions(log *slog.Logger) ([]grpc.DialOption, error) {
	dial := storeapi.DialOptions()
	switch e.compression {
	case "", "none":
	case "snappy":
		dial = append(dial, storeapi.SnappyDialOptions(storeapi.ClientOptions{})...)
	default:
		return nil, fmt.Errorf("--grpc-compression is %q, must be none or snappy", e.compression)
	}
	creds := insecure.NewCredentials()
	config, err := e.tls.Config(log)
	if err != nil {
		return nil, err
	}
	if config != nil {
		creds = credentials.NewTLS(config)
	}
	return append(dial, grpc.WithTransportCredentials(creds)), nil
}
