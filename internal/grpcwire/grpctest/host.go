package grpctest

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// Occupy registers for the process another codec by the name of proto, which takes the
// process' own messages only, and the messages of a file by their names, such as
// Thanos'. It is for TestMain.
func Occupy(messages protoreflect.FileDescriptor) error {
	encoding.RegisterCodecV2(HostCodec{})
	return protoregistry.GlobalFiles.RegisterFile(messages)
}

// CheckOccupied fails the test if what the process has registered is no longer there,
// or something else is.
func CheckOccupied(tb testing.TB) {
	tb.Helper()
	if encoding.GetCodecV2(proto.Name) != (HostCodec{}) || encoding.GetCompressor("snappy") != nil {
		tb.Error("what is registered for the process has changed")
	}
}

// hostMessage is a message of the process' own.
type hostMessage struct{ text string }

// HostCodec is the codec of the process' own messages.
type HostCodec struct{}

// foreign counts the messages that are not the process' own.
var foreign atomic.Int64

// Foreign returns how many messages the process' codec was given that are not its own.
func Foreign() int64 { return foreign.Load() }

// Name returns proto.
func (HostCodec) Name() string { return proto.Name }

// Marshal encodes a message of the process.
func (HostCodec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(*hostMessage)
	if !ok {
		foreign.Add(1)
		return nil, fmt.Errorf("not the host's: %T", v)
	}
	return mem.BufferSlice{mem.SliceBuffer("host:" + m.text)}, nil
}

// Unmarshal decodes one.
func (HostCodec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(*hostMessage)
	if !ok {
		foreign.Add(1)
		return fmt.Errorf("not the host's: %T", v)
	}
	m.text = string(data.Materialize()[len("host:"):])
	return nil
}

// RegisterHost registers a service of the process' own, with messages of its own.
func RegisterHost(server *grpc.Server) {
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "host.Echo", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Echo", Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			m := &hostMessage{}
			return m, decode(m)
		}}},
	}, struct{}{})
}

// CheckHost fails the test if the service of RegisterHost does not answer.
func CheckHost(tb testing.TB, conn *grpc.ClientConn) {
	tb.Helper()
	got := &hostMessage{}
	if err := conn.Invoke(tb.Context(), "/host.Echo/Echo", &hostMessage{"text"}, got); err != nil || got.text != "text" {
		tb.Errorf("the host's own service answers %q, %v", got.text, err)
	}
}
