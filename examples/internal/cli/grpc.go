package cli

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"google.golang.org/grpc"
)

// ServeGRPC is Serve for a gRPC server.
func ServeGRPC(ctx context.Context, l net.Listener, server *grpc.Server, log *slog.Logger) error {
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	late := time.AfterFunc(grace, func() {
		log.Warn("closing the connections of calls that are still under way", "grace", grace)
		server.Stop()
	})
	server.GracefulStop()
	late.Stop()
	if err := <-ended; !errors.Is(err, grpc.ErrServerStopped) {
		return err
	}
	return nil // the end came before the beginning
}
