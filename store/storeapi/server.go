package storeapi

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/varve-tsdb/varve/internal/aggrchunk"
	"github.com/varve-tsdb/varve/internal/extlabels"
	"github.com/varve-tsdb/varve/internal/fairqueue"
	"github.com/varve-tsdb/varve/internal/grpcwire"
	"github.com/varve-tsdb/varve/internal/readopts"
)

// Services and methods as gRPC names them.
const (
	storeService     = "thanos.Store"
	infoService      = "thanos.info.Info"
	exemplarsService = "thanos.Exemplars"
	metadataService  = "thanos.Metadata"

	seriesMethod      = "/" + storeService + "/Series"
	labelNamesMethod  = "/" + storeService + "/LabelNames"
	labelValuesMethod = "/" + storeService + "/LabelValues"
	infoMethod        = "/" + infoService + "/Info"
	exemplarsMethod   = "/" + exemplarsService + "/Exemplars"
	metadataMethod    = "/" + metadataService + "/MetricMetadata"
)

// defaultRequestBytes is what gRPC takes by default, and far more than a request of
// the StoreAPI has.
const defaultRequestBytes = 4 << 20

// ServerOptions are the settings of a Server. The zero value is usable.
type ServerOptions struct {
	// Component is what the server says it is, by which Thanos Query groups its list
	// of stores: sidecar, store, receive, rule or query. Default store.
	Component string
	// Ready says why the source cannot answer yet, or nil. Until then Info fails,
	// and Thanos Query does not list the store. Nil is always ready.
	Ready func() error
	// MaxConcurrent calls of Series are answered at a time; more wait in a queue, by
	// tenant: when one ends, the next is of the tenant that has the fewest running. A
	// call whose client has not read for a second gives its place up for the time, so
	// that more than so many may be under way. Default 20, as with Thanos; negative
	// means no limit.
	MaxConcurrent int
	// MaxQueued calls wait. Of more, the last of the tenant of which most wait is
	// refused with a *BusyError. Default 10 times MaxConcurrent.
	MaxQueued int
	// QueueTimeout is how long a call waits for its turn, unless its client gives up
	// before, until it is refused with a *BusyError. Default 1 minute.
	QueueTimeout time.Duration
	// Budget limits what a call may take, and all together: the memory of sources
	// that ask it, as a bucket of package store does, and series and samples of any
	// source. Nil means no limits but those of the source.
	Budget *Budget
	// Registerer for metrics; nil is none.
	Registerer prometheus.Registerer
}

// Server is the gRPC services thanos.Store and thanos.info.Info over a source of
// series, and thanos.Exemplars and thanos.Metadata if the source has such. It is
// safe for concurrent use.
type Server struct {
	source  storage.ChunkQueryable
	opts    ServerOptions
	metrics *serverMetrics
	queue   *fairqueue.Queue // of calls of Series, nil if there is no limit
	pool    mem.BufferPool
	parser  parser.Parser
}

// withouter, streamer and metadataSource are the optional interfaces of a source;
// see package query.
type (
	withouter interface {
		ChunkQuerierWithout(mint, maxt int64, without []string) (storage.ChunkQuerier, error)
	}
	streamer interface {
		Streams(yield func(external labels.Labels, mint, maxt int64) bool)
	}
)

// NewServer returns a Server over source. What optional interfaces of package query
// it has are used: Streams for Info, ChunkQuerierWithout, ExemplarQuerier and
// MetricMetadata. The error says what is wrong with the options, or that the
// metrics are on the registry already.
func NewServer(source storage.ChunkQueryable, opts ServerOptions) (*Server, error) {
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("storeapi server options: %w", err)
	}
	opts = opts.withDefaults()
	pool, err := mem.NewBinaryTieredBufferPool(12, 13, 14, 15, 16, 17, 18, 19, 20, 21)
	if err != nil {
		return nil, fmt.Errorf("storeapi server: %w", err)
	}
	s := &Server{source: source, opts: opts, pool: pool, parser: parser.NewParser(parser.Options{})}
	if s.metrics, err = newServerMetrics(opts.Registerer); err != nil {
		return nil, err
	}
	if opts.MaxConcurrent > 0 {
		s.queue = fairqueue.New(fairqueue.Options{Concurrent: opts.MaxConcurrent, Queued: opts.MaxQueued, Wait: opts.QueueTimeout}, s.metrics.queue)
	}
	return s, nil
}

// Close takes the metrics off the registry. The calls under way are the
// grpc.Server's to end. It may be called twice.
func (s *Server) Close() error {
	s.metrics.registered.UnregisterAll()
	return nil
}

// GRPCOptions returns what a grpc.Server must be made with to serve a Server: the
// codec, the decompressor for snappy, and leave for clients to ping as often as
// Thanos' do. They go before the host's own options, and before those of package
// receive/writestore, whose messages are larger: of two options that set the same
// the later wins. Other services of the server are not affected.
func (s *Server) GRPCOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ForceServerCodecV2(grpcwire.Codec{}),
		// Strict, as another service on the server may have gRPC take more.
		grpcwire.SnappyDecompression(&grpcwire.SnappyDecompressor{Limit: defaultRequestBytes, Strict: true}),
		grpcwire.Pings(),
	}
}

// SnappyServerOption has a server compress all that its services answer, in the
// framed format of snappy. All of its clients must understand that, as Thanos'
// programs do, and connections with SnappyDialOptions. gRPC can leave it to a client
// only with a compressor that is registered for the whole process: if the host has
// registered one named snappy, clients that use it are answered in it without this
// option.
func SnappyServerOption() grpc.ServerOption { return grpcwire.SnappyCompression() }

// Register adds the services to a server, which must have been made with what
// GRPCOptions returns, before it serves.
func (s *Server) Register(r grpc.ServiceRegistrar) {
	r.RegisterService(&grpc.ServiceDesc{
		ServiceName: storeService, HandlerType: (*any)(nil), Metadata: "store/storepb/rpc.proto",
		Methods: []grpc.MethodDesc{
			s.unary("LabelNames", labelNamesMethod, func(ctx context.Context, body []byte) (encoded, error) {
				return s.labels(ctx, body, false)
			}),
			s.unary("LabelValues", labelValuesMethod, func(ctx context.Context, body []byte) (encoded, error) {
				return s.labels(ctx, body, true)
			}),
		},
		Streams: []grpc.StreamDesc{s.stream("Series", s.series)},
	}, s)
	r.RegisterService(&grpc.ServiceDesc{
		ServiceName: infoService, HandlerType: (*any)(nil), Metadata: "info/infopb/rpc.proto",
		Methods: []grpc.MethodDesc{s.unary("Info", infoMethod, s.info)},
	}, s)
	if _, ok := s.source.(storage.ExemplarQueryable); ok {
		r.RegisterService(&grpc.ServiceDesc{
			ServiceName: exemplarsService, HandlerType: (*any)(nil), Metadata: "exemplars/exemplarspb/rpc.proto",
			Streams: []grpc.StreamDesc{s.stream("Exemplars", s.exemplars)},
		}, s)
	}
	if _, ok := s.source.(metadataSource); ok {
		r.RegisterService(&grpc.ServiceDesc{
			ServiceName: metadataService, HandlerType: (*any)(nil), Metadata: "metadata/metadatapb/rpc.proto",
			Streams: []grpc.StreamDesc{s.stream("MetricMetadata", s.metricMetadata)},
		}, s)
	}
}

// unary makes a method of a function.
func (s *Server) unary(name, path string, answer func(context.Context, []byte) (encoded, error)) grpc.MethodDesc {
	call := func(ctx context.Context, body []byte) (any, error) {
		defer s.metrics.begin(name)()
		m, err := answer(ctx, body)
		err = s.statusOf(ctx, name, err)
		if err != nil {
			return nil, err
		}
		return m, nil
	}
	return grpc.MethodDesc{MethodName: name, Handler: func(_ any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
		req := &received{}
		if err := decode(req); err != nil {
			return nil, withoutCodec(err)
		}
		if interceptor == nil {
			return call(ctx, req.body)
		}
		return interceptor(ctx, req, &grpc.UnaryServerInfo{Server: s, FullMethod: path}, func(ctx context.Context, req any) (any, error) {
			return call(ctx, req.(*received).body)
		})
	}}
}

// stream makes a method that answers with many messages of a function.
func (s *Server) stream(name string, answer func([]byte, grpc.ServerStream) error) grpc.StreamDesc {
	return grpc.StreamDesc{StreamName: name, ServerStreams: true, Handler: func(_ any, stream grpc.ServerStream) error {
		defer s.metrics.begin(name)()
		req := &received{}
		if err := stream.RecvMsg(req); err != nil {
			return err
		}
		return s.statusOf(stream.Context(), name, answer(req.body, stream))
	}}
}

// withoutCodec words why a message could not be read: our codec takes any.
func withoutCodec(err error) error {
	if status.Code(err) != codes.Internal {
		return err
	}
	return status.Errorf(codes.Internal, "the server was not made with what storeapi.Server.GRPCOptions returns: %v", err)
}

// tenantKey is the metadata in which a Client says on whose behalf it reads, where
// the read options do. It narrows a read. Thanos' key thanos-tenant does not: Thanos
// Query sends it always.
const (
	tenantKey       = "varve-tenant"
	thanosTenantKey = "thanos-tenant"
)

// reading returns the context for a read of the source, whose data may be as coarse
// as resolution, in ms. Chunks of downsampled blocks are passed on as they are.
func reading(ctx context.Context, strict bool, resolution int64) context.Context {
	opts := readopts.Options{Partial: !strict, MaxResolution: millis(resolution)}
	if values := metadata.ValueFromIncomingContext(ctx, tenantKey); len(values) == 1 {
		opts.Tenant = values[0]
	}
	return readopts.With(aggrchunk.AsStored(ctx), opts)
}

// millis makes a duration of a number of them that may be any, as that of someone
// who accepts whatever there is.
func millis(n int64) time.Duration {
	return time.Duration(min(max(n, 0), math.MaxInt64/int64(time.Millisecond))) * time.Millisecond
}

// querier opens one on the source.
func (s *Server) querier(mint, maxt int64, without []string) (storage.ChunkQuerier, error) {
	if len(without) == 0 {
		return s.source.ChunkQuerier(mint, maxt)
	}
	if w, ok := s.source.(withouter); ok {
		return w.ChunkQuerierWithout(mint, maxt, without)
	}
	q, err := s.source.ChunkQuerier(mint, maxt)
	if err != nil {
		return nil, err
	}
	return extlabels.NewChunkQuerier(q, labels.EmptyLabels(), without), nil
}
