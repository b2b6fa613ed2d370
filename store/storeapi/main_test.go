package storeapi

import (
	"fmt"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// All tests run in a process that has changed what gRPC and protobuf know, as one
// does that has Thanos in it: another codec by the name of proto, which takes the
// process' own messages only, and Thanos' messages with their names.
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
