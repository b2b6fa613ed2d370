package writestore

import (
	"fmt"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"

	"github.com/varve-tsdb/varve/receive"
)

// Codec returns a codec that reads and writes the messages of this package and
// leaves all others to next. With next nil they go to the codec that the
// process has registered by the name proto at the time of the call, so that the
// other services of a server and the other calls on a connection are as they
// would be without it. It is stateless and safe for concurrent use.
//
// Server.GRPCOptions has it already; it is for servers that need more than one
// such codec, which then wrap each other.
func Codec(next encoding.CodecV2) encoding.CodecV2 { return codec{next, mem.DefaultBufferPool()} }

type codec struct {
	next encoding.CodecV2
	pool mem.BufferPool // for messages that come in several pieces
}

// Name returns proto, which is what the messages are by content type.
func (c codec) Name() string { return proto.Name }

// sentRequest is a thanos.WriteRequest on its way out.
type sentRequest struct {
	replica int
	series  receive.PeerSeries
}

// receivedRequest is a thanos.WriteRequest that has come.
type receivedRequest struct {
	to   receive.Peer
	buf  mem.Buffer // the encoded message; nil until the codec has seen it
	body []byte     // the bytes of buf
}

func (r *receivedRequest) free() {
	if r.buf != nil {
		r.buf.Free()
		r.buf, r.body = nil, nil
	}
}

// response is a thanos.WriteResponse, which has no fields.
type response struct{}

func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	switch v := v.(type) {
	case *sentRequest:
		return encodeRequest(v, mem.DefaultBufferPool()), nil
	case *response:
		return nil, nil
	}
	next, err := c.other()
	if err != nil {
		return nil, err
	}
	return next.Marshal(v)
}

// Unmarshal keeps a request as it is, so that what is wrong inside is not an
// error of the transport.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	switch v := v.(type) {
	case *receivedRequest:
		// No copy if the message came in one piece.
		v.buf = data.MaterializeToBuffer(c.pool)
		v.body = v.buf.ReadOnlyData()
		return nil
	case *response:
		return nil
	}
	next, err := c.other()
	if err != nil {
		return err
	}
	return next.Unmarshal(data, v)
}

// other returns the codec of all messages that are not of this package. It is
// looked up anew each time, because a process may register one at any time
// before it serves.
func (c codec) other() (encoding.CodecV2, error) {
	if c.next != nil {
		return c.next, nil
	}
	if v2 := encoding.GetCodecV2(proto.Name); v2 != nil {
		return v2, nil
	}
	if v1 := encoding.GetCodec(proto.Name); v1 != nil {
		return oldCodec{v1}, nil
	}
	return nil, fmt.Errorf("no codec %q is registered for messages of other services; give one to writestore.Codec", proto.Name)
}

// oldCodec is a codec of the kind before CodecV2, which a process may have
// registered in the place of gRPC's own.
type oldCodec struct{ encoding.Codec }

func (c oldCodec) Marshal(v any) (mem.BufferSlice, error) {
	data, err := c.Codec.Marshal(v)
	if err != nil {
		return nil, err
	}
	return mem.BufferSlice{mem.SliceBuffer(data)}, nil
}

func (c oldCodec) Unmarshal(data mem.BufferSlice, v any) error {
	return c.Codec.Unmarshal(data.Materialize(), v)
}
