package writestore

import (
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"

	"github.com/varve-tsdb/varve/internal/grpcwire"
	"github.com/varve-tsdb/varve/receive"
)

// Codec returns a codec that reads and writes the messages of this package and
// leaves all others to next. With next nil they go to the codec that the
// process has registered by the name proto at the time of the call, so that the
// other services of a server and the other calls on a connection are as they
// would be without it. It is stateless and safe for concurrent use.
//
// Server.GRPCOptions has it already; it is for servers that need more than one
// such codec, which then wrap each other. That of package store/storeapi takes
// the messages of this one too.
func Codec(next encoding.CodecV2) encoding.CodecV2 { return grpcwire.Codec{Next: next} }

// sentRequest is a thanos.WriteRequest on its way out.
type sentRequest struct {
	replica int
	series  receive.PeerSeries
}

// Encode is that of grpcwire.Sent.
func (r *sentRequest) Encode(pool mem.BufferPool) (mem.BufferSlice, error) {
	return encodeRequest(r, pool), nil
}

// receivedRequest is a thanos.WriteRequest that has come.
type receivedRequest struct {
	to   receive.Peer
	buf  mem.Buffer // the encoded message; nil until the codec has seen it
	body []byte     // the bytes of buf
}

// Decode keeps a request as it is, so that what is wrong inside is not an error of
// the transport.
func (r *receivedRequest) Decode(data mem.BufferSlice, pool mem.BufferPool) error {
	// No copy if the message came in one piece.
	r.buf = data.MaterializeToBuffer(pool)
	r.body = r.buf.ReadOnlyData()
	return nil
}

func (r *receivedRequest) free() {
	if r.buf != nil {
		r.buf.Free()
		r.buf, r.body = nil, nil
	}
}

// response is a thanos.WriteResponse, which has no fields.
type response struct{}

// Encode is that of grpcwire.Sent.
func (*response) Encode(mem.BufferPool) (mem.BufferSlice, error) { return nil, nil }

// Decode is that of grpcwire.Received.
func (*response) Decode(mem.BufferSlice, mem.BufferPool) error { return nil }
