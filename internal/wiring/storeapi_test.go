package wiring

import (
	"context"
	"errors"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"google.golang.org/grpc"

	"github.com/varve-tsdb/varve/internal/grpcwire/grpctest"
	"github.com/varve-tsdb/varve/query"
	"github.com/varve-tsdb/varve/store/storeapi"
)

// behindGRPC puts a wiring behind the StoreAPI, compressed or not.
func behindGRPC(inner wiring, compressed bool) wiring {
	return func(t testing.TB, tenants map[string][]batch) (storage.ChunkQueryable, func()) {
		source, release := inner(t, tenants)
		remote, end := remoteOf(t, source, compressed)
		return remote, func() {
			end()
			release()
		}
	}
}

// bothBehindGRPC has a head and a bucket with everything twice, each behind a server
// of its own, and a fan-out over both.
func bothBehindGRPC(t testing.TB, tenants map[string][]batch) (storage.ChunkQueryable, func()) {
	p := openParts(t)
	p.append(t, tenants)
	p.shipAll(t)
	head, endHead := remoteOf(t, p.heads, false)
	bucket, endBucket := remoteOf(t, p.hist, true)
	return query.NewFanout([]storage.ChunkQueryable{head, bucket}, query.FanoutOptions{}), func() {
		endHead()
		endBucket()
		p.close(t)
	}
}

// twiceBehindGRPC has a head behind two servers, as one that a querier asks by way of
// another.
func twiceBehindGRPC(t testing.TB, tenants map[string][]batch) (storage.ChunkQueryable, func()) {
	head, release := headOnly(t, tenants)
	near, endNear := remoteOf(t, head, false)
	all := query.NewFanout([]storage.ChunkQueryable{near}, query.FanoutOptions{})
	far, endFar := remoteOf(t, all, false)
	return far, func() {
		endFar()
		endNear()
		release()
	}
}

// remoteOf serves a source in memory and returns it as who asks the server sees it,
// with a function that ends both.
func remoteOf(t testing.TB, source storage.ChunkQueryable, compressed bool) (storage.ChunkQueryable, func()) {
	return servedAs(t, source, storeapi.ServerOptions{}, compressed)
}

// servedAs is remoteOf with options of the server. Its registerer is the client's too.
func servedAs(t testing.TB, source storage.ChunkQueryable, as storeapi.ServerOptions, compressed bool) (storage.ChunkQueryable, func()) {
	t.Helper()
	api, err := storeapi.NewServer(source, as)
	if err != nil {
		t.Fatal(err)
	}
	opts, dial := api.GRPCOptions(), storeapi.DialOptions()
	if compressed {
		opts, dial = append(opts, storeapi.SnappyServerOption()), append(dial, storeapi.SnappyDialOptions(storeapi.ClientOptions{})...)
	}
	server := grpc.NewServer(opts...)
	api.Register(server)
	conn, end := grpctest.Start(t, server, dial...)
	remote, err := storeapi.NewClient(conn, storeapi.ClientOptions{Name: "remote", Registerer: as.Registerer})
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
	return remote, func() {
		if err := errors.Join(end(), remote.Close(), api.Close()); err != nil {
			t.Error(err)
		}
	}
}

// What a source holds is known on the other side too, so that who asks leaves out what
// cannot match.
func TestStreamsComeThrough(t *testing.T) {
	source, release := bucketOnly(t, testSamples())
	defer release()
	remote, end := remoteOf(t, source, false)
	defer end()
	type streamer interface {
		Streams(yield func(external labels.Labels, mint, maxt int64) bool)
	}
	list := func(s storage.ChunkQueryable) map[string][2]int64 {
		found := map[string][2]int64{}
		s.(streamer).Streams(func(external labels.Labels, mint, maxt int64) bool {
			found[external.String()] = [2]int64{mint, maxt}
			return true
		})
		return found
	}
	want, got := list(source), list(remote)
	if len(want) != 3 || len(got) != 3 {
		t.Fatalf("%v comes as %v", want, got)
	}
	for external, times := range want {
		if got[external] != times {
			t.Errorf("%s: %v comes as %v", external, times, got[external])
		}
	}
}
