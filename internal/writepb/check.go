package writepb

import (
	"errors"

	"github.com/prometheus/prometheus/model/histogram"
	"google.golang.org/protobuf/encoding/protowire"
)

// Check walks what Request.Series has left undecoded but for the labels:
// histograms and exemplars. If it returns nil and AppendLabels no error that
// matches ErrMalformed, every decoder takes the series. dst is room for labels.
func (s *Series) Check(dst []Label) error {
	for _, h := range s.Histograms {
		if err := s.checkHistogram(h); err != nil {
			return err
		}
	}
	for _, e := range s.Exemplars {
		// The references of 2.0 are the one thing that no decoder of the message
		// minds.
		if _, _, err := s.Exemplar(e, dst[:0]); errors.Is(err, ErrMalformed) {
			return err
		}
	}
	return nil
}

// checkHistogram finds what Histogram finds, and allocates nothing.
func (s *Series) checkHistogram(h Histogram) error {
	var raw rawHistogram
	rd := newReader(s.req.body, h.at, "Histogram")
	for {
		num, typ, ok := rd.next()
		if !ok {
			return rd.err
		}
		switch num {
		case fieldNegativeSpans, fieldPositiveSpans:
			var one [1]histogram.Span
			rd.bucketSpan(typ, one[:0])
		case fieldNegativeDeltas, fieldPositiveDeltas:
			rd.varints(typ, func(uint64) {})
		case fieldNegativeCounts, fieldPositiveCounts, fieldCustomValues:
			rd.checkDoubles(typ)
		default:
			raw.scalar(&rd, num, typ)
		}
	}
}

// checkDoubles skips what doubles reads.
func (r *reader) checkDoubles(typ protowire.Type) {
	if typ != protowire.BytesType {
		if r.want(typ, protowire.Fixed64Type) {
			r.double()
		}
		return
	}
	start := r.pos
	if s := r.bytes(); (s.end-s.off)%8 != 0 {
		r.fail(start, "packed numbers do not fill their length")
	}
}
