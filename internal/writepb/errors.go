package writepb

import (
	"errors"
	"fmt"
)

var (
	// ErrMalformed is matched by every error about bytes that do not form
	// the message. Sending the same bytes again cannot succeed.
	ErrMalformed = errors.New("malformed protobuf")

	// ErrOtherVersion says that the body holds a message of the other remote
	// write version.
	ErrOtherVersion = errors.New("body is of another remote write version than its headers say")

	// ErrSymbol is matched by errors about references into the symbol table
	// of a 2.0 request: out of range, or an odd number of them. They concern
	// one series or exemplar; the others of the request are good.
	ErrSymbol = errors.New("invalid symbol reference")

	// ErrLabels is matched by the error about a series or exemplar that has
	// more than MaxLabels labels. The others of the request are good.
	ErrLabels = errors.New("too many labels")

	// ErrHistogram is matched by errors about a histogram whose fields
	// contradict each other in a way that the Prometheus types cannot hold.
	ErrHistogram = errors.New("invalid histogram")
)

var errTooManyLabels = fmt.Errorf("%w: there are more than %d", ErrLabels, MaxLabels)

// SyntaxError says where a body stops being a message and why. It matches
// ErrMalformed.
type SyntaxError struct {
	// Message is the message that was being read, such as "Sample".
	Message string
	// Field is the number of the field in it, zero when its tag is broken.
	Field int
	// Offset is the position in the decompressed body, in bytes.
	Offset int
	// Reason is what is wrong there.
	Reason string
}

func (e *SyntaxError) Error() string {
	if e.Field == 0 {
		return fmt.Sprintf("malformed protobuf: %s in message %s at byte %d", e.Reason, e.Message, e.Offset)
	}
	return fmt.Sprintf("malformed protobuf: %s in field %d of message %s at byte %d", e.Reason, e.Field, e.Message, e.Offset)
}

// Is reports whether target is ErrMalformed.
func (e *SyntaxError) Is(target error) bool { return target == ErrMalformed }
