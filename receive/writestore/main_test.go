package writestore

import (
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/varve-tsdb/varve/internal/grpcwire/grpctest"
)

// All tests run in a process that has changed what gRPC and protobuf know, as
// one does that has Thanos in it.
func TestMain(m *testing.M) {
	if err := grpctest.Occupy(thanosFile); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
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
