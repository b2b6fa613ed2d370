package writepb

import "google.golang.org/protobuf/encoding/protowire"

// DecodedExemplar is an exemplar. Its timestamp is in milliseconds, 0 if it
// has none.
type DecodedExemplar struct {
	Value     float64
	Timestamp int64
}

// Exemplar decodes e, which is one of s.Exemplars, and appends its labels to
// dst in the order they were sent. The bytes of the labels belong to the body.
// The error matches ErrLabels, ErrSymbol or ErrMalformed.
func (s *Series) Exemplar(e Exemplar, dst []Label) (DecodedExemplar, []Label, error) {
	var (
		out DecodedExemplar
		err error
		// Those beyond MaxLabels are not kept.
		tooMany bool
		first   = len(dst)
	)
	s.exemplarRefs = s.exemplarRefs[:0]
	rd := newReader(s.req.body, e.at, "Exemplar")
	for {
		num, typ, ok := rd.next()
		if !ok {
			break
		}
		switch {
		case num == 1 && s.req.version == V2:
			rd.varints(typ, func(v uint64) {
				if len(s.exemplarRefs) >= 2*MaxLabels {
					tooMany = true
					return
				}
				s.exemplarRefs = append(s.exemplarRefs, uint32(v))
			})
		case num == 1:
			if rd.want(typ, protowire.BytesType) {
				var l Label
				at := rd.bytes()
				if rd.err != nil {
					break
				}
				if l, err = s.req.label(at); err != nil {
					return out, dst, err
				}
				if len(dst)-first >= MaxLabels {
					tooMany = true
					break
				}
				dst = append(dst, l)
			}
		case num == 2:
			if rd.want(typ, protowire.Fixed64Type) {
				out.Value = rd.double()
			}
		case num == 3:
			if rd.want(typ, protowire.VarintType) {
				out.Timestamp = int64(rd.varint())
			}
		default:
			rd.skip(typ)
		}
	}
	if rd.err != nil {
		return out, dst, rd.err
	}
	if tooMany {
		return out, dst, errTooManyLabels
	}
	if len(s.exemplarRefs) > 0 {
		dst, err = s.req.appendRefs(dst, s.exemplarRefs)
	}
	return out, dst, err
}
