package writestore

import (
	"context"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/varve-tsdb/varve/receive"
)

// StatusError is the answer of a peer that does not say of which series it is,
// so that it is taken for that of all. receive.ReasonOf makes of it
//
//	AlreadyExists                                  final: samples are refused
//	Unavailable, DeadlineExceeded, Unimplemented   retryable: the peer is away
//	InvalidArgument                                retryable: receive.ErrBadReplica
//	all others                                     retryable: it failed
//
// Final is only what a peer says of samples. All else, a bad replica among it,
// lies with the peer or with how it is set up, and samples must not be lost for
// that. Thanos' receivers say Internal of invalid series too, which cannot be
// told apart.
type StatusError struct {
	Code codes.Code
	Text string // what the peer says, or why it could not be asked
	of   []error
}

func newStatusError(ctx context.Context, err error) *StatusError {
	e := &StatusError{Code: status.Code(err), Text: status.Convert(err).Message()}
	if ctx.Err() != nil {
		e.of = append(e.of, ctx.Err())
	}
	switch e.Code {
	case codes.AlreadyExists:
		e.of = append(e.of, finalError{})
	case codes.InvalidArgument:
		e.of = append(e.of, receive.ErrBadReplica)
	case codes.Unavailable, codes.DeadlineExceeded, codes.Unimplemented:
		e.of = append(e.of, receive.ErrUnavailable)
	}
	return e
}

func (e *StatusError) Error() string {
	switch e.Code {
	case codes.Unimplemented:
		return fmt.Sprintf("%s: %s (is it a receiver, and does it know the compression?)", e.Code, e.Text)
	case codes.ResourceExhausted:
		return fmt.Sprintf("%s: %s (have the peer take larger messages, or the sender send fewer samples a request)", e.Code, e.Text)
	}
	return fmt.Sprintf("%s: %s", e.Code, e.Text)
}

// Unwrap returns the error of the context, if that ended the call, and
// receive.ErrUnavailable or receive.ErrBadReplica for the codes above.
func (e *StatusError) Unwrap() []error { return e.of }

// finalError tells receive.ReasonOf that trying again does not help.
type finalError struct{}

func (finalError) Error() string   { return "refused for good" }
func (finalError) Retryable() bool { return false }
