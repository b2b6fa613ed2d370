package writestore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/varve-tsdb/varve/internal/grpcwire"
	"github.com/varve-tsdb/varve/receive"
)

const (
	serviceName = "thanos.WriteableStore"
	methodName  = "RemoteWrite"
	methodPath  = "/" + serviceName + "/" + methodName
)

// defaultMaxMessageBytes is twice what a receive.Handler takes by default, since
// requests of 2.0 grow when they are forwarded.
const defaultMaxMessageBytes = 128 << 20

// ServerOptions are the settings of a Server. The zero value is usable.
type ServerOptions struct {
	// MaxMessageBytes bounds a message, both as sent and decompressed; a larger
	// one is answered ResourceExhausted. Default 128 MiB, at most 2 GiB - 1.
	MaxMessageBytes int
}

func (o ServerOptions) withDefaults() ServerOptions {
	if o.MaxMessageBytes == 0 {
		o.MaxMessageBytes = defaultMaxMessageBytes
	}
	return o
}

// Validate returns all that is wrong with the options, each by its field's
// name, or nil. Zero values are fine.
func (o ServerOptions) Validate() error {
	if o = o.withDefaults(); o.MaxMessageBytes < 1 || o.MaxMessageBytes > math.MaxInt32 {
		return fmt.Errorf("MaxMessageBytes: %d is not between 1 and %d", o.MaxMessageBytes, math.MaxInt32)
	}
	return nil
}

// Server is the gRPC service thanos.WriteableStore, by which receivers forward
// series to each other. It is safe for concurrent use.
type Server struct {
	to    receive.Peer
	opts  ServerOptions
	usual usualSize
	pool  mem.BufferPool
}

// NewServer returns a Server that hands what it is sent to to, which for a
// handler in this process is handler.Peer(). If it is a receive.PeerAdmitter, as
// that is, it is asked before a message is read. The error says what is wrong with
// the options.
func NewServer(to receive.Peer, opts ServerOptions) (*Server, error) {
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("writestore server options: %w", err)
	}
	// What gRPC has by default is 1 MiB for all that is longer than 32 KiB.
	pool, err := mem.NewBinaryTieredBufferPool(15, 16, 17, 18, 19, 20, 21, 22, 23)
	if err != nil {
		return nil, fmt.Errorf("writestore server: %w", err)
	}
	return &Server{to: to, opts: opts.withDefaults(), pool: pool}, nil
}

// GRPCOptions returns what a grpc.Server must be made with to serve a Server:
// the codec, the decompressor for snappy, the bounds of messages, the tap by which
// calls are let in before they are read, and leave for clients to ping as often as
// Thanos' do. They go before the host's own options, of which the later ones win;
// but gRPC panics if there is another tap. Other services of the server are not
// affected by the codec, see Codec, nor by the tap.
func (s *Server) GRPCOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ForceServerCodecV2(grpcwire.Codec{Pool: s.pool}),
		grpcwire.SnappyDecompression(&grpcwire.SnappyDecompressor{Limit: s.opts.MaxMessageBytes}),
		grpc.MaxRecvMsgSize(s.opts.MaxMessageBytes),
		grpc.InTapHandle(s.admit),
		grpcwire.Pings(),
	}
}

// Register adds the service to a server, which must have been made with what
// GRPCOptions returns, before it serves.
func (s *Server) Register(r grpc.ServiceRegistrar) {
	r.RegisterService(&grpc.ServiceDesc{
		ServiceName: serviceName,
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: methodName, Handler: remoteWrite}},
		Metadata:    "store/storepb/rpc.proto",
	}, s)
}

// remoteWrite is the method as gRPC calls it.
func remoteWrite(service any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
	s := service.(*Server)
	to, in, err := s.take(ctx)
	if err != nil {
		return nil, err
	}
	if in != nil {
		defer in.Release()
	}
	req := &receivedRequest{to: to}
	if err := decode(req); err != nil {
		// Our codec takes any message.
		return nil, status.Errorf(codes.Internal, "the server was not made with what writestore.Server.GRPCOptions returns: %v", err)
	}
	defer req.free()
	if err := s.arrived(in, int64(cap(req.body))); err != nil {
		return nil, refuse(ctx, err)
	}
	if interceptor == nil {
		return remoteWriteTo(ctx, req)
	}
	info := &grpc.UnaryServerInfo{Server: s, FullMethod: methodPath}
	return interceptor(ctx, req, info, func(ctx context.Context, req any) (any, error) {
		return remoteWriteTo(ctx, req.(*receivedRequest))
	})
}

func remoteWriteTo(ctx context.Context, received *receivedRequest) (*response, error) {
	req, err := decodeRequest(received.body)
	switch {
	case errors.Is(err, errMalformed):
		return nil, status.Error(codes.Internal, err.Error())
	case err != nil:
		return nil, refuse(ctx, err)
	case len(req.Tenants) == 0:
		return &response{}, nil
	}
	if err := received.to.Write(ctx, req); err != nil {
		return nil, refuse(ctx, err)
	}
	return &response{}, nil
}

// refuse returns the status of an error. If it is about single series, the
// trailer says of which.
func refuse(ctx context.Context, err error) error {
	var refusal *receive.PeerRefusal
	if !errors.As(err, &refusal) {
		return status.Error(codeOf(ctx, err), clip(err.Error()))
	}
	code := codes.AlreadyExists
	for _, reason := range refusal.Refused {
		if reason.Class() == receive.Retryable {
			code = codes.Unavailable
			break
		}
	}
	if trailer := encodeRefused(refusal.Refused); len(trailer) <= maxRefusedBytes {
		// Without it the peer takes the status for that of all series.
		_ = grpc.SetTrailer(ctx, metadata.Pairs(refusedKey, string(trailer)))
	}
	return status.Error(code, clip(cmp.Or(refusal.Text, refusal.Error())))
}

// maxText is how much of a text a status has, since it travels in a header, of
// which clients take so much only.
const maxText = 8 << 10

func clip(text string) string {
	if len(text) <= maxText {
		return text
	}
	return strings.ToValidUTF8(text[:maxText], "") + "…"
}

// codeOf returns the status code that Thanos' receivers take for what err is.
func codeOf(ctx context.Context, err error) codes.Code {
	if ctx.Err() != nil {
		return status.FromContextError(ctx.Err()).Code()
	}
	var overload *receive.OverloadError
	switch reason := receive.ReasonOf(err); {
	case errors.Is(err, receive.ErrBadReplica):
		return codes.InvalidArgument
	case errors.As(err, &overload) && overload.Reason == receive.ReasonRequestBytes:
		return codes.ResourceExhausted
	case reason.Class() == receive.Final:
		return codes.AlreadyExists
	case reason == receive.ReasonUnavailable:
		return codes.Unavailable
	}
	return codes.Internal
}
