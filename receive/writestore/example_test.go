package writestore_test

import (
	"context"
	"fmt"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/varve-tsdb/varve/receive"
	"github.com/varve-tsdb/varve/receive/writestore"
)

// A receiver serves others by gRPC, and one of them forwards series to it. In a
// real one the Peer is handler.Peer(), and a receive.Router
// does the forwarding.
func Example() {
	storage := receive.PeerFunc(func(_ context.Context, req *receive.PeerRequest) error {
		for _, tenant := range req.Tenants {
			fmt.Printf("replica %d: %d series of %s\n", req.Replica, tenant.Series, tenant.Tenant)
		}
		return &receive.PeerRefusal{Refused: map[int]receive.Reason{1: receive.ReasonOutOfOrder}, Text: "up is too late"}
	})
	server, err := writestore.NewServer(storage, writestore.ServerOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	g := grpc.NewServer(server.GRPCOptions()...)
	server.Register(g)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	served := make(chan error, 1)
	go func() { served <- g.Serve(listener) }()

	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		fmt.Println(err)
		return
	}
	peer := writestore.NewClient(conn)
	err = peer.Write(context.Background(), &receive.PeerRequest{Replica: 1, Tenants: []receive.PeerSeries{
		{Tenant: "team-a", Message: []byte("\n\x02\n\x00\n\x02\n\x00"), Series: 2},
	}})
	fmt.Println(err)

	fmt.Println(conn.Close())
	g.GracefulStop()
	fmt.Println(<-served)
	// Output:
	// replica 1: 2 series of team-a
	// 1 series were not stored: up is too late
	// <nil>
	// <nil>
}
