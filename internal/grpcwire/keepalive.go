package grpcwire

import (
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/keepalive"
)

// DialOptions have a connection notice soon that its peer has gone, and that it is
// there again: it sends a ping after 10 seconds without traffic, and tries to
// connect every 5 seconds at least, where gRPC's default rises to two minutes.
func DialOptions() []grpc.DialOption {
	retry := backoff.DefaultConfig
	retry.BaseDelay, retry.MaxDelay = 100*time.Millisecond, 5*time.Second
	return []grpc.DialOption{
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: retry, MinConnectTimeout: 5 * time.Second}),
	}
}

// Pings gives clients leave to ping every 5 seconds. Thanos' do after 10 without
// traffic, for which gRPC closes connections by default.
func Pings() grpc.ServerOption {
	return grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true})
}

// SnappyDialOptions have a connection compress what it sends and take compressed
// messages of up to limit bytes.
func SnappyDialOptions(limit int) []grpc.DialOption {
	return []grpc.DialOption{
		//lint:ignore SA1019 the other way is to register it for the whole process
		grpc.WithCompressor(new(SnappyCompressor)),
		//lint:ignore SA1019 the other way is to register it for the whole process
		grpc.WithDecompressor(&SnappyDecompressor{Limit: limit}),
	}
}

// SnappyDecompression has a server understand compressed messages.
func SnappyDecompression(d *SnappyDecompressor) grpc.ServerOption {
	//lint:ignore SA1019 the other way is to register it for the whole process
	return grpc.RPCDecompressor(d)
}

// SnappyCompression has a server compress whatever it answers.
func SnappyCompression() grpc.ServerOption {
	//lint:ignore SA1019 the other way is to register it for the whole process
	return grpc.RPCCompressor(new(SnappyCompressor))
}
