package blocktest

import (
	"math"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
)

// Series is a label set and its samples in ascending order of time.
type Series struct {
	Labels  labels.Labels
	Samples []Sample
}

// Sample is a float, or a histogram when H or FH is set. T is in milliseconds.
type Sample struct {
	T  int64
	V  float64
	H  *histogram.Histogram
	FH *histogram.FloatHistogram
}

func (s Sample) kind() int {
	switch {
	case s.H != nil:
		return 1
	case s.FH != nil:
		return 2
	}
	return 0
}

// Float is a float sample.
func Float(t int64, v float64) Sample { return Sample{T: t, V: v} }

// Stale is a float sample with the stale marker.
func Stale(t int64) Sample { return Sample{T: t, V: math.Float64frombits(value.StaleNaN)} }

// Histogram is an exponential histogram with integer counts that grow with i.
func Histogram(t, i int64) Sample { return Sample{T: t, H: tsdbutil.GenerateTestHistogram(i)} }

// FloatHistogram is an exponential histogram with float counts that grow with i.
func FloatHistogram(t, i int64) Sample {
	return Sample{T: t, FH: tsdbutil.GenerateTestFloatHistogram(i)}
}

// CustomHistogram is a custom-bucket histogram with integer counts that grow with i.
func CustomHistogram(t, i int64) Sample {
	return Sample{T: t, H: tsdbutil.GenerateTestCustomBucketsHistogram(i)}
}

// CustomFloatHistogram is a custom-bucket histogram with float counts that grow with i.
func CustomFloatHistogram(t, i int64) Sample {
	return Sample{T: t, FH: tsdbutil.GenerateTestCustomBucketsFloatHistogram(i)}
}

// StaleHistogram is the stale marker of a series of integer histograms.
func StaleHistogram(t int64) Sample {
	return Sample{T: t, H: &histogram.Histogram{Sum: math.Float64frombits(value.StaleNaN)}}
}

// Samples makes one sample by each of make's calls for the times from, from+step, …
// up to but without to. The second argument of make counts from zero.
func Samples(from, to, step int64, makeSample func(t, i int64) Sample) []Sample {
	var out []Sample
	for t, i := from, int64(0); t < to; t, i = t+step, i+1 {
		out = append(out, makeSample(t, i))
	}
	return out
}

// Floats is Samples of floats that count up from first.
func Floats(from, to, step int64, first float64) []Sample {
	return Samples(from, to, step, func(t, i int64) Sample { return Float(t, first+float64(i)) })
}
