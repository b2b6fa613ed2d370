package grpcwire

import (
	"math"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/anypb"
)

// retryInfo is the type of the detail of a status by which gRPC's services say when
// to try again (google/rpc/error_details.proto):
//
//	message RetryInfo { google.protobuf.Duration retry_delay = 1; }
//	message Duration { int64 seconds = 1; int32 nanos = 2; }
//
// It is encoded by hand, as the package that has the message registers all of its
// kind for the process.
const retryInfo = "google.rpc.RetryInfo"

const (
	fieldRetryDelay = 1
	fieldSeconds    = 1
	fieldNanos      = 2
)

// maxRetryAfter bounds what is believed of a server.
const maxRetryAfter = time.Hour

// Later returns the error of a status that says when the same call may pass, which
// clients that know nothing of it take for one without.
func Later(code codes.Code, text string, after time.Duration) error {
	after = max(after, 0)
	delay := protowire.AppendTag(nil, fieldSeconds, protowire.VarintType)
	delay = protowire.AppendVarint(delay, uint64(after/time.Second))
	if nanos := after % time.Second; nanos > 0 {
		delay = protowire.AppendTag(delay, fieldNanos, protowire.VarintType)
		delay = protowire.AppendVarint(delay, uint64(nanos))
	}
	info := protowire.AppendTag(nil, fieldRetryDelay, protowire.BytesType)
	info = protowire.AppendBytes(info, delay)
	p := status.New(code, text).Proto()
	p.Details = append(p.Details, &anypb.Any{TypeUrl: "type.googleapis.com/" + retryInfo, Value: info})
	return status.ErrorProto(p)
}

// RetryAfter returns when a status says that the same call may pass: an hour at most,
// and false if it says nothing or what nobody understands.
func RetryAfter(s *status.Status) (after time.Duration, yes bool) {
	for _, detail := range s.Proto().GetDetails() {
		if detail.MessageName() != retryInfo {
			continue
		}
		var seconds, nanos uint64
		err := Each(detail.GetValue(), func(f Field) error {
			if !f.Is(fieldRetryDelay, protowire.BytesType) {
				return nil
			}
			return Each(f.Bytes, func(f Field) error {
				switch {
				case f.Is(fieldSeconds, protowire.VarintType):
					seconds = f.Number
				case f.Is(fieldNanos, protowire.VarintType):
					nanos = f.Number
				}
				return nil
			})
		})
		if err == nil {
			return delay(seconds, nanos), true
		}
	}
	return 0, false
}

// delay is a duration of two numbers that may be any; negative ones, which are large
// here, are none.
func delay(seconds, nanos uint64) time.Duration {
	if seconds > math.MaxInt64 || nanos > math.MaxInt32 {
		return 0
	}
	if seconds >= uint64(maxRetryAfter/time.Second) {
		return maxRetryAfter
	}
	return min(time.Duration(seconds)*time.Second+time.Duration(nanos), maxRetryAfter)
}
