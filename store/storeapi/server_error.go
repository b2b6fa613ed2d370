package storeapi

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/varve-tsdb/varve/internal/grpcwire"
	"github.com/varve-tsdb/varve/internal/refusal"
)

// requestError is a request that makes no sense.
type requestError struct{ err error }

func (e *requestError) Error() string { return e.err.Error() }
func (e *requestError) Unwrap() error { return e.err }

// abortedError is the failure of a source in a read that is to be whole.
type abortedError struct{ err error }

func (e *abortedError) Error() string { return e.err.Error() }
func (e *abortedError) Unwrap() error { return e.err }

// sentError is the failure to send, which is a status already.
type sentError struct{ err error }

func (e *sentError) Error() string { return e.err.Error() }
func (e *sentError) Unwrap() error { return e.err }

// sourceError is the failure of the source.
func sourceError(err error, strict bool) error {
	if err == nil || !strict {
		return err
	}
	return &abortedError{err}
}

// statusOf counts a call by its end and returns the status of it.
func (s *Server) statusOf(ctx context.Context, method string, err error) error {
	if err == nil {
		s.metrics.requests.WithLabelValues(method, codes.OK.String()).Inc()
		return nil
	}
	code := codeOf(ctx, err)
	s.metrics.requests.WithLabelValues(method, code.String()).Inc()
	if kind, after := refusal.Of(err); kind == refusal.Busy && code == codes.Unavailable {
		return grpcwire.Later(code, clip(err.Error()), after)
	}
	return status.Error(code, clip(err.Error()))
}

// maxText is how much of a text a status has, since it travels in a header, of
// which clients take so much only.
const maxText = 8 << 10

func clip(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= maxText {
		return text
	}
	return strings.ToValidUTF8(text[:maxText], "") + "…"
}

// codeOf returns the status code that Thanos' stores take for what err is.
func codeOf(ctx context.Context, err error) codes.Code {
	if ctx.Err() != nil {
		return status.FromContextError(ctx.Err()).Code()
	}
	switch kind, _ := refusal.Of(err); kind {
	case refusal.Final:
		return codes.ResourceExhausted
	case refusal.Busy, refusal.Away:
		return codes.Unavailable
	}
	var sent *sentError
	switch {
	case errors.As(err, &sent):
		return status.Code(sent.err)
	case errors.As(err, new(*requestError)):
		return codes.InvalidArgument
	case errors.Is(err, context.DeadlineExceeded):
		return codes.DeadlineExceeded
	case errors.Is(err, context.Canceled):
		return codes.Canceled
	case errors.As(err, new(*abortedError)):
		return codes.Aborted
	}
	return codes.Internal
}
