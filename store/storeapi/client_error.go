package storeapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/varve-tsdb/varve/internal/grpcwire"
)

// StatusError is the failure of a call, or what a server says in its place.
// errors.Is finds the error of the context if that ended the call, and
// context.DeadlineExceeded and context.Canceled by the status.
type StatusError struct {
	Method string // as gRPC names it
	Code   codes.Code
	Text   string // what the server says, or why it could not be asked
	of     []error

	later      bool // it is worth another try
	retryAfter time.Duration
}

// ended counts a call that has ended well, which io.EOF says of a stream, or returns
// its failure.
func (c *Client) ended(ctx context.Context, method string, err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		c.metrics.requests.WithLabelValues(methodName(method), codes.OK.String()).Inc()
		return nil
	}
	return c.failure(ctx, method, err)
}

// failure counts the failure of a call and returns it as a *StatusError.
func (c *Client) failure(ctx context.Context, method string, err error) error {
	s := status.Convert(err)
	e := &StatusError{Method: method, Code: s.Code(), Text: s.Message()}
	if cause := ctx.Err(); cause != nil {
		e.of = append(e.of, cause)
	}
	switch e.Code {
	case codes.Unavailable, codes.ResourceExhausted:
		e.retryAfter, e.later = grpcwire.RetryAfter(s)
	case codes.DeadlineExceeded:
		e.of = append(e.of, context.DeadlineExceeded)
	case codes.Canceled:
		e.of = append(e.of, context.Canceled)
	}
	c.metrics.requests.WithLabelValues(methodName(method), e.Code.String()).Inc()
	return e
}

func methodName(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// Error says what the server said, and where there is one the remedy.
func (e *StatusError) Error() string {
	text := fmt.Sprintf("%s: %s: %s", methodName(e.Method), e.Code, e.Text)
	if e.later { // which the text has remedies for
		return text
	}
	switch e.Code {
	case codes.Unimplemented:
		text += " (is it a server of the StoreAPI, and does it know the compression?)"
	case codes.ResourceExhausted:
		// Of a limit of the server's the text says what to do.
		if strings.HasPrefix(e.Text, "grpc: received message") {
			text += " (ask for less, or raise ClientOptions.MaxMessageBytes)"
		}
	case codes.Unavailable:
		if !unreached(e.Text) {
			return text
		}
		text += " (is the address right, does it serve gRPC, and with the same TLS?)"
	}
	return text
}

// unreached tells whether gRPC says by a text that it has no connection. Only which
// remedy is named depends on it.
func unreached(text string) bool {
	return strings.HasPrefix(text, "connection error:") || strings.HasPrefix(text, "name resolver error:")
}

// Unwrap returns the errors of the context that the status stands for.
func (e *StatusError) Unwrap() []error { return e.of }

// Unavailable reports that the same read may succeed later.
func (e *StatusError) Unavailable() bool { return e.Code == codes.Unavailable }

// LimitExceeded reports that the read asked for more than a limit allows, whenever it
// is asked.
func (e *StatusError) LimitExceeded() bool { return e.Code == codes.ResourceExhausted && !e.later }

// Overloaded reports that the server had no room for the read and said when it may
// pass, as Varve's do: an hour at most.
func (e *StatusError) Overloaded() (retryAfter time.Duration, yes bool) {
	return e.retryAfter, e.later
}

// Warning is what a server has to say about an answer, which may lack something.
type Warning struct {
	Server string // the name of the Client
	Text   string
}

// Error is the text, and who says it.
func (w *Warning) Error() string { return fmt.Sprintf("store %s: %s", w.Server, w.Text) }

// incomplete makes an error of a warning in a read that is to be whole, as Thanos'
// proxy does. It is a limit if the text says so, for which there is no other way in
// the protocol.
func (c *Client) incomplete(method string, w *Warning) error {
	code := codes.Aborted
	if strings.Contains(w.Text, codes.ResourceExhausted.String()) {
		code = codes.ResourceExhausted
	}
	return &StatusError{Method: method, Code: code, Text: w.Text, of: []error{w}}
}

// nonsense is an answer that cannot be understood.
func (c *Client) nonsense(method string, err error) error {
	return fmt.Errorf("%s: the answer makes no sense: %w (is it a server of the StoreAPI?)", methodName(method), err)
}

// OrderError is a read whose series came out of order, so that they cannot be merged
// with those of others. From then on the Client sorts what comes from the server.
type OrderError struct {
	Server        string
	Before, After labels.Labels // Before came first, and sorts behind After
}

// Error says which series, and what helps.
func (e *OrderError) Error() string {
	return fmt.Sprintf("the store %s sends series %s after %s, which is out of order: try again, from now on they are sorted here", e.Server, e.After, e.Before)
}

// Unavailable reports that the same read may succeed later.
func (*OrderError) Unavailable() bool { return true }

// BufferError is a read that had to be sorted here, and was too large for that.
type BufferError struct {
	Server string
	Limit  int64 // MaxBufferedBytes
}

// Error names the limit and what helps.
func (e *BufferError) Error() string {
	return fmt.Sprintf("the series of the store %s have to be sorted here and take more than %d bytes: ask for fewer series or less time, or raise ClientOptions.MaxBufferedBytes", e.Server, e.Limit)
}

// LimitExceeded reports that the read asked for more than a limit allows.
func (*BufferError) LimitExceeded() bool { return true }

// MessageError is a message of a server that would take too much memory once it is
// decoded, as one of very many empty series does.
type MessageError struct {
	Server string
	Limit  int // MaxMessageBytes
}

// Error names the limit and what helps.
func (e *MessageError) Error() string {
	return fmt.Sprintf("a message of the store %s takes more than %d bytes once it is decoded: ask for fewer series or less time, or raise ClientOptions.MaxMessageBytes", e.Server, e.Limit)
}

// LimitExceeded reports that the read asked for more than a limit allows.
func (*MessageError) LimitExceeded() bool { return true }
