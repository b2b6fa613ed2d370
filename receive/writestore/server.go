package writestore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

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
	to   receive.Peer
	opts ServerOptions
}

// NewServer returns a Server that hands what it is sent to to, which for a
// handler in this process is receive.PeerFunc(handler.WritePeer). The error says
// what is wrong with the options.
func NewServer(to receive.Peer, opts ServerOptions) (*Server, error) {
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("writestore server options: %w", err)
	}
	return &Server{to: to, opts: opts.withDefaults()}, nil
}

// GRPCOptions returns what a grpc.Server must be made with to serve a Server:
// the codec, the decompressor for snappy, the bounds of messages, and leave for
// clients to ping as often as Thanos' do. They go before the host's own options,
// of which the later ones win. Other services of the server are not affected by
// the codec; see Codec.
func (s *Server) GRPCOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ForceServerCodecV2(Codec(nil)),
		//lint:ignore SA1019 the other way is to register it for the whole process
		grpc.RPCDecompressor(&snappyDecompressor{limit: s.opts.MaxMessageBytes}),
		grpc.MaxRecvMsgSize(s.opts.MaxMessageBytes),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
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
	s, req := service.(*Server), &receivedRequest{}
	if err := decode(req); err != nil {
		// Our codec takes any message.
		return nil, status.Errorf(codes.Internal, "the server was not made with what writestore.Server.GRPCOptions returns: %v", err)
	}
	defer req.free()
	if interceptor == nil {
		return s.remoteWrite(ctx, req)
	}
	info := &grpc.UnaryServerInfo{Server: s, FullMethod: methodPath}
	return interceptor(ctx, req, info, func(ctx context.Context, req any) (any, error) {
		return s.remoteWrite(ctx, req.(*receivedRequest))
	})
}

func (s *Server) remoteWrite(ctx context.Context, received *receivedRequest) (*response, error) {
	req, err := decodeRequest(received.body)
	switch {
	case errors.Is(err, errMalformed):
		return nil, status.Error(codes.Internal, err.Error())
	case err != nil:
		return nil, refuse(ctx, err)
	case len(req.Tenants) == 0:
		return &response{}, nil
	}
	if err := s.to.Write(ctx, req); err != nil {
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
	switch reason := receive.ReasonOf(err); {
	case errors.Is(err, receive.ErrBadReplica):
		return codes.InvalidArgument
	case reason.Class() == receive.Final:
		return codes.AlreadyExists
	case reason == receive.ReasonUnavailable:
		return codes.Unavailable
	}
	return codes.Internal
}
