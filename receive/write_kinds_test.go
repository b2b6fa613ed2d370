package receive

import (
	"fmt"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
)

// writeKind is what the series of a load carry.
type writeKind struct {
	series int
	// fill puts what series i has at a scrape into s.
	fill func(s *prompb.TimeSeries, i, scrape int)
	// point returns the same as an appender takes it.
	point func(i, scrape int) writePoint
}

// writePoint is a sample with its exemplars.
type writePoint struct {
	v         float64
	h         *histogram.Histogram
	exemplars []exemplar.Exemplar
}

// writeKinds are floats; native histograms of 40 buckets, of a fifth of the series
// since each weighs as much as several floats; and floats of which every tenth
// series has an exemplar with each sample.
var writeKinds = map[string]writeKind{
	"floats":     {writeSeries, fillFloat, floatPoint},
	"histograms": {writeSeries / 5, fillHistogram, histogramPoint},
	"exemplars":  {writeSeries, fillExemplar, exemplarPoint},
}

func fillFloat(s *prompb.TimeSeries, i, scrape int) {
	s.Samples = append(s.Samples, prompb.Sample{Timestamp: writeTime(scrape), Value: writeValue(i, scrape)})
}

func floatPoint(i, scrape int) writePoint { return writePoint{v: writeValue(i, scrape)} }

// exemplarOf returns what tells the exemplar of series i at a scrape.
func exemplarOf(i, scrape int) (traceID string, value float64, ok bool) {
	if i%10 != 0 {
		return "", 0, false
	}
	return fmt.Sprintf("%016x%016x", i*2654435761, scrape*40503+i), float64(i%100) / 100, true
}

func fillExemplar(s *prompb.TimeSeries, i, scrape int) {
	fillFloat(s, i, scrape)
	if id, value, ok := exemplarOf(i, scrape); ok {
		s.Exemplars = append(s.Exemplars, prompb.Exemplar{
			Labels: []prompb.Label{{Name: "trace_id", Value: id}},
			Value:  value, Timestamp: writeTime(scrape),
		})
	}
}

func exemplarPoint(i, scrape int) writePoint {
	p := floatPoint(i, scrape)
	if id, value, ok := exemplarOf(i, scrape); ok {
		p.exemplars = []exemplar.Exemplar{{Labels: labels.FromStrings("trace_id", id), Value: value, Ts: writeTime(scrape), HasTs: true}}
	}
	return p
}

func fillHistogram(s *prompb.TimeSeries, i, scrape int) {
	s.Histograms = append(s.Histograms, prompb.FromIntHistogram(writeTime(scrape), writeHistogram(i, scrape)))
}

func histogramPoint(i, scrape int) writePoint { return writePoint{h: writeHistogram(i, scrape)} }

// writeHistogram is what a histogram of latencies looks like: most observations
// in the middle, and some buckets without any in the tail.
func writeHistogram(i, scrape int) *histogram.Histogram {
	h := &histogram.Histogram{
		Schema:        3,
		ZeroThreshold: 1e-9,
		ZeroCount:     uint64(scrape * (i % 3)),
		PositiveSpans: []histogram.Span{{Offset: -40, Length: 24}, {Offset: 2, Length: 10}, {Offset: 3, Length: 6}},
	}
	h.Count = h.ZeroCount
	var before int64
	for bucket := range 40 {
		rate := 1 + (bucket*(39-bucket)+i%97)/(20+i%13)
		count := int64(rate*(scrape+1) + (i*31+bucket*17+scrape*7)%5)
		h.PositiveBuckets = append(h.PositiveBuckets, count-before)
		h.Count += uint64(count)
		h.Sum += float64(count) * 0.003 * float64(bucket+1)
		before = count
	}
	return h
}
