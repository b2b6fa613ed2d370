package grpctest

import (
	"context"
	"errors"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
)

// Start runs a gRPC server in memory and returns a connection to it. end closes the
// connection, stops the server once its calls have ended, and waits for it.
func Start(tb testing.TB, server *grpc.Server, dial ...grpc.DialOption) (conn *grpc.ClientConn, end func() error) {
	tb.Helper()
	return start(tb, server, server.GracefulStop, dial)
}

// Serve is Start until the test ends, when calls that are under way end, too.
func Serve(tb testing.TB, server *grpc.Server, dial ...grpc.DialOption) *grpc.ClientConn {
	tb.Helper()
	conn, end := start(tb, server, server.Stop, dial)
	tb.Cleanup(func() {
		if err := end(); err != nil {
			tb.Error(err)
		}
	})
	return conn
}

func start(tb testing.TB, server *grpc.Server, stop func(), dial []grpc.DialOption) (conn *grpc.ClientConn, end func() error) {
	tb.Helper()
	l := bufconn.Listen(1 << 20)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	conn, err := grpc.NewClient("passthrough:///memory", append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }),
	}, dial...)...)
	if err != nil {
		tb.Fatal(err)
	}
	return conn, func() error {
		err := conn.Close()
		stop()
		return errors.Join(err, <-served)
	}
}
