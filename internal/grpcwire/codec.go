package grpcwire

import (
	"fmt"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// Sent is a message on its way out.
type Sent interface {
	// Encode returns the message, which is gRPC's from then on: it may be read
	// after the call has ended. What comes from the pool goes back there.
	Encode(pool mem.BufferPool) (mem.BufferSlice, error)
}

// Received is a message that has come.
type Received interface {
	// Decode reads the message. data is gRPC's: what is needed for longer has to
	// be copied, or to be referred to by Ref.
	Decode(data mem.BufferSlice, pool mem.BufferPool) error
}

// Codec reads and writes messages that are Sent or Received. It is safe for
// concurrent use.
type Codec struct {
	// Next has all other messages. With nil they go to the codec that the process
	// has registered by the name proto at the time of the call, so that the other
	// services of a server and the other calls on a connection are as they would
	// be without it.
	Next encoding.CodecV2
	// Pool is what messages get their memory from; nil is gRPC's.
	Pool mem.BufferPool
}

// Name returns proto, which is what the messages are by content type.
func (c Codec) Name() string { return proto.Name }

// Marshal encodes a message.
func (c Codec) Marshal(v any) (mem.BufferSlice, error) {
	if m, ok := v.(Sent); ok {
		return m.Encode(c.pool())
	}
	next, err := c.other()
	if err != nil {
		return nil, err
	}
	return next.Marshal(v)
}

// Unmarshal decodes a message.
func (c Codec) Unmarshal(data mem.BufferSlice, v any) error {
	if m, ok := v.(Received); ok {
		return m.Decode(data, c.pool())
	}
	next, err := c.other()
	if err != nil {
		return err
	}
	return next.Unmarshal(data, v)
}

func (c Codec) pool() mem.BufferPool {
	if c.Pool == nil {
		return mem.DefaultBufferPool()
	}
	return c.Pool
}

// other returns the codec of all other messages. It is looked up anew each time,
// because a process may register one at any time before it serves.
func (c Codec) other() (encoding.CodecV2, error) {
	if c.Next != nil {
		return c.Next, nil
	}
	if v2 := encoding.GetCodecV2(proto.Name); v2 != nil {
		return v2, nil
	}
	if v1 := encoding.GetCodec(proto.Name); v1 != nil {
		return oldCodec{v1}, nil
	}
	return nil, fmt.Errorf("no codec %q is registered for messages of other services; give one to the Codec of this service", proto.Name)
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
