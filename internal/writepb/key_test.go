package writepb

import (
	"bytes"
	"fmt"
	"math"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// checkOutlines fails t if the outline of a series says anything else than its
// decoding, or if two series of one key differ in what the key stands for.
func checkOutlines(t *testing.T, v Version, body []byte) {
	t.Helper()
	var (
		r     Request
		s     Series
		o     Outline
		known = map[Key]string{}
	)
	if r.Reset(v, body) != nil {
		return
	}
	r.Seed(7)
	for i := range r.NumSeries() {
		ok := r.Outline(i, &o)
		err := r.Series(i, &s)
		if !ok {
			continue
		}
		if o.Single {
			if err != nil {
				t.Fatalf("series %d has one float, and cannot be decoded: %v", i, err)
			}
			if len(s.Samples) != 1 || len(s.Histograms)+len(s.Exemplars) > 0 || !sameSample(s.Samples[0], o.Float) {
				t.Fatalf("series %d has one float %v, and is decoded to %v, %d histograms, %d exemplars", i, o.Float, s.Samples, len(s.Histograms), len(s.Exemplars))
			}
		}
		if err != nil {
			continue
		}
		is := identity(&r, &s)
		var single Series
		if r.Single(&o, &single) {
			if !o.Single || s.HasMetadata || len(single.Samples) != 1 || !sameSample(single.Samples[0], o.Float) || identity(&r, &single) != is || !bytes.Equal(single.rawLabels(), s.rawLabels()) {
				t.Fatalf("series %d is %s %v by its outline, and %s %v", i, identity(&r, &single), single.Samples, is, s.Samples)
			}
		}
		if other, ok := known[o.Key]; ok && other != is {
			t.Fatalf("two series of one key:\n%s\n%s", is, other)
		}
		known[o.Key] = is
	}
}

func sameSample(a, b Sample) bool {
	return a.Timestamp == b.Timestamp && a.StartTimestamp == b.StartTimestamp && math.Float64bits(a.Value) == math.Float64bits(b.Value)
}

// identity writes out what the key of a series stands for.
func identity(r *Request, s *Series) string {
	ls, err := s.AppendLabels(nil)
	text := fmt.Sprintf("%q %v", ls, err == nil) // Errors name places.
	if s.HasMetadata {
		help, errHelp := r.Symbol(s.Metadata.HelpRef)
		unit, errUnit := r.Symbol(s.Metadata.UnitRef)
		text += fmt.Sprintf(" %s %q %q %v", s.Metadata.Type, help, unit, errHelp == nil && errUnit == nil)
	}
	return text
}

// What known writers send has a key, and the same one each time; another order
// of labels, another label, seed, version or metadata has another.
func TestKeys(t *testing.T) {
	v1 := func(series ...[]byte) (out []byte) {
		for _, s := range series {
			out = append(out, field(1, protowire.BytesType, s)...)
		}
		return out
	}
	label := func(name, value string) []byte {
		return field(1, protowire.BytesType, append(field(1, protowire.BytesType, []byte(name)), field(2, protowire.BytesType, []byte(value))...))
	}
	sample := field(2, protowire.BytesType, []byte("\x09\x00\x00\x00\x00\x00\x00\xf0\x3f\x10\x05"))
	join := func(parts ...[]byte) (out []byte) {
		for _, p := range parts {
			out = append(out, p...)
		}
		return out
	}
	keys := func(seed uint64, v Version, body []byte) (out []Outline, ok []bool) {
		var r Request
		if err := r.Reset(v, body); err != nil {
			t.Fatal(err)
		}
		r.Seed(seed)
		for i := range r.NumSeries() {
			var o Outline
			is := r.Outline(i, &o)
			out, ok = append(out, o), append(ok, is)
		}
		return out, ok
	}
	a, b := label("a", "1"), label("b", "2")
	out, ok := keys(1, V1, v1(join(a, b, sample), join(a, b, sample, sample), join(b, a, sample), join(a, sample, b), join(sample)))
	if !ok[0] || !ok[1] || !ok[2] || ok[3] || ok[4] {
		t.Fatalf("outlined %v, want the first three", ok)
	}
	if !out[0].Single || out[0].Float != (Sample{Value: 1, Timestamp: 5}) || out[1].Single || out[0].Key != out[1].Key || out[0].Key == out[2].Key {
		t.Errorf("outlines %v", out)
	}
	if other, _ := keys(2, V1, v1(join(a, b, sample))); other[0].Key == out[0].Key {
		t.Error("the key does not depend on the seed")
	}

	symbols := func(texts ...string) (out []byte) {
		for _, s := range texts {
			out = append(out, field(4, protowire.BytesType, []byte(s))...)
		}
		return out
	}
	v2 := func(refs string, rest ...[]byte) []byte {
		return field(5, protowire.BytesType, join(field(1, protowire.BytesType, []byte(refs)), join(rest...)))
	}
	meta := func(text string) []byte { return field(5, protowire.BytesType, []byte(text)) }
	body := func(series ...[]byte) []byte {
		return join(symbols("", "a", "1", "b", "2", "help", "other"), join(series...))
	}
	out, ok = keys(1, V2, body(
		v2("\x01\x02\x03\x04", sample), v2("\x03\x04\x01\x02", sample),
		v2("\x01\x02\x03\x04", sample, meta("\x08\x01\x18\x05")), v2("\x01\x02\x03\x04", sample, meta("\x08\x01\x18\x06")),
		v2("\x01\x02\x03\x04", sample, meta("\x08\x02\x18\x05")),
		v2("\x01\x02\x03", sample), v2("\x01\x09", sample), v2("\x01\x02", sample, meta("\x18\x09")),
	))
	for i, is := range ok {
		if is != (i < 5) {
			t.Errorf("series %d: outlined %v", i, is)
		}
		for j := range min(i, 5) {
			if i < 5 && out[i].Key == out[j].Key {
				t.Errorf("series %d and %d have one key", i, j)
			}
		}
	}
	// The same labels behind other references have the same key.
	again, _ := keys(1, V2, join(symbols("", "2", "b", "1", "a", "help"), v2("\x04\x03\x02\x01", sample, meta("\x08\x01\x18\x05"))))
	if again[0].Key != out[2].Key || !again[0].Single {
		t.Error("the key depends on the symbol table")
	}
}
