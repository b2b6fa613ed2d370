package cli

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

// A call that is under way when the process is to end gets its answer.
func TestServeGRPCEndsInGoodOrder(t *testing.T) {
	begun, release := make(chan struct{}), make(chan struct{})
	server := grpc.NewServer(grpc.UnknownServiceHandler(func(any, grpc.ServerStream) error {
		close(begun)
		<-release
		return status.Error(codes.DataLoss, "answered")
	}))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var logged bytes.Buffer
	served := make(chan error, 1)
	go func() { served <- ServeGRPC(ctx, l, server, slog.New(slog.NewTextHandler(&logged, nil))) }()

	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	answered := make(chan error, 1)
	go func() {
		answered <- conn.Invoke(context.Background(), "/any/Call", &emptypb.Empty{}, &emptypb.Empty{})
	}()
	<-begun
	cancel()
	close(release)
	if err := <-answered; status.Code(err) != codes.DataLoss {
		t.Errorf("the call that was under way got %v", err)
	}
	if err := <-served; err != nil || logged.Len() > 0 {
		t.Errorf("ServeGRPC: %v, logged %q", err, logged.String())
	}
}
