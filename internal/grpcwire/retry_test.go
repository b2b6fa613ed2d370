package grpcwire

import (
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
)

// detailed is a status with a detail as another program would make it.
func detailed(typ string, value []byte) *status.Status {
	p := status.New(codes.Unavailable, "busy").Proto()
	p.Details = append(p.Details, &anypb.Any{TypeUrl: "example.com/x/google.rpc.ErrorInfo", Value: []byte("\xff")}, &anypb.Any{TypeUrl: typ, Value: value})
	return status.FromProto(p)
}

func TestWhenToTryAgain(t *testing.T) {
	for after, want := range map[time.Duration]time.Duration{
		0: 0, time.Millisecond: time.Millisecond, 90 * time.Second: 90 * time.Second, 1500 * time.Millisecond: 1500 * time.Millisecond,
		-time.Second: 0, 48 * time.Hour: time.Hour,
	} {
		s := status.Convert(Later(codes.Unavailable, "busy", after))
		if got, ok := RetryAfter(s); !ok || got != want || s.Code() != codes.Unavailable || s.Message() != "busy" {
			t.Errorf("%s comes as %s, %v, of %v", after, got, ok, s)
		}
		// The protobuf library reads the same.
		value := s.Proto().GetDetails()[0].GetValue()
		_, _, n := protowire.ConsumeTag(value)
		inner, _ := protowire.ConsumeBytes(value[n:])
		var d durationpb.Duration
		if err := proto.Unmarshal(inner, &d); err != nil || d.AsDuration() != max(after, 0) {
			t.Errorf("%s: protobuf reads %v, %v", after, &d, err)
		}
	}
	for name, c := range map[string]struct {
		status *status.Status
		want   time.Duration
		ok     bool
	}{
		"no details":   {status.New(codes.Unavailable, "away"), 0, false},
		"nil":          {nil, 0, false},
		"another type": {detailed("type.googleapis.com/google.rpc.QuotaFailure", []byte("\x0a\x02\x08\x05")), 0, false},
		"another host": {detailed("example.com/google.rpc.RetryInfo", []byte("\x0a\x02\x08\x05")), 5 * time.Second, true},
		"empty":        {detailed("type.googleapis.com/google.rpc.RetryInfo", nil), 0, true},
		"cut off":      {detailed("type.googleapis.com/google.rpc.RetryInfo", []byte("\x0a\x02\x08")), 0, false},
		"negative":     {detailed("type.googleapis.com/google.rpc.RetryInfo", []byte("\x0a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")), 0, true},
		"for ever":     {detailed("type.googleapis.com/google.rpc.RetryInfo", []byte("\x0a\x0a\x08\xff\xff\xff\xff\xff\xff\xff\xff\x7f")), time.Hour, true},
	} {
		if got, ok := RetryAfter(c.status); got != c.want || ok != c.ok {
			t.Errorf("%s: %s, %v, want %s, %v", name, got, ok, c.want, c.ok)
		}
	}
}
