package writepb

import (
	"github.com/prometheus/common/model"
	"google.golang.org/protobuf/encoding/protowire"
)

// Sample is a float. Times are in milliseconds.
type Sample struct {
	Value          float64
	Timestamp      int64
	StartTimestamp int64 // 0 is unknown; always 0 in 1.0
}

// Histogram is a histogram sample that is not decoded yet.
type Histogram struct {
	Timestamp      int64 // milliseconds
	StartTimestamp int64 // milliseconds; 0 is unknown; always 0 in 1.0

	at span
}

// Exemplar is an exemplar that is not decoded yet.
type Exemplar struct{ at span }

// Metadata is what a series of a 2.0 request says about its metric family.
// HelpRef and UnitRef are symbol references in which 0 means absent.
type Metadata struct {
	Type             model.MetricType
	HelpRef, UnitRef uint32
}

// Series is one series of a request. The zero value is ready for
// Request.Series, and may be used again and again.
type Series struct {
	Samples    []Sample
	Histograms []Histogram
	Exemplars  []Exemplar
	// Metadata is meaningful if HasMetadata, which is never so in 1.0.
	Metadata    Metadata
	HasMetadata bool

	req    *Request
	plain  []Label  // 1.0: the labels it starts with, as far as they are decoded
	labels []span   // 1.0: the others
	refs   []uint32 // 2.0
	raw    span     // 1.0: the labels with their tags, if they lie together
	joined bool
	// tooMany labels were sent; those beyond MaxLabels are not kept.
	tooMany bool

	exemplarRefs []uint32 // 2.0: those of the exemplar being decoded
}

// Series decodes series i into s. Its error matches ErrMalformed and leaves s
// in no useful state. Labels are not looked at yet.
func (r *Request) Series(i int, s *Series) error {
	s.reset(r)
	if err := s.makeRoom(r.series[i]); err != nil {
		return err
	}
	rd := newReader(r.body, r.series[i], "TimeSeries")
	if r.version == V2 {
		s.decodeV2(&rd)
	} else {
		s.decodeV1(&rd)
	}
	return rd.err
}

// Single is Series for a series of which Outline has told all but the labels:
// one float without metadata. It returns false of any other, and of labels that
// are not as every known writer puts them.
func (r *Request) Single(o *Outline, s *Series) bool {
	if !o.Single || o.metadata {
		return false
	}
	s.reset(r)
	rd := newReader(r.body, o.labels, "TimeSeries")
	if r.version == V2 {
		s.appendRefs(&rd)
	} else {
		s.leadingLabels(&rd)
	}
	s.Samples = append(s.Samples, o.Float)
	return rd.pos == rd.end
}

// makeRoom makes room for what a long series holds.
func (s *Series) makeRoom(at span) error {
	if at.end-at.off <= fewBytes {
		return nil
	}
	n := countFields(s.req.body, at, "TimeSeries")
	exemplars, histograms := n[3], n[4]
	if s.req.version == V2 {
		exemplars, histograms = n[4], n[3]
	}
	for num := 2; num <= 4; num++ {
		if err := n.limit(num, leastPoint, at, "TimeSeries"); err != nil {
			return err
		}
	}
	s.Samples, s.Exemplars, s.Histograms = room(s.Samples, n[2]), room(s.Exemplars, exemplars), room(s.Histograms, histograms)
	return nil
}

func (s *Series) reset(r *Request) {
	*s = Series{
		Samples: s.Samples[:0], Histograms: s.Histograms[:0], Exemplars: s.Exemplars[:0],
		plain: s.plain[:0], labels: s.labels[:0], refs: s.refs[:0], exemplarRefs: s.exemplarRefs[:0], req: r,
	}
}

// Release drops the request and keeps only the slices for reuse.
func (s *Series) Release() {
	clear(s.plain[:cap(s.plain)])
	s.reset(nil)
}

// Footprint returns the bytes that the slices of s hold on to.
func (s *Series) Footprint() int {
	return 48*cap(s.plain) + 24*(cap(s.Samples)+cap(s.Histograms)) + 8*(cap(s.Exemplars)+cap(s.labels)) + 4*(cap(s.refs)+cap(s.exemplarRefs))
}

func (s *Series) decodeV1(rd *reader) {
	s.leadingLabels(rd)
	for {
		start := uint32(rd.pos)
		num, typ, ok := rd.next()
		if !ok {
			return
		}
		if num > 4 {
			rd.skip(typ)
			continue
		}
		if !rd.want(typ, protowire.BytesType) {
			return
		}
		at := rd.bytes()
		switch num {
		case 1:
			n := len(s.plain) + len(s.labels)
			s.joined = n == 0 || s.joined && s.raw.end == start
			if n == 0 {
				s.raw.off = start
			}
			s.raw.end = at.end
			if n >= MaxLabels {
				s.tooMany = true
				continue
			}
			s.labels = append(s.labels, at)
		case 2:
			s.sample(rd, at, V1)
		case 3:
			s.Exemplars = append(s.Exemplars, Exemplar{at})
		case 4:
			s.histogram(rd, at, V1)
		}
	}
}

func (s *Series) decodeV2(rd *reader) {
	s.leadingRefs(rd)
	for {
		num, typ, ok := rd.next()
		if !ok {
			return
		}
		switch num {
		case 1:
			rd.varints(typ, func(v uint64) {
				if len(s.refs) >= 2*MaxLabels {
					s.tooMany = true
					return
				}
				s.refs = append(s.refs, uint32(v))
			})
		case 2:
			if rd.want(typ, protowire.BytesType) {
				s.sample(rd, rd.bytes(), V2)
			}
		case 3:
			if rd.want(typ, protowire.BytesType) {
				s.histogram(rd, rd.bytes(), V2)
			}
		case 4:
			if rd.want(typ, protowire.BytesType) {
				s.Exemplars = append(s.Exemplars, Exemplar{rd.bytes()})
			}
		case 5:
			if rd.want(typ, protowire.BytesType) {
				s.metadata(rd, rd.bytes())
			}
		default:
			rd.skip(typ)
		}
	}
}

func (s *Series) sample(parent *reader, at span, v Version) {
	if parent.err != nil {
		return
	}
	var out Sample
	if outlineSample(parent.body, at, &out, v) {
		s.Samples = append(s.Samples, out)
		return
	}
	out = Sample{}
	rd := newReader(parent.body, at, "Sample")
	for {
		num, typ, ok := rd.next()
		if !ok {
			break
		}
		switch {
		case num == 1:
			if rd.want(typ, protowire.Fixed64Type) {
				out.Value = rd.double()
			}
		case num == 2:
			if rd.want(typ, protowire.VarintType) {
				out.Timestamp = int64(rd.varint())
			}
		case num == 3 && v == V2:
			if rd.want(typ, protowire.VarintType) {
				out.StartTimestamp = int64(rd.varint())
			}
		default:
			rd.skip(typ)
		}
	}
	parent.adopt(&rd)
	s.Samples = append(s.Samples, out)
}

func (s *Series) metadata(parent *reader, at span) {
	if parent.err != nil {
		return
	}
	if !s.HasMetadata {
		s.HasMetadata, s.Metadata.Type = true, model.MetricTypeUnknown
	}
	rd := newReader(parent.body, at, "Metadata")
	for {
		num, typ, ok := rd.next()
		if !ok {
			break
		}
		switch num {
		case 1:
			if rd.want(typ, protowire.VarintType) {
				s.Metadata.Type = metricType(int32(rd.varint()))
			}
		case 3:
			if rd.want(typ, protowire.VarintType) {
				s.Metadata.HelpRef = uint32(rd.varint())
			}
		case 4:
			if rd.want(typ, protowire.VarintType) {
				s.Metadata.UnitRef = uint32(rd.varint())
			}
		default:
			rd.skip(typ)
		}
	}
	parent.adopt(&rd)
}

// adopt takes over the error of a message inside the one that r reads.
func (r *reader) adopt(inner *reader) {
	if inner.err != nil && r.err == nil {
		r.err, r.pos = inner.err, r.end
	}
}
