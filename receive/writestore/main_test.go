package writestore

import (
	"fmt"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// All tests run in a process that has changed what gRPC and protobuf know, as
// one does that has Thanos in it: another codec by the name of proto, which
// takes the process' own messages only, and Thanos' messages with their names.
func TestMain(m *testing.M) {
	encoding.RegisterCodecV2(hostCodec{})
	if err := protoregistry.GlobalFiles.RegisterFile(thanosFile); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// hostMessage is a message of the process' own.
type hostMessage struct{ text string }

type hostCodec struct{}

// foreign counts the messages that are not the process' own.
var foreign atomic.Int64

func (hostCodec) Name() string { return "proto" }

func (hostCodec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(*hostMessage)
	if !ok {
		foreign.Add(1)
		return nil, fmt.Errorf("not the host's: %T", v)
	}
	return mem.BufferSlice{mem.SliceBuffer("host:" + m.text)}, nil
}

func (hostCodec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(*hostMessage)
	if !ok {
		foreign.Add(1)
		return fmt.Errorf("not the host's: %T", v)
	}
	m.text = string(data.Materialize()[len("host:"):])
	return nil
}

// thanosFile describes the messages of the service to the protobuf library. The
// series stay bytes, as which they have the same encoding.
var thanosFile = func() protoreflect.FileDescriptor {
	field := func(name string, number int32, of descriptorpb.FieldDescriptorProto_Type, repeated bool) *descriptorpb.FieldDescriptorProto {
		label := descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL
		if repeated {
			label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED
		}
		return &descriptorpb.FieldDescriptorProto{Name: &name, Number: &number, Type: &of, Label: &label}
	}
	const (
		bytes   = descriptorpb.FieldDescriptorProto_TYPE_BYTES
		integer = descriptorpb.FieldDescriptorProto_TYPE_INT64
		message = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE
	)
	text := func(s string) *string { return &s }
	tuples := field("timeseriesTenantData", 4, message, true)
	tuples.TypeName = text(".thanos.TimeSeriesTenantTuple")
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: text("store/storepb/rpc.proto"), Package: text("thanos"), Syntax: text("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{
			{Name: text("WriteRequest"), Field: []*descriptorpb.FieldDescriptorProto{
				field("timeseries", 1, bytes, true), field("tenant", 2, bytes, false), field("replica", 3, integer, false), tuples,
			}},
			{Name: text("TimeSeriesTenantTuple"), Field: []*descriptorpb.FieldDescriptorProto{
				field("timeseries", 1, bytes, true), field("tenant", 2, bytes, false),
			}},
		},
	}, nil)
	if err != nil {
		panic(err)
	}
	return file
}()
