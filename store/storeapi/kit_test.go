package storeapi

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"

	"github.com/varve-tsdb/varve/internal/grpcwire"
	"github.com/varve-tsdb/varve/internal/grpcwire/grpctest"
)

// way is how a client reaches a source.
type way struct {
	server ServerOptions
	client ClientOptions
	grpc   []grpc.ServerOption
	dial   []grpc.DialOption
}

// over returns a client of a server over source, which knows what it holds.
func over(t testing.TB, source storage.ChunkQueryable, w way) *Client {
	t.Helper()
	c := newClient(t, grpctest.Serve(t, newServer(t, source, w), w.dial...), w.client)
	if err := c.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

func newServer(t testing.TB, source storage.ChunkQueryable, w way) *grpc.Server {
	t.Helper()
	s, err := NewServer(source, w.server)
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer(append(s.GRPCOptions(), w.grpc...)...)
	s.Register(g)
	return g
}

func newClient(t testing.TB, conn grpc.ClientConnInterface, opts ClientOptions) *Client {
	t.Helper()
	c, err := NewClient(conn, opts)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// snappy has both sides compress.
func snappy() way {
	return way{grpc: []grpc.ServerOption{SnappyServerOption()}, dial: SnappyDialOptions(ClientOptions{})}
}

func dynamicName(s string) protoreflect.Name { return protoreflect.Name(s) }

func xxhashOf(s string) uint64 { return xxhash.Sum64String(s) }

// escape writes bytes for the text format of protobuf.
func escape(data []byte) string {
	var b strings.Builder
	for _, c := range data {
		fmt.Fprintf(&b, "\\%03o", c)
	}
	return b.String()
}

// xor is a chunk of samples, each with its time as its value.
func xor(t testing.TB, times ...int64) chunkenc.Chunk {
	t.Helper()
	c := chunkenc.NewXORChunk()
	app, err := c.Appender()
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range times {
		app.Append(0, at, float64(at))
	}
	return c
}

func pool(t testing.TB) mem.BufferPool {
	t.Helper()
	return mem.DefaultBufferPool()
}

func mustMetrics(t testing.TB) *serverMetrics {
	t.Helper()
	m, err := newServerMetrics(nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// sink is a stream that keeps what is sent.
type sink struct {
	grpc.ServerStream
	frames *[][]byte
}

func (s *sink) SendMsg(m any) error {
	data, err := grpcwire.Codec{}.Marshal(m)
	if err != nil {
		return err
	}
	*s.frames = append(*s.frames, data.Materialize())
	data.Free()
	return nil
}

func drawLabels(draw *rapid.T) labels.Labels {
	b := labels.NewBuilder(labels.EmptyLabels())
	for range rapid.IntRange(0, 4).Draw(draw, "labels") {
		b.Set(rapid.StringN(1, 5, 10).Draw(draw, "name"), rapid.StringN(1, 300, 600).Draw(draw, "value"))
	}
	return b.Labels()
}

func nilMetadata() map[string][]metadata.Metadata { return map[string][]metadata.Metadata{} }
