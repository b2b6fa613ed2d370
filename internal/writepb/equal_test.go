package writepb

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"google.golang.org/protobuf/encoding/protowire"
)

// checkV1 fails t unless body decodes to what Prometheus' generated code, the
// oracle, makes of it.
func checkV1(t *testing.T, body []byte) {
	t.Helper()
	var want prompb.WriteRequest
	wantErr := want.Unmarshal(body)
	checkOutlines(t, V1, body)
	got, err := readAll(V1, body)
	if errors.Is(err, ErrOtherVersion) {
		if wantErr == nil && len(want.Timeseries)+len(want.Metadata) > 0 {
			t.Fatalf("taken for the other version: %v", want)
		}
		return
	}
	if !agreeOnError(t, V1, body, err, wantErr) {
		return
	}
	var flat flatRequest
	for _, ts := range want.Timeseries {
		flat.series = append(flat.series, flattenV1(ts))
	}
	for _, m := range want.Metadata {
		flat.metadata = append(flat.metadata, fmt.Sprintf("%s %q %q %q", metricType(int32(m.Type)), m.MetricFamilyName, m.Help, m.Unit))
	}
	compareFlat(t, got, flat)
}

func checkV2(t *testing.T, body []byte) {
	t.Helper()
	var want writev2.Request
	wantErr := want.Unmarshal(body)
	checkOutlines(t, V2, body)
	got, err := readAll(V2, body)
	if errors.Is(err, ErrOtherVersion) {
		if wantErr == nil && len(want.Timeseries)+len(want.Symbols) > 0 {
			t.Fatalf("taken for the other version: %v", want)
		}
		return
	}
	if !agreeOnError(t, V2, body, err, wantErr) {
		return
	}
	var flat flatRequest
	for _, ts := range want.Timeseries {
		flat.series = append(flat.series, flattenV2(ts, want.Symbols))
	}
	compareFlat(t, got, flat)
}

// agreeOnError reports whether both decoders took the body. Ours may refuse
// more, but only what the package documentation lists.
func agreeOnError(t *testing.T, v Version, body []byte, err, oracle error) bool {
	t.Helper()
	switch {
	case err == nil && oracle == nil:
		return true
	case err == nil:
		t.Fatalf("decoded a body that the oracle refuses: %v", oracle)
	case !errors.Is(err, ErrMalformed):
		t.Fatalf("error %v does not match ErrMalformed", err)
	case oracle == nil:
		var syntax *SyntaxError
		if !errors.As(err, &syntax) {
			t.Fatalf("error %v is no SyntaxError", err)
		}
		switch syntax.Reason {
		case "group, which remote write does not use", "field number out of range", "number of more than 64 bits",
			"packed numbers do not fill their length", tooManyElements:
		default:
			if !packedRunsOver(v, body) {
				t.Fatalf("refused a body that the oracle decodes: %v", err)
			}
		}
	}
	return false
}

// packedRunsOver reports whether the last number of a packed field of a histogram
// is longer than the field. The oracle reads on behind it, and from there on sees
// other fields than anybody else.
func packedRunsOver(v Version, body []byte) bool {
	var r Request
	if r.Reset(v, body) != nil {
		return false
	}
	histograms := map[Version]int{V1: 4, V2: 3}[v]
	for _, at := range r.series {
		for rd := newReader(body, at, "TimeSeries"); ; {
			num, typ, ok := rd.next()
			if !ok {
				break
			}
			if num == histograms && typ == protowire.BytesType && histogramRunsOver(newReader(body, rd.bytes(), "Histogram")) {
				return true
			} else if num != histograms {
				rd.skip(typ)
			}
		}
	}
	return false
}

func histogramRunsOver(rd reader) bool {
	for {
		num, typ, ok := rd.next()
		if !ok {
			return false
		}
		if typ != protowire.BytesType {
			rd.skip(typ)
			continue
		}
		at := rd.bytes()
		switch num {
		case fieldNegativeDeltas, fieldPositiveDeltas:
			if at.end > at.off && rd.body[at.end-1] >= 0x80 {
				return true
			}
		case fieldNegativeCounts, fieldPositiveCounts, fieldCustomValues:
			if (at.end-at.off)%8 != 0 {
				return true
			}
		}
	}
}

// flatRequest is a request as text, so that both decoders can be compared
// without caring for nil and empty.
type flatRequest struct{ series, metadata []string }

func compareFlat(t *testing.T, got, want flatRequest) {
	t.Helper()
	if len(got.series) != len(want.series) || len(got.metadata) != len(want.metadata) {
		t.Fatalf("%d series and %d metadata, want %d and %d", len(got.series), len(got.metadata), len(want.series), len(want.metadata))
	}
	for i := range got.series {
		if got.series[i] != want.series[i] {
			t.Fatalf("series %d:\n got %s\nwant %s", i, got.series[i], want.series[i])
		}
	}
	for i := range got.metadata {
		if got.metadata[i] != want.metadata[i] {
			t.Fatalf("metadata %d:\n got %s\nwant %s", i, got.metadata[i], want.metadata[i])
		}
	}
}

func readAll(v Version, body []byte) (flatRequest, error) {
	var (
		r   Request
		s   Series
		out flatRequest
	)
	if err := r.Reset(v, body); err != nil {
		return out, err
	}
	for i := range r.NumSeries() {
		if err := r.Series(i, &s); err != nil {
			return out, err
		}
		text, err := flattenSeries(&s)
		if err != nil {
			return out, err
		}
		out.series = append(out.series, text)
	}
	for i := range r.NumMetadata() {
		m, err := r.Metadata(i)
		if err != nil {
			return out, err
		}
		out.metadata = append(out.metadata, fmt.Sprintf("%s %q %q %q", m.Type, m.Family, m.Help, m.Unit))
	}
	return out, nil
}

func flattenSeries(s *Series) (string, error) {
	ls, err := s.AppendLabels(nil)
	if errors.Is(err, ErrMalformed) {
		return "", err
	}
	text := flatLabels(ls, err)
	for _, p := range s.Samples {
		text += fmt.Sprintf(" s(%x %d %d)", math.Float64bits(p.Value), p.Timestamp, p.StartTimestamp)
	}
	for _, raw := range s.Histograms {
		h, fh, err := s.Histogram(raw)
		if errors.Is(err, ErrMalformed) {
			return "", err
		}
		text += flatHistogram(raw.Timestamp, raw.StartTimestamp, h, fh, err)
	}
	for _, raw := range s.Exemplars {
		e, ls, err := s.Exemplar(raw, nil)
		if errors.Is(err, ErrMalformed) {
			return "", err
		}
		text += fmt.Sprintf(" e(%s %x %d)", flatLabels(ls, err), math.Float64bits(e.Value), e.Timestamp)
	}
	if s.HasMetadata {
		text += flatMetadata(s.Metadata.Type, s.Metadata.HelpRef, s.Metadata.UnitRef)
	}
	return text, nil
}

func flatMetadata(typ model.MetricType, help, unit uint32) string {
	if typ == model.MetricTypeUnknown && help == 0 && unit == 0 {
		return ""
	}
	return fmt.Sprintf(" m(%s %d %d)", typ, help, unit)
}

func flatLabels(ls []Label, err error) string {
	if err != nil {
		return "{bad}"
	}
	text := "{"
	for _, l := range ls {
		text += fmt.Sprintf("%q=%q,", l.Name, l.Value)
	}
	return text + "}"
}

func flatHistogram(t, st int64, h *histogram.Histogram, fh *histogram.FloatHistogram, err error) string {
	switch {
	case err != nil:
		return fmt.Sprintf(" h(%d %d mixed)", t, st)
	case fh != nil:
		return fmt.Sprintf(" fh(%d %d %d %d %x %x %x %x %v %v %x %x %x)", t, st, fh.CounterResetHint, fh.Schema, fh.ZeroThreshold,
			math.Float64bits(fh.ZeroCount), math.Float64bits(fh.Count), math.Float64bits(fh.Sum),
			fh.PositiveSpans, fh.NegativeSpans, fh.PositiveBuckets, fh.NegativeBuckets, fh.CustomValues)
	}
	return fmt.Sprintf(" h(%d %d %d %d %x %d %d %x %v %v %v %v %x)", t, st, h.CounterResetHint, h.Schema, h.ZeroThreshold,
		h.ZeroCount, h.Count, math.Float64bits(h.Sum),
		h.PositiveSpans, h.NegativeSpans, h.PositiveBuckets, h.NegativeBuckets, h.CustomValues)
}

func flattenV1(ts prompb.TimeSeries) string {
	text := flatLabels(labelsV1(ts.Labels), nil)
	for _, p := range ts.Samples {
		text += fmt.Sprintf(" s(%x %d 0)", math.Float64bits(p.Value), p.Timestamp)
	}
	for _, h := range ts.Histograms {
		mixed := isMixed(h.IsFloatHistogram(), len(h.NegativeDeltas)+len(h.PositiveDeltas), len(h.NegativeCounts)+len(h.PositiveCounts),
			h.GetZeroCountInt(), h.GetZeroCountFloat())
		if h.ResetHint < 0 || h.ResetHint > 3 {
			h.ResetHint = 0
		}
		if h.IsFloatHistogram() {
			text += flatHistogram(h.Timestamp, 0, nil, h.ToFloatHistogram(), mixed)
		} else {
			text += flatHistogram(h.Timestamp, 0, h.ToIntHistogram(), nil, mixed)
		}
	}
	for _, e := range ts.Exemplars {
		text += fmt.Sprintf(" e(%s %x %d)", flatLabels(labelsV1(e.Labels), nil), math.Float64bits(e.Value), e.Timestamp)
	}
	return text
}

func labelsV1(in []prompb.Label) (out []Label) {
	for _, l := range in {
		out = append(out, Label{[]byte(l.Name), []byte(l.Value)})
	}
	return out
}

func flattenV2(ts writev2.TimeSeries, symbols []string) string {
	text := flatLabels(labelsV2(ts.LabelsRefs, symbols))
	for _, p := range ts.Samples {
		text += fmt.Sprintf(" s(%x %d %d)", math.Float64bits(p.Value), p.Timestamp, p.StartTimestamp)
	}
	for _, h := range ts.Histograms {
		mixed := isMixed(h.IsFloatHistogram(), len(h.NegativeDeltas)+len(h.PositiveDeltas), len(h.NegativeCounts)+len(h.PositiveCounts),
			h.GetZeroCountInt(), h.GetZeroCountFloat())
		if h.ResetHint < 0 || h.ResetHint > 3 {
			h.ResetHint = 0
		}
		if h.IsFloatHistogram() {
			text += flatHistogram(h.Timestamp, h.StartTimestamp, nil, h.ToFloatHistogram(), mixed)
		} else {
			text += flatHistogram(h.Timestamp, h.StartTimestamp, h.ToIntHistogram(), nil, mixed)
		}
	}
	for _, e := range ts.Exemplars {
		text += fmt.Sprintf(" e(%s %x %d)", flatLabels(labelsV2(e.LabelsRefs, symbols)), math.Float64bits(e.Value), e.Timestamp)
	}
	return text + flatMetadata(metricType(int32(ts.Metadata.Type)), ts.Metadata.HelpRef, ts.Metadata.UnitRef)
}

func labelsV2(refs []uint32, symbols []string) (out []Label, err error) {
	if len(refs)%2 != 0 {
		return nil, ErrSymbol
	}
	for i := 0; i < len(refs); i += 2 {
		if int(refs[i]) >= len(symbols) || int(refs[i+1]) >= len(symbols) {
			return nil, ErrSymbol
		}
		out = append(out, Label{[]byte(symbols[refs[i]]), []byte(symbols[refs[i+1]])})
	}
	return out, nil
}

func isMixed(float bool, deltas, counts int, zeroInt uint64, zeroFloat float64) error {
	if float && (deltas > 0 || zeroInt != 0) || !float && (counts > 0 || zeroFloat != 0) {
		return ErrHistogram
	}
	return nil
}
