package writepb

import (
	"encoding/binary"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// Label is a name and a value as they stand in the body.
type Label struct{ Name, Value []byte }

// rawLabels returns the labels of a 1.0 series as they are encoded, tags and
// lengths included, if they lie together as every known writer puts them; nil
// otherwise, and always nil in 2.0. Equal bytes mean equal labels in equal
// order. The bytes belong to the body.
func (s *Series) rawLabels() []byte {
	if !s.joined {
		return nil
	}
	return s.req.slice(s.raw)
}

// ASCII reports whether it is certain that the labels of s have no bytes but
// those of ASCII characters, and so are valid UTF-8.
func (s *Series) ASCII() bool {
	if s.req.version == V2 {
		return s.req.symbolsASCII()
	}
	raw := s.rawLabels()
	return raw != nil && ascii(raw)
}

// symbolsASCII looks at the symbols of a request once.
func (r *Request) symbolsASCII() bool {
	if !r.looked {
		r.looked, r.ascii = true, true
		for _, at := range r.texts {
			r.ascii = r.ascii && ascii(r.body[at.off:at.end])
		}
	}
	return r.ascii
}

func ascii(b []byte) bool {
	var all uint64
	for len(b) >= 8 {
		all |= binary.LittleEndian.Uint64(b)
		b = b[8:]
	}
	for _, c := range b {
		all |= uint64(c)
	}
	return all&0x8080808080808080 == 0
}

// AppendLabels appends the labels of s to dst in the order they were sent,
// unchecked but for their references. The bytes belong to the body. The error
// matches ErrLabels, ErrSymbol or ErrMalformed.
func (s *Series) AppendLabels(dst []Label) ([]Label, error) {
	if s.tooMany {
		return dst, errTooManyLabels
	}
	if s.req.version == V2 {
		return s.req.appendRefs(dst, s.refs)
	}
	dst = append(dst, s.plain...)
	for _, at := range s.labels {
		l, err := s.req.label(at)
		if err != nil {
			return dst, err
		}
		dst = append(dst, l)
	}
	return dst, nil
}

func (r *Request) appendRefs(dst []Label, refs []uint32) ([]Label, error) {
	if len(refs)%2 != 0 {
		return dst, fmt.Errorf("%w: %d references do not make pairs of name and value", ErrSymbol, len(refs))
	}
	for i := 0; i < len(refs); i += 2 {
		name, err := r.Symbol(refs[i])
		if err != nil {
			return dst, err
		}
		value, err := r.Symbol(refs[i+1])
		if err != nil {
			return dst, err
		}
		dst = append(dst, Label{name, value})
	}
	return dst, nil
}

func (r *Request) label(at span) (Label, error) {
	if l, ok := r.plainLabel(at); ok {
		return l, nil
	}
	var l Label
	rd := newReader(r.body, at, "Label")
	for {
		num, typ, ok := rd.next()
		if !ok {
			return l, rd.err
		}
		if num != 1 && num != 2 {
			rd.skip(typ)
			continue
		}
		if !rd.want(typ, protowire.BytesType) {
			continue
		}
		if b := r.slice(rd.bytes()); num == 1 {
			l.Name = b
		} else {
			l.Value = b
		}
	}
}

// plainLabel decodes a label that has a name and a value and nothing else, as
// every known writer puts it.
func (r *Request) plainLabel(at span) (l Label, ok bool) {
	pos, end := int(at.off), int(at.end)
	if pos >= end || r.body[pos] != tagName {
		return l, false
	}
	name, pos := fieldAt(r.body, pos, end)
	if pos < 0 || pos >= end || r.body[pos] != tagValue {
		return l, false
	}
	value, pos := fieldAt(r.body, pos, end)
	if pos != end {
		return l, false
	}
	return Label{r.slice(name), r.slice(value)}, true
}

// leadingLabels decodes the labels that a 1.0 series starts with, as far as they
// are as every known writer puts them. New series are all labels: this is several
// times faster than the reader.
func (s *Series) leadingLabels(rd *reader) {
	start, pos := rd.pos, rd.pos
	for pos < rd.end && rd.body[pos] == tagLabels && len(s.plain) < MaxLabels {
		at, next := fieldAt(rd.body, pos, rd.end)
		if next < 0 {
			break // The reader says what is wrong.
		}
		l, ok := s.req.plainLabel(at)
		if !ok {
			break
		}
		s.plain = append(s.plain, l)
		pos = next
	}
	rd.pos = pos
	if pos > start {
		s.joined, s.raw = true, span{uint32(start), uint32(pos)}
	}
}

// leadingRefs decodes the references that a 2.0 series starts with, if they are
// as every known writer puts them.
func (s *Series) leadingRefs(rd *reader) {
	if rd.pos >= rd.end || rd.body[rd.pos] != tagLabels {
		return
	}
	at, next := fieldAt(rd.body, rd.pos, rd.end)
	if next < 0 {
		return
	}
	packed := newReader(rd.body, at, rd.message)
	if s.appendRefs(&packed); packed.pos < packed.end {
		s.refs = s.refs[:0] // The reader says what is wrong.
		return
	}
	rd.pos = next
}

// appendRefs decodes references up to the end, or to one that is not as known
// writers put them.
func (s *Series) appendRefs(rd *reader) {
	for rd.pos < rd.end && len(s.refs) < 2*MaxLabels {
		ref, next := shortVarint(rd.body, rd.pos, rd.end)
		if next < 0 {
			return
		}
		s.refs = append(s.refs, uint32(ref))
		rd.pos = next
	}
}
