package storeapi

import (
	"context"
	"errors"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
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
	// What is too much for the moment may pass later, which no limit says of itself.
	if busy, ok := errors.AsType[overloaded](err); ok {
		if _, later := busy.Overloaded(); later {
			return codes.Unavailable
		}
	}
	if limit, ok := errors.AsType[limited](err); ok && limit.LimitExceeded() {
		return codes.ResourceExhausted
	}
	if away, ok := errors.AsType[unavailable](err); ok && away.Unavailable() {
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

// unavailable, limited and overloaded are what errors have that say what they are; see package
// query.
type (
	unavailable interface {
		error
		Unavailable() bool
	}
	limited interface {
		error
		LimitExceeded() bool
	}
	overloaded interface {
		error
		Overloaded() (retryAfter time.Duration, yes bool)
	}
)
