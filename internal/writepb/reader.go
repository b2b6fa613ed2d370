package writepb

import (
	"encoding/binary"
	"errors"
	"io"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// span is a range of the body, end exclusive. It is kept instead of a slice
// so that the tables of a request hold no pointers.
type span struct{ off, end uint32 }

// reader walks the fields of one message. Its error sticks: after the first
// one every method returns zero values and next returns false.
type reader struct {
	body    []byte
	pos     int
	end     int
	message string
	field   int
	err     error
}

func newReader(body []byte, s span, message string) reader {
	return reader{body: body, pos: int(s.off), end: int(s.end), message: message}
}

func (r *reader) fail(offset int, reason string) {
	if r.err == nil {
		r.err = &SyntaxError{Message: r.message, Field: r.field, Offset: offset, Reason: reason}
	}
	r.pos = r.end
}

// next reads the tag of the next field.
func (r *reader) next() (num int, typ protowire.Type, ok bool) {
	if r.pos >= r.end || r.err != nil {
		return 0, 0, false
	}
	r.field = 0
	start := r.pos
	tag := r.varint()
	if r.err != nil {
		return 0, 0, false
	}
	if tag>>3 < uint64(protowire.MinValidNumber) || tag>>3 > uint64(protowire.MaxValidNumber) {
		r.fail(start, "field number out of range")
		return 0, 0, false
	}
	r.field = int(tag >> 3)
	return r.field, protowire.Type(tag & 7), true
}

func (r *reader) varint() uint64 {
	if r.pos < r.end && r.body[r.pos] < 0x80 {
		v := uint64(r.body[r.pos])
		r.pos++
		return v
	}
	v, n := protowire.ConsumeVarint(r.body[r.pos:r.end])
	if n < 0 {
		r.fail(r.pos, wireReason(n))
		return 0
	}
	r.pos += n
	return v
}

func (r *reader) double() float64 {
	if r.end-r.pos < 8 {
		r.fail(r.pos, "value cut short")
		return 0
	}
	v := binary.LittleEndian.Uint64(r.body[r.pos:])
	r.pos += 8
	return math.Float64frombits(v)
}

// bytes reads a length and returns the range that it covers.
func (r *reader) bytes() span {
	start := r.pos
	n := r.varint()
	if r.err != nil {
		return span{}
	}
	if n > uint64(r.end-r.pos) {
		r.fail(start, "length reaches past the end of the message")
		return span{}
	}
	s := span{uint32(r.pos), uint32(r.pos + int(n))}
	r.pos = int(s.end)
	return s
}

// want reports whether typ is the wire type that the field is declared with.
func (r *reader) want(typ, declared protowire.Type) bool {
	if typ != declared {
		r.fail(r.pos, "wrong wire type")
	}
	return typ == declared
}

func (r *reader) skip(typ protowire.Type) {
	switch typ {
	case protowire.VarintType:
		r.varint()
	case protowire.Fixed64Type:
		r.double()
	case protowire.Fixed32Type:
		if r.end-r.pos < 4 {
			r.fail(r.pos, "value cut short")
			return
		}
		r.pos += 4
	case protowire.BytesType:
		r.bytes()
	case protowire.StartGroupType, protowire.EndGroupType:
		r.fail(r.pos, "group, which remote write does not use")
	default:
		r.fail(r.pos, "unknown wire type")
	}
}

// varints hands every number of a repeated varint field, packed or not, to
// yield.
func (r *reader) varints(typ protowire.Type, yield func(uint64)) {
	if typ != protowire.BytesType {
		if r.want(typ, protowire.VarintType) {
			if v := r.varint(); r.err == nil {
				yield(v)
			}
		}
		return
	}
	packed := newReader(r.body, r.bytes(), r.message)
	packed.field = r.field
	for packed.pos < packed.end && r.err == nil {
		if v := packed.varint(); packed.err == nil {
			yield(v)
		}
	}
	if packed.err != nil {
		r.fail(packed.end, "packed numbers do not fill their length")
	}
}

// integers appends every zigzag number of a repeated varint field, packed or
// not. Packed ones are counted before there is room for them.
func (r *reader) integers(typ protowire.Type, dst []int64) []int64 {
	if typ == protowire.BytesType && dst == nil {
		ahead := *r
		at := ahead.bytes()
		var n int
		for _, b := range ahead.body[at.off:at.end] {
			if b < 0x80 {
				n++
			}
		}
		dst = make([]int64, 0, n)
	}
	r.varints(typ, func(v uint64) { dst = append(dst, protowire.DecodeZigZag(v)) })
	return dst
}

// doubles appends every number of a repeated double field, packed or not.
func (r *reader) doubles(typ protowire.Type, dst []float64) []float64 {
	if typ != protowire.BytesType {
		if r.want(typ, protowire.Fixed64Type) {
			dst = append(dst, r.double())
		}
		return dst
	}
	start := r.pos
	s := r.bytes()
	if (s.end-s.off)%8 != 0 {
		r.fail(start, "packed numbers do not fill their length")
		return dst
	}
	if dst == nil && s.end > s.off {
		dst = make([]float64, 0, (s.end-s.off)/8)
	}
	for ; s.off < s.end; s.off += 8 {
		dst = append(dst, math.Float64frombits(binary.LittleEndian.Uint64(r.body[s.off:])))
	}
	return dst
}

func wireReason(n int) string {
	if errors.Is(protowire.ParseError(n), io.ErrUnexpectedEOF) {
		return "number cut short"
	}
	return "number of more than 64 bits"
}
