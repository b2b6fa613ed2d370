package grpcwire

import (
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// ErrMalformed is what bytes are that are no protobuf message.
var ErrMalformed = errors.New("the message is malformed")

// Field is one field of a message.
type Field struct {
	Num    protowire.Number
	Type   protowire.Type
	Bytes  []byte // of BytesType; they point into the message
	Number uint64 // of VarintType and Fixed64Type
	End    int    // where the next field begins
}

// Is tells whether it is the field num, and of the type it should have. One of
// another type is to be passed over, as an unknown one is.
func (f Field) Is(num protowire.Number, typ protowire.Type) bool {
	return f.Num == num && f.Type == typ
}

// Float is the number of a field of type double.
func (f Field) Float() float64 { return math.Float64frombits(f.Number) }

// Next reads the field at pos of a message that goes on there. The error is
// ErrMalformed.
func Next(body []byte, pos int) (f Field, err error) {
	n := 0
	if f.Num, f.Type, n = protowire.ConsumeTag(body[pos:]); n < 0 {
		return f, malformed(pos, n)
	}
	if f.Num > protowire.MaxValidNumber {
		return f, fmt.Errorf("%w: at byte %d: %d is not the number of a field", ErrMalformed, pos, f.Num)
	}
	at := pos + n
	switch f.Type {
	case protowire.BytesType:
		f.Bytes, n = protowire.ConsumeBytes(body[at:])
	case protowire.VarintType:
		f.Number, n = protowire.ConsumeVarint(body[at:])
	case protowire.Fixed64Type:
		f.Number, n = protowire.ConsumeFixed64(body[at:])
	default:
		n = protowire.ConsumeFieldValue(f.Num, f.Type, body[at:])
	}
	if n < 0 {
		return f, malformed(at, n)
	}
	f.End = at + n
	return f, nil
}

// Each calls use with each field of a message, until it returns an error.
func Each(body []byte, use func(Field) error) error {
	for pos := 0; pos < len(body); {
		f, err := Next(body, pos)
		if err != nil {
			return err
		}
		if err := use(f); err != nil {
			return err
		}
		pos = f.End
	}
	return nil
}

func malformed(pos, code int) error {
	return fmt.Errorf("%w: at byte %d: %w", ErrMalformed, pos, protowire.ParseError(code))
}
