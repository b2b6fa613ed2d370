package writepb

import (
	"math"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

var (
	intHistogram = &histogram.Histogram{
		Schema: 2, Count: 21, Sum: 36.5, ZeroThreshold: 0.001, ZeroCount: 2, CounterResetHint: histogram.NotCounterReset,
		PositiveSpans: []histogram.Span{{Offset: -3, Length: 2}, {Offset: 4, Length: 1}}, PositiveBuckets: []int64{5, -2, 3},
		NegativeSpans: []histogram.Span{{Offset: 0, Length: 2}}, NegativeBuckets: []int64{2, 1},
	}
	floatHistogram = &histogram.FloatHistogram{
		Schema: -1, Count: 10.5, Sum: math.NaN(), ZeroThreshold: 1e-128, ZeroCount: 0.5, CounterResetHint: histogram.GaugeType,
		PositiveSpans: []histogram.Span{{Offset: 1, Length: 2}}, PositiveBuckets: []float64{4, 6},
	}
	customHistogram = &histogram.Histogram{
		Schema: histogram.CustomBucketsSchema, Count: 6, Sum: 12,
		PositiveSpans: []histogram.Span{{Offset: 0, Length: 3}}, PositiveBuckets: []int64{1, 1, 1},
		CustomValues: []float64{0.5, 1, 2.5},
	}
)

func requestV1() *prompb.WriteRequest {
	return &prompb.WriteRequest{
		Timeseries: []prompb.TimeSeries{
			{
				Labels:    []prompb.Label{{Name: "__name__", Value: "up"}, {Name: "job", Value: "a"}, {Name: "empty"}},
				Samples:   []prompb.Sample{{Value: 1, Timestamp: 1_700_000_000_000}, {Value: math.Float64frombits(0x7ff0000000000002), Timestamp: -5}},
				Exemplars: []prompb.Exemplar{{Labels: []prompb.Label{{Name: "trace_id", Value: "x"}}, Value: 2, Timestamp: 3}},
			},
			{
				Labels: []prompb.Label{{Name: "__name__", Value: "latency"}},
				Histograms: []prompb.Histogram{
					prompb.FromIntHistogram(1, intHistogram), prompb.FromFloatHistogram(2, floatHistogram), prompb.FromIntHistogram(3, customHistogram),
				},
			},
			{},
		},
		Metadata: []prompb.MetricMetadata{
			{Type: prompb.MetricMetadata_COUNTER, MetricFamilyName: "up", Help: "is it?", Unit: "bool"},
			{Type: prompb.MetricMetadata_STATESET, MetricFamilyName: "state"},
		},
	}
}

func requestV2() *writev2.Request {
	return &writev2.Request{
		Symbols: []string{"", "__name__", "up", "job", "a", "is it?", "bool", "trace_id", "x"},
		Timeseries: []writev2.TimeSeries{
			{
				LabelsRefs: []uint32{1, 2, 3, 4},
				Samples:    []writev2.Sample{{Value: 1, Timestamp: 1_700_000_000_000, StartTimestamp: 1_600_000_000_000}, {Value: math.Inf(-1), Timestamp: math.MinInt64}},
				Exemplars:  []writev2.Exemplar{{LabelsRefs: []uint32{7, 8}, Value: 2, Timestamp: 3}, {LabelsRefs: []uint32{7}}},
				Metadata:   writev2.Metadata{Type: writev2.Metadata_METRIC_TYPE_COUNTER, HelpRef: 5, UnitRef: 6},
			},
			{
				LabelsRefs: []uint32{1, 2},
				Histograms: []writev2.Histogram{
					writev2.FromIntHistogram(9, 1, intHistogram), writev2.FromFloatHistogram(0, 2, floatHistogram), writev2.FromIntHistogram(8, 3, customHistogram),
				},
			},
			{LabelsRefs: []uint32{1, 99}},
			{LabelsRefs: []uint32{1, 2, 3}},
			{},
		},
	}
}
