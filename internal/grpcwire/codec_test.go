package grpcwire

import (
	"testing"

	"google.golang.org/grpc/mem"
)

// A process may have registered a codec of the kind before CodecV2.
func TestCodecOfTheOldKind(t *testing.T) {
	c := oldCodec{oldHostCodec{}}
	data, err := c.Marshal("text")
	if err != nil {
		t.Fatal(err)
	}
	var got string
	if err := c.Unmarshal(append(data, mem.SliceBuffer(" and more")), &got); err != nil || got != "text and more" {
		t.Errorf("read %q, %v", got, err)
	}
}

type oldHostCodec struct{}

func (oldHostCodec) Name() string                       { return "proto" }
func (oldHostCodec) Marshal(v any) ([]byte, error)      { return []byte(v.(string)), nil }
func (oldHostCodec) Unmarshal(data []byte, v any) error { *v.(*string) = string(data); return nil }
