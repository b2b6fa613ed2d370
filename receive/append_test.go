package receive

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/prometheus/prometheus/storage"
)

// bothVersions runs check with req in 1.0 and translated to 2.0.
func bothVersions(t *testing.T, msg *prompb.WriteRequest, check func(t *testing.T, req rwRequest)) {
	t.Helper()
	t.Run("1.0", func(t *testing.T) { check(t, rwRequest{message: msg}) })
	t.Run("2.0", func(t *testing.T) { check(t, rwRequest{message: v2Of(msg)}) })
}

func TestLabelRules(t *testing.T) {
	at := nowMs()
	long := strings.Repeat("x", MaxLabelBytes)
	for _, tc := range []struct {
		name   string
		pairs  []string
		reason Reason
		stored string // the labels, if the series is good
	}{
		{"usual", named("m", "a", "1"), ReasonStored, `{__name__="m", a="1"}`},
		{"unsorted", []string{"b", "2", "a", "1", "__name__", "m"}, ReasonStored, `{__name__="m", a="1", b="2"}`},
		{"empty value", named("m", "a", "", "b", "2"), ReasonStored, `{__name__="m", b="2"}`},
		{"UTF-8", named("größe", "ключ.1", "値"), ReasonStored, `{__name__="größe", "ключ.1"="値"}`},
		{"reserved name", named("m", "__type__", "gauge"), ReasonStored, `{__name__="m", __type__="gauge"}`},
		{"duplicate", named("m", "a", "1", "a", "2"), ReasonDuplicateLabel, ""},
		{"duplicate with equal value", named("m", "a", "1", "a", "1"), ReasonDuplicateLabel, ""},
		{"duplicate apart", named("m", "b", "1", "a", "1", "b", "2"), ReasonDuplicateLabel, ""},
		{"duplicate of an empty one", named("m", "a", "", "a", "2"), ReasonDuplicateLabel, ""},
		{"two metric names", named("m", "__name__", "n"), ReasonDuplicateLabel, ""},
		{"empty name", named("m", "", "1"), ReasonEmptyLabelName, ""},
		{"no metric name", []string{"a", "1"}, ReasonNoMetricName, ""},
		{"empty metric name", named("", "a", "1"), ReasonNoMetricName, ""},
		{"no labels", nil, ReasonNoMetricName, ""},
		{"value is no UTF-8", named("m", "a", "\xff\xfe"), ReasonLabelNotUTF8, ""},
		{"name is no UTF-8", named("m", "a\xc3", "1"), ReasonLabelNotUTF8, ""},
		{"metric name is no UTF-8", named("m\x80"), ReasonLabelNotUTF8, ""},
		{"long value", named("m", "a", long), ReasonLabelsTooLong, ""},
		{"long name", named("m", long, "1"), ReasonLabelsTooLong, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			msg := v1(v1Series(named("before"), at), v1Series(tc.pairs, at, at+1), v1Series(named("after"), at))
			bothVersions(t, msg, func(t *testing.T, req rwRequest) {
				to := newFakeStorage()
				rec := req.send(t, newTestHandler(t, to, HandlerOptions{}))
				var got []string
				for _, s := range to.stored {
					got = append(got, s.series)
				}
				want := []string{`{__name__="before"}`, tc.stored, tc.stored, `{__name__="after"}`}
				if tc.stored == "" {
					want = []string{want[0], want[3]}
					wantAnswer(t, rec, 400, tc.reason.String()+": 2", "2 of 4 samples")
				} else {
					wantAnswer(t, rec, 204)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("stored (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestSymbolRules(t *testing.T) {
	at := nowMs()
	symbols := []string{"", "__name__", "m", "help", "trace"}
	samples := []writev2.Sample{{Timestamp: at, Value: 1}}
	for _, tc := range []struct {
		name   string
		series writev2.TimeSeries
		reason Reason
		stored int
	}{
		{"label name out of range", writev2.TimeSeries{LabelsRefs: []uint32{1, 2, 5, 2}, Samples: samples}, ReasonBadSymbol, 0},
		{"label value far out of range", writev2.TimeSeries{LabelsRefs: []uint32{1, math.MaxUint32}, Samples: samples}, ReasonBadSymbol, 0},
		{"odd references", writev2.TimeSeries{LabelsRefs: []uint32{1, 2, 3}, Samples: samples}, ReasonBadSymbol, 0},
		{"help out of range", writev2.TimeSeries{LabelsRefs: []uint32{1, 2}, Samples: samples, Metadata: writev2.Metadata{HelpRef: 5}}, ReasonBadSymbol, 0},
		{"unit out of range", writev2.TimeSeries{LabelsRefs: []uint32{1, 2}, Samples: samples, Metadata: writev2.Metadata{UnitRef: 77}}, ReasonBadSymbol, 0},
		{"neither samples nor histograms", writev2.TimeSeries{LabelsRefs: []uint32{1, 2}}, ReasonNoSamples, 0},
		{"exemplar out of range", writev2.TimeSeries{LabelsRefs: []uint32{1, 2}, Samples: samples, Exemplars: []writev2.Exemplar{{LabelsRefs: []uint32{4, 9}, Timestamp: at}}}, ReasonBadExemplar, 1},
		{"exemplar with odd references", writev2.TimeSeries{LabelsRefs: []uint32{1, 2}, Samples: samples, Exemplars: []writev2.Exemplar{{LabelsRefs: []uint32{4}, Timestamp: at}}}, ReasonBadExemplar, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			to := newFakeStorage()
			good := writev2.TimeSeries{LabelsRefs: []uint32{1, 3}, Samples: samples}
			rec := rwRequest{message: &writev2.Request{Symbols: symbols, Timeseries: []writev2.TimeSeries{tc.series, good}}}.send(t, newTestHandler(t, to, HandlerOptions{}))
			wantAnswer(t, rec, 400, tc.reason.String()+": 1")
			wantWritten(t, rec, 1+tc.stored, 0, 0)
			if len(to.stored) != 1+tc.stored {
				t.Errorf("stored %v", to.stored)
			}
		})
	}
}

func TestTimesWithinARequest(t *testing.T) {
	at := nowMs()
	f := func(offset int64, v float64) prompb.Sample { return prompb.Sample{Timestamp: at + offset, Value: v} }
	series := func(samples ...prompb.Sample) prompb.TimeSeries {
		s := v1Series(named("m"))
		s.Samples = samples
		return s
	}
	for _, tc := range []struct {
		name    string
		series  []prompb.TimeSeries
		stored  string // offsets and values in the order they were stored
		refused string // part of the answer
	}{
		{"in order", []prompb.TimeSeries{series(f(1, 1), f(2, 2))}, "1=1 2=2", ""},
		{"unsorted", []prompb.TimeSeries{series(f(3, 3), f(1, 1), f(2, 2))}, "1=1 2=2 3=3", ""},
		{"twice the same", []prompb.TimeSeries{series(f(1, 1), f(1, 1))}, "1=1", ""},
		{"two values for a time", []prompb.TimeSeries{series(f(1, 1), f(1, 2), f(2, 3))}, "1=1 2=3", "conflicting_value: 1"},
		{"NaN is not the stale marker", []prompb.TimeSeries{series(f(1, math.NaN()), f(1, staleNaN))}, "1=NaN", "conflicting_value: 1"},
		{"stale marker twice", []prompb.TimeSeries{series(f(1, staleNaN), f(1, staleNaN))}, "1=NaN", ""},
		{"series given twice, in order", []prompb.TimeSeries{series(f(1, 1)), series(f(2, 2))}, "1=1 2=2", ""},
		{"series given twice, same sample", []prompb.TimeSeries{series(f(1, 1)), series(f(1, 1), f(2, 2))}, "1=1 2=2", ""},
		{"series given twice, other value", []prompb.TimeSeries{series(f(1, 1)), series(f(1, 9))}, "1=1", "conflicting_value: 1"},
		{"series given twice, backwards", []prompb.TimeSeries{series(f(2, 2)), series(f(1, 1), f(3, 3))}, "2=2 3=3", "out_of_order: 1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bothVersions(t, v1(tc.series...), func(t *testing.T, req rwRequest) {
				to := newFakeStorage()
				rec := req.send(t, newTestHandler(t, to, HandlerOptions{}))
				var got []string
				for _, s := range to.stored {
					got = append(got, fmt.Sprintf("%d=%v", s.t-at, s.val.v))
				}
				if strings.Join(got, " ") != tc.stored {
					t.Errorf("stored %v, want %s", got, tc.stored)
				}
				if tc.refused == "" {
					wantAnswer(t, rec, 204)
				} else {
					wantAnswer(t, rec, 400, tc.refused)
				}
				if to.open != 0 {
					t.Errorf("%d transactions left open", to.open)
				}
			})
		})
	}
}

func TestTimesOutOfBounds(t *testing.T) {
	now := nowMs()
	const minute = 60_000
	for _, tc := range []struct {
		at     int64
		opts   HandlerOptions
		reason Reason
	}{
		{now, HandlerOptions{}, ReasonStored},
		{now + 9*minute, HandlerOptions{}, ReasonStored},
		{now + 11*minute, HandlerOptions{}, ReasonTooFarInFuture},
		{now + 2*minute, HandlerOptions{TooFarInFuture: 1e9}, ReasonTooFarInFuture},
		{now + 1e12, HandlerOptions{TooFarInFuture: -1}, ReasonStored},
		{math.MaxInt64, HandlerOptions{}, ReasonBadTimestamp},
		{math.MaxInt64, HandlerOptions{TooFarInFuture: -1}, ReasonBadTimestamp},
		{math.MinInt64, HandlerOptions{}, ReasonBadTimestamp},
		{0, HandlerOptions{}, ReasonStored},
		{-1, HandlerOptions{}, ReasonStored},
	} {
		t.Run(fmt.Sprint(tc.at, tc.opts.TooFarInFuture), func(t *testing.T) {
			msg := v1(v1Series(named("m"), tc.at), v1Series(named("good"), now))
			msg.Timeseries[0].Histograms = []prompb.Histogram{prompb.FromIntHistogram(tc.at+1, rwHistogram())}
			if tc.at == math.MaxInt64 {
				msg.Timeseries[0].Histograms[0].Timestamp = tc.at
			}
			bothVersions(t, msg, func(t *testing.T, req rwRequest) {
				to := newFakeStorage()
				rec := req.send(t, newTestHandler(t, to, tc.opts))
				if tc.reason == ReasonStored {
					wantAnswer(t, rec, 204)
				} else {
					wantAnswer(t, rec, 400, tc.reason.String()+": 2")
				}
				if want := map[bool]int{true: 3, false: 1}[tc.reason == ReasonStored]; len(to.stored) != want {
					t.Errorf("stored %v, want %d", to.stored, want)
				}
			})
		})
	}
}

// What the storage says about a sample becomes that sample's verdict and no
// other's.
func TestStorageRefusesSamples(t *testing.T) {
	now := nowMs() / 1000 * 1000
	for err, reason := range map[error]Reason{
		storage.ErrOutOfOrderSample:                            ReasonOutOfOrder,
		storage.ErrTooOldSample:                                ReasonTooOld,
		storage.ErrOutOfBounds:                                 ReasonOutOfBounds,
		storage.NewDuplicateFloatErr(1, 2, 3):                  ReasonConflict,
		storage.NewDuplicateHistogramToFloatErr(1, 2):          ReasonConflict,
		storage.ErrNativeHistogramsDisabled:                    ReasonHistogramsDisabled,
		fmt.Errorf("wrapped: %w", storage.ErrOutOfOrderSample): ReasonOutOfOrder,
		&TenantError{Tenant: "x", Kind: ErrInvalidTenant}:      ReasonRefused,
		fmt.Errorf("wrapped: %w", finalError{}):                ReasonRefused,
	} {
		t.Run(err.Error(), func(t *testing.T) {
			to := newFakeStorage()
			to.appendErr = func(_ labels.Labels, ts int64) error { return map[bool]error{true: err}[ts == now+2] }
			msg := v1(v1Series(named("m"), now+1, now+2, now+3), v1Series(named("n"), now+2, now+4))
			bothVersions(t, msg, func(t *testing.T, req rwRequest) {
				to.stored, to.newest = nil, map[storage.SeriesRef]fakeSample{}
				rec := req.send(t, newTestHandler(t, to, HandlerOptions{}))
				wantAnswer(t, rec, 400, reason.String()+": 2", "3 of 5 samples", "{__name__=\"m\"}")
				if len(to.stored) != 3 {
					t.Errorf("stored %v", to.stored)
				}
			})
		})
	}
}

type finalError struct{}

func (finalError) Error() string   { return "never" }
func (finalError) Retryable() bool { return false }

// Prometheus logs 1,024 bytes of an answer.
func TestAnswerIsShort(t *testing.T) {
	msg := v1()
	for i := range 500 {
		bad := [][]string{
			{"a", strings.Repeat("b", 3000)}, named("m", "a", "1", "a", "2"), named("m", "\xff", "1"), named("m", "", strings.Repeat("\"", 3000)),
		}[i%4]
		msg.Timeseries = append(msg.Timeseries, v1Series(bad, nowMs()))
	}
	bothVersions(t, msg, func(t *testing.T, req rwRequest) {
		rec := req.send(t, newTestHandler(t, newFakeStorage(), HandlerOptions{}))
		wantAnswer(t, rec, 400, "0 of 500 samples", "missing_metric_name: 125", "duplicate_label_name: 125", "label_not_utf8: 125", "empty_label_name: 125")
		if rec.Body.Len() > 1024 {
			t.Errorf("the answer has %d bytes", rec.Body.Len())
		}
		if typ := rec.Header().Get("Content-Type"); typ != "text/plain; charset=utf-8" {
			t.Errorf("the answer is of type %s", typ)
		}
	})
}

func TestMetadataTravelsWithSamples(t *testing.T) {
	req := &writev2.Request{Symbols: []string{"", "__name__", "rpc_seconds_bucket", "le", "1", "How long.", "seconds", "plain"}}
	sample := []writev2.Sample{{Timestamp: nowMs(), StartTimestamp: 42, Value: 1}}
	req.Timeseries = []writev2.TimeSeries{
		{LabelsRefs: []uint32{1, 2, 3, 4}, Samples: sample, Metadata: writev2.Metadata{Type: writev2.Metadata_METRIC_TYPE_HISTOGRAM, HelpRef: 5, UnitRef: 6}},
		{LabelsRefs: []uint32{1, 7}, Samples: sample},
	}
	to := newFakeStorage()
	wantAnswer(t, rwRequest{message: req}.send(t, newTestHandler(t, to, HandlerOptions{})), 204)
	want := storage.AppendV2Options{
		MetricFamilyName: "rpc_seconds",
		Metadata:         metadata.Metadata{Type: model.MetricTypeHistogram, Help: "How long.", Unit: "seconds"},
	}
	if diff := cmp.Diff(want, to.stored[0].opts); diff != "" {
		t.Errorf("options (-want +got):\n%s", diff)
	}
	if to.stored[0].st != 42 {
		t.Errorf("start timestamp %d, want 42", to.stored[0].st)
	}
	if !to.stored[1].opts.Metadata.IsEmpty() || to.stored[1].opts.MetricFamilyName != "" {
		t.Errorf("a series without metadata has %+v", to.stored[1].opts)
	}
}

func TestMetricFamily(t *testing.T) {
	for _, tc := range []struct {
		name   string
		typ    model.MetricType
		native bool
		want   string
	}{
		{"a_bucket", model.MetricTypeHistogram, false, "a"},
		{"a_sum", model.MetricTypeHistogram, false, "a"},
		{"a_count", model.MetricTypeSummary, false, "a"},
		{"a_bucket", model.MetricTypeSummary, false, "a_bucket"},
		{"a", model.MetricTypeSummary, false, "a"},
		{"a_gsum", model.MetricTypeGaugeHistogram, false, "a"},
		{"a_count", model.MetricTypeHistogram, true, "a_count"},
		{"a_total", model.MetricTypeCounter, false, "a_total"},
		{"a_count", model.MetricTypeGauge, false, "a_count"},
		{"_count", model.MetricTypeSummary, false, "_count"},
	} {
		if got := metricFamily(tc.name, tc.typ, tc.native); got != tc.want {
			t.Errorf("family of %s %s (native %v) is %s, want %s", tc.typ, tc.name, tc.native, got, tc.want)
		}
	}
}
