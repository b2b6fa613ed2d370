package writepb

import (
	"bytes"
	"errors"
	"runtime"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// allocated returns the bytes that f allocates, whether it keeps them or not.
func allocated(f func()) int {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int(after.TotalAlloc - before.TotalAlloc)
}

// decodeTables reads all that takes memory in proportion to the body.
func decodeTables(v Version, body []byte) (err error) {
	var (
		r  Request
		s  Series
		ls []Label
	)
	if err := r.Reset(v, body); err != nil {
		return err
	}
	for i := range r.NumSeries() {
		if err := r.Series(i, &s); err != nil {
			return err
		}
		if ls, err = s.AppendLabels(ls[:0]); err != nil {
			return err
		}
		for _, e := range s.Exemplars {
			if _, ls, err = s.Exemplar(e, ls[:0]); err != nil {
				return err
			}
		}
		for _, h := range s.Histograms {
			if _, _, err := s.Histogram(h); err != nil {
				return err
			}
		}
	}
	return nil
}

// A body full of elements with nothing in them does not take many times its
// size.
func TestEmptyElementsTakeLittle(t *testing.T) {
	const size = 1 << 20
	fill := func(element string) []byte { return bytes.Repeat([]byte(element), size/len(element)) }
	series := func(v Version, payload []byte) []byte {
		return field(map[Version]protowire.Number{V1: 1, V2: 5}[v], protowire.BytesType, payload)
	}
	inside := func(v Version, num protowire.Number, payload []byte) []byte {
		return series(v, field(num, protowire.BytesType, payload))
	}
	for _, tc := range []struct {
		name string
		v    Version
		body []byte
		want error
		text string
	}{
		{"series 1.0", V1, fill("\x0a\x00"), ErrMalformed, "in earnest in field 1 of message WriteRequest"},
		{"series 2.0", V2, fill("\x2a\x00"), ErrMalformed, "in earnest in field 5 of message Request"},
		{"symbols", V2, fill("\x22\x00"), ErrMalformed, "in earnest in field 4"},
		{"metadata", V1, fill("\x1a\x00"), ErrMalformed, "in earnest in field 3"},
		{"samples 1.0", V1, series(V1, fill("\x12\x00")), ErrMalformed, "in earnest in field 2 of message TimeSeries"},
		{"samples 2.0", V2, series(V2, fill("\x12\x00")), ErrMalformed, "in earnest in field 2 of message TimeSeries"},
		{"histograms 1.0", V1, series(V1, fill("\x22\x00")), ErrMalformed, "in earnest in field 4 of message TimeSeries"},
		{"histograms 2.0", V2, series(V2, fill("\x1a\x00")), ErrMalformed, "in earnest in field 3 of message TimeSeries"},
		{"exemplars 1.0", V1, series(V1, fill("\x1a\x00")), ErrMalformed, "in earnest in field 3 of message TimeSeries"},
		{"exemplars 2.0", V2, series(V2, fill("\x22\x00")), ErrMalformed, "in earnest in field 4 of message TimeSeries"},
		{"labels 1.0", V1, series(V1, fill("\x0a\x00")), ErrLabels, "4096"},
		{"labels 2.0", V2, inside(V2, 1, fill("\x01")), ErrLabels, "4096"},
		{"labels 2.0, not packed", V2, series(V2, fill("\x08\x01")), ErrLabels, "4096"},
		{"labels of an exemplar 1.0", V1, inside(V1, 3, fill("\x0a\x00")), ErrLabels, "4096"},
		{"labels of an exemplar 2.0", V2, inside(V2, 4, field(1, protowire.BytesType, fill("\x01"))), ErrLabels, "4096"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var err error
			took := allocated(func() { err = decodeTables(tc.v, tc.body) })
			if !errors.Is(err, tc.want) || err != nil && !strings.Contains(err.Error(), tc.text) {
				t.Errorf("got error %v, want %v with %q", err, tc.want, tc.text)
			}
			if took > size {
				t.Errorf("%d bytes took %d bytes", len(tc.body), took)
			}
		})
	}
}

// The smallest elements that mean something are taken in any number, and there
// is room made for them once.
func TestSmallElementsInNumbers(t *testing.T) {
	const n = 100_000
	at := field(2, protowire.VarintType, varint(1_700_000_000_000))
	sample := field(2, protowire.BytesType, at)
	one := append(field(1, protowire.BytesType, []byte{1, 0}), sample...)
	var symbols []byte
	for i := range 1 << 16 {
		symbols = append(symbols, field(4, protowire.BytesType, []byte{byte(i), byte(i >> 8)})...)
	}
	deltas := field(1, protowire.BytesType, field(4, protowire.BytesType, field(12, protowire.BytesType, bytes.Repeat([]byte{2}, 1<<20))))
	for _, tc := range []struct {
		name  string
		v     Version
		body  []byte
		times int // of the body, that the tables may take
	}{
		{"samples", V1, field(1, protowire.BytesType, bytes.Repeat(sample, n)), 4},
		{"series", V2, append(bytes.Clone(symbols), bytes.Repeat(field(5, protowire.BytesType, one), n)...), 3},
		{"symbols", V2, symbols, 3},
		{"buckets", V1, deltas, 9},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var err error
			took := allocated(func() { err = decodeTables(tc.v, tc.body) })
			if err != nil {
				t.Fatal(err)
			}
			if took > tc.times*len(tc.body) {
				t.Errorf("%d bytes took %d bytes, want no more than %d times that", len(tc.body), took, tc.times)
			}
		})
	}
}
