package cli

import (
	"context"
	"log/slog"
	"net"
	"testing"

	"google.golang.org/grpc"
)

// A program that is told to end while it starts ends in order.
func TestServeGRPCEndsBeforeItBegins(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if err := ServeGRPC(ctx, l, grpc.NewServer(), slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
	}
}
