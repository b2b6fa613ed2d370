package writepb

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/prometheus/prometheus/prompb"
)

// reencode makes a 1.0 message of a body of either version, as a receiver does
// that hands the series over. Series with bad labels are left out.
func reencode(v Version, body []byte) (message []byte, kept []int, err error) {
	var (
		r       Request
		s       Series
		scratch []Label
		outline Outline
	)
	if err := r.Reset(v, body); err != nil {
		return nil, nil, err
	}
	r.Seed(7)
	for i := range r.NumSeries() {
		if err := r.Series(i, &s); err != nil {
			return nil, nil, err
		}
		ls, err := s.AppendLabels(nil)
		if errors.Is(err, ErrMalformed) {
			return nil, nil, err
		}
		bad := err != nil
		encoded := r.Encoded(i)
		if err := s.Check(scratch); err != nil {
			return nil, nil, err
		}
		if anew := s.AppendV1(nil, ls, scratch); v == V2 || !bad && !dropsExemplars(&s) {
			encoded = anew
		}
		if v == V2 && r.Outline(i, &outline) {
			if bad || fmt.Sprintf("%q", r.OutlinedLabels(&outline, nil)) != fmt.Sprintf("%q", ls) {
				return nil, nil, fmt.Errorf("series %d is outlined with the labels %q, and has %q (%v)", i, r.OutlinedLabels(&outline, nil), ls, err)
			}
			if outline.Single && !bytes.Equal(AppendFloatV1(nil, ls, outline.Float), encoded) {
				return nil, nil, fmt.Errorf("series %d, of one float, is written in two ways", i)
			}
		}
		if !bad {
			message, kept = AppendMessage(message, encoded), append(kept, i)
		}
	}
	return message, kept, nil
}

// dropsExemplars reports whether s has exemplars that are left out when it is
// written anew.
func dropsExemplars(s *Series) bool {
	for _, e := range s.Exemplars {
		if _, _, err := s.Exemplar(e, nil); err != nil {
			return true
		}
	}
	return false
}

// checkReencoded fails t unless what is handed over of a body is a message that
// the oracle decodes to the series of the body.
func checkReencoded(t *testing.T, v Version, body []byte) {
	t.Helper()
	want, wantErr := readAll(v, body)
	message, kept, err := reencode(v, body)
	if err != nil {
		if wantErr == nil {
			t.Fatalf("not handed over, though it can be read: %v", err)
		}
		return
	}
	var got prompb.WriteRequest
	if err := got.Unmarshal(message); err != nil {
		t.Fatalf("the oracle does not take what is handed over: %v", err)
	}
	if wantErr != nil {
		// Only metadata is not looked at before a series is handed over.
		var r Request
		if r.Reset(v, body) != nil || r.NumMetadata() == 0 {
			t.Fatalf("handed over, though it cannot be read: %v", wantErr)
		}
		return
	}
	if len(got.Timeseries) != len(kept) {
		t.Fatalf("%d series were handed over, %d came", len(kept), len(got.Timeseries))
	}
	if v == V1 {
		for i, at := range kept {
			if text := flattenV1(got.Timeseries[i]); text != want.series[at] {
				t.Fatalf("series %d came as\n%s\nwant\n%s", at, text, want.series[at])
			}
		}
		return
	}
	compareV1OfV2(t, body, message, kept)
}

// compareV1OfV2 compares a 1.0 message with what of a 2.0 body has a place in
// 1.0.
func compareV1OfV2(t *testing.T, body, message []byte, kept []int) {
	t.Helper()
	var (
		from, to     Request
		before, then Series
	)
	if err := errors.Join(from.Reset(V2, body), to.Reset(V1, message)); err != nil {
		t.Fatal(err)
	}
	for i, at := range kept {
		if err := errors.Join(from.Series(at, &before), to.Series(i, &then)); err != nil {
			t.Fatal(err)
		}
		// In the order in which Prometheus encodes them exemplars come before
		// histograms, so the texts are made in parts.
		want, got := withoutV2(t, &before), withoutV2(t, &then)
		if got != want {
			t.Fatalf("series %d came as\n%s\nwant\n%s", at, got, want)
		}
	}
}

// withoutV2 is the text of a series without what only 2.0 has.
func withoutV2(t *testing.T, s *Series) string {
	t.Helper()
	s.HasMetadata = false
	for i := range s.Samples {
		s.Samples[i].StartTimestamp = 0
	}
	for i := range s.Histograms {
		s.Histograms[i].StartTimestamp = 0
	}
	var good []Exemplar
	for _, e := range s.Exemplars {
		if _, _, err := s.Exemplar(e, nil); err == nil {
			good = append(good, e)
		}
	}
	s.Exemplars = good
	text, err := flattenSeries(s)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestReencode(t *testing.T) {
	for v, body := range map[Version][]byte{V1: encode(t, requestV1()), V2: encode(t, requestV2())} {
		checkReencoded(t, v, body)
		if _, kept, err := reencode(v, body); err != nil || len(kept) == 0 {
			t.Errorf("%s: %d series are handed over: %v", v, len(kept), err)
		}
		// Cut short anywhere, and with any byte changed.
		for i := range body {
			checkReencoded(t, v, body[:i])
			broken := append([]byte(nil), body...)
			for _, b := range []byte{0, 0x7f, 0x80, 0xff, broken[i] ^ 1, broken[i] + 8} {
				broken[i] = b
				checkReencoded(t, v, broken)
			}
		}
	}
}

func TestCheckAllocatesNothing(t *testing.T) {
	body := encode(t, requestV1())
	var (
		r Request
		s Series
	)
	if err := r.Reset(V1, body); err != nil {
		t.Fatal(err)
	}
	scratch := make([]Label, 0, 16)
	for i := range r.NumSeries() {
		if err := r.Series(i, &s); err != nil {
			t.Fatal(err)
		}
		if n := testing.AllocsPerRun(10, func() {
			if err := s.Check(scratch); err != nil {
				t.Fatal(err)
			}
		}); n > 0 {
			t.Errorf("series %d: %v allocations", i, n)
		}
	}
}
