package receive

import (
	"math"
	"testing"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

func rwHistogram() *histogram.Histogram {
	return &histogram.Histogram{
		Schema: 1, Count: 10, Sum: 18.4, ZeroThreshold: 0.001, ZeroCount: 2,
		PositiveSpans: []histogram.Span{{Offset: 0, Length: 2}, {Offset: 1, Length: 2}}, PositiveBuckets: []int64{1, 1, -1, 0},
		NegativeSpans: []histogram.Span{{Offset: 0, Length: 1}}, NegativeBuckets: []int64{3},
	}
}

func rwFloatHistogram() *histogram.FloatHistogram { return rwHistogram().ToFloat(nil) }

func rwCustomHistogram() *histogram.Histogram {
	return &histogram.Histogram{
		Schema: histogram.CustomBucketsSchema, Count: 5, Sum: 18.4, CustomValues: []float64{0.5, 1, 2},
		PositiveSpans: []histogram.Span{{Offset: 0, Length: 4}}, PositiveBuckets: []int64{1, 1, -1, 0},
	}
}

// rwFine has more resolution than Prometheus keeps.
func rwFine() *histogram.Histogram {
	h := rwHistogram()
	h.Schema = 10
	return h
}

func TestHistogramsAreKept(t *testing.T) {
	at := nowMs()
	reduced := rwFine()
	if err := reduced.ReduceResolution(8); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		in   prompb.Histogram
		h    *histogram.Histogram
		fh   *histogram.FloatHistogram
	}{
		{"integer", prompb.FromIntHistogram(at, rwHistogram()), rwHistogram(), nil},
		{"float", prompb.FromFloatHistogram(at, rwFloatHistogram()), nil, rwFloatHistogram()},
		{"custom buckets", prompb.FromIntHistogram(at, rwCustomHistogram()), rwCustomHistogram(), nil},
		{"custom buckets, float", prompb.FromFloatHistogram(at, rwCustomHistogram().ToFloat(nil)), nil, rwCustomHistogram().ToFloat(nil)},
		{"too fine", prompb.FromIntHistogram(at, rwFine()), reduced, nil},
		{"too fine, float", prompb.FromFloatHistogram(at, rwFine().ToFloat(nil)), nil, reduced.ToFloat(nil)},
		{"stale", prompb.FromIntHistogram(at, &histogram.Histogram{Sum: staleNaN}), &histogram.Histogram{Sum: staleNaN}, nil},
		{"no observations", prompb.FromFloatHistogram(at, &histogram.FloatHistogram{}), nil, &histogram.FloatHistogram{}},
		{"unknown reset hint", prompb.Histogram{Timestamp: at, ResetHint: 99}, &histogram.Histogram{}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			msg := v1(v1Series(named("m")))
			msg.Timeseries[0].Histograms = []prompb.Histogram{tc.in}
			bothVersions(t, msg, func(t *testing.T, req rwRequest) {
				to := newFakeStorage()
				rec := req.send(t, newTestHandler(t, to, HandlerOptions{}))
				wantAnswer(t, rec, 204)
				if req.typ == "" && rec.Header().Get(headerHistogramsWritten) != "" {
					wantWritten(t, rec, 0, 1, 0)
				}
				if len(to.stored) != 1 {
					t.Fatalf("stored %v", to.stored)
				}
				got := to.stored[0]
				want := sampleValue{h: tc.h, fh: tc.fh}
				if got.t != at || (got.val.fh != nil) != (tc.fh != nil) || !got.val.equal(want) {
					t.Errorf("stored %v, want %v %v", got, tc.h, tc.fh)
				}
				if tc.h != nil && got.val.h.CounterResetHint != tc.h.CounterResetHint {
					t.Errorf("reset hint %d, want %d", got.val.h.CounterResetHint, tc.h.CounterResetHint)
				}
			})
		})
	}
}

func TestHistogramsAreValidated(t *testing.T) {
	at := nowMs()
	broken := func(change func(*histogram.Histogram)) prompb.Histogram {
		h := rwHistogram()
		change(h)
		return prompb.FromIntHistogram(at, h)
	}
	brokenFloat := func(change func(*histogram.FloatHistogram)) prompb.Histogram {
		h := rwFloatHistogram()
		change(h)
		return prompb.FromFloatHistogram(at, h)
	}
	brokenCustom := func(change func(*histogram.Histogram)) prompb.Histogram {
		h := rwCustomHistogram()
		change(h)
		return prompb.FromIntHistogram(at, h)
	}
	mixed := prompb.FromIntHistogram(at, rwHistogram())
	mixed.PositiveCounts = []float64{1}
	for name, h := range map[string]prompb.Histogram{
		"count too small":         broken(func(h *histogram.Histogram) { h.Count = 3 }),
		"count too large":         broken(func(h *histogram.Histogram) { h.Count = 300 }),
		"negative bucket":         broken(func(h *histogram.Histogram) { h.PositiveBuckets[1] = -5 }),
		"too few buckets":         broken(func(h *histogram.Histogram) { h.PositiveBuckets = h.PositiveBuckets[:2] }),
		"spans go back":           broken(func(h *histogram.Histogram) { h.PositiveSpans[1].Offset = -4 }),
		"huge span":               broken(func(h *histogram.Histogram) { h.PositiveSpans[0].Length = math.MaxUint32 }),
		"schema too coarse":       broken(func(h *histogram.Histogram) { h.Schema = -5 }),
		"unknown schema":          broken(func(h *histogram.Histogram) { h.Schema = 53 }),
		"bounds without custom":   broken(func(h *histogram.Histogram) { h.CustomValues = []float64{1} }),
		"too fine and broken":     broken(func(h *histogram.Histogram) { h.Schema, h.PositiveBuckets = 9, h.PositiveBuckets[:1] }),
		"negative float bucket":   brokenFloat(func(h *histogram.FloatHistogram) { h.PositiveBuckets[0] = -1 }),
		"negative float count":    brokenFloat(func(h *histogram.FloatHistogram) { h.Count = -1 }),
		"float too fine, broken":  brokenFloat(func(h *histogram.FloatHistogram) { h.Schema, h.PositiveBuckets = 9, nil }),
		"custom bounds descend":   brokenCustom(func(h *histogram.Histogram) { h.CustomValues[1] = 0.1 }),
		"custom bounds infinite":  brokenCustom(func(h *histogram.Histogram) { h.CustomValues[2] = math.Inf(1) }),
		"custom bounds NaN":       brokenCustom(func(h *histogram.Histogram) { h.CustomValues[0] = math.NaN() }),
		"custom with zero bucket": brokenCustom(func(h *histogram.Histogram) { h.ZeroCount = 1 }),
		"integer and float mixed": mixed,
	} {
		t.Run(name, func(t *testing.T) {
			msg := v1(v1Series(named("m"), at-1))
			msg.Timeseries[0].Histograms = []prompb.Histogram{h, prompb.FromIntHistogram(at+1, rwHistogram())}
			to := newFakeStorage()
			wantAnswer(t, rwRequest{message: msg}.send(t, newTestHandler(t, to, HandlerOptions{})), 400, "invalid_histogram: 1", "2 of 3 samples")
			if len(to.stored) != 2 {
				t.Errorf("stored %v, want the good ones", to.stored)
			}
		})
	}
}

// A 2.0 series may have samples of both kinds although the specification
// forbids it; the storage gets them by time.
func TestFloatsAndHistogramsOfOneSeries(t *testing.T) {
	at := nowMs()
	req := &writev2.Request{
		Symbols: []string{"", "__name__", "m"},
		Timeseries: []writev2.TimeSeries{{
			LabelsRefs: []uint32{1, 2},
			Samples:    []writev2.Sample{{Timestamp: at + 1, Value: 1}, {Timestamp: at + 3, Value: 3}, {Timestamp: at + 4, Value: 3}},
			Histograms: []writev2.Histogram{writev2.FromIntHistogram(7, at+2, rwHistogram()), writev2.FromFloatHistogram(0, at+4, rwFloatHistogram())},
		}},
	}
	to := newFakeStorage()
	rec := rwRequest{message: req}.send(t, newTestHandler(t, to, HandlerOptions{}))
	wantAnswer(t, rec, 400, "conflicting_value: 1")
	wantWritten(t, rec, 3, 1, 0)
	var times []int64
	for _, s := range to.stored {
		times = append(times, s.t-at)
	}
	if len(times) != 4 || times[0] != 1 || times[1] != 2 || times[2] != 3 || times[3] != 4 {
		t.Errorf("stored at %v, want 1 to 4", times)
	}
	if to.stored[1].st != 7 {
		t.Errorf("start timestamp %d, want 7", to.stored[1].st)
	}
}
