package storeapi_test

import (
	"context"
	"fmt"
	"net"

	"github.com/prometheus/prometheus/model/labels"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/varve-tsdb/varve/query/querytest"
	"github.com/varve-tsdb/varve/store/storeapi"
)

// A server over a source, here a few series in memory, and a client that is one
// again.
func Example() {
	source := querytest.NewModel(querytest.Data{})
	external := labels.FromStrings("cluster", "eu")
	if err := source.Append(external, labels.FromStrings("__name__", "up"), querytest.Sample{T: 1000, Float: 1}); err != nil {
		panic(err)
	}
	api, err := storeapi.NewServer(source, storeapi.ServerOptions{})
	if err != nil {
		panic(err)
	}
	server := grpc.NewServer(api.GRPCOptions()...)
	api.Register(server)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go server.Serve(listener)
	defer server.Stop()

	conn, err := grpc.NewClient(listener.Addr().String(), append(storeapi.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	remote, err := storeapi.NewClient(conn, storeapi.ClientOptions{Name: "the other side"})
	if err != nil {
		panic(err)
	}
	if err := remote.Sync(context.Background()); err != nil {
		panic(err)
	}
	remote.Streams(func(external labels.Labels, mint, maxt int64) bool {
		fmt.Println(external, mint, maxt)
		return true
	})
	q, err := remote.ChunkQuerier(0, 2000)
	if err != nil {
		panic(err)
	}
	defer q.Close()
	set := q.Select(context.Background(), true, nil, labels.MustNewMatcher(labels.MatchEqual, "__name__", "up"))
	for set.Next() {
		fmt.Println(set.At().Labels())
	}
	if err := set.Err(); err != nil {
		panic(err)
	}
	// Output:
	// {cluster="eu"} 1000 1000
	// {__name__="up", cluster="eu"}
}
