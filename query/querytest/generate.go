package querytest

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/model/value"
)

const (
	// Start is the time of the earliest sample that generated data may have,
	// in milliseconds. It is a multiple of two hours.
	Start int64 = 1_700_006_400_000
	// End is the first time after all generated data: Start plus six hours.
	End = Start + 6*hour

	hour   int64 = 3_600_000
	minute int64 = 60_000
)

// Kinds returns data with every kind of sample there is, in each stream the
// same series with other values: floats of all sorts, integer and float
// histograms with exponential and custom buckets, counters and gauges, resets,
// bucket layouts that change, stale markers, series that end, start late, have
// a gap or change their type, and labels that are hard to sort once external
// labels come in.
func Kinds(external ...labels.Labels) Data {
	var d Data
	for i, ext := range external {
		rng := rand.New(rand.NewPCG(7, uint64(i)))
		d.Streams = append(d.Streams, Stream{External: ext, Series: kinds(rng, ext), Metadata: map[string]metadata.Metadata{
			"requests_total": {Type: "counter", Help: "Requests served.", Unit: "requests"},
			"temperature":    {Type: "gauge", Help: fmt.Sprintf("Temperature in stream %d.", i)},
		}})
	}
	return d
}

func kinds(rng *rand.Rand, ext labels.Labels) []Series {
	every := func(step int64, value func(i int) Sample) []Sample { return samples(rng, Start, End, step, value) }
	list := []Series{
		{Labels: labels.FromStrings("__name__", "requests_total", "job", "api", "zone", "z"), Samples: every(minute, counter(rng)), Exemplars: exemplars(rng)},
		{Labels: labels.FromStrings("__name__", "requests_total", "aa", "first", "job", "api"), Samples: every(minute, counter(rng))},
		{Labels: labels.FromStrings("__name__", "temperature", "job", "sensor"), Samples: every(minute, oddFloats(rng))},
		{Labels: labels.FromStrings("__name__", "temperature"), Samples: every(5*minute, counter(rng))},
		{Labels: labels.FromStrings("__name__", "http.server.duration", "http.route", `/a"b\c`, "ü", "日本 "), Samples: every(2*minute, integer(rng, false))},
		{Labels: labels.FromStrings("__name__", "latency_gauge"), Samples: every(2*minute, integer(rng, true))},
		{Labels: labels.FromStrings("__name__", "latency_float"), Samples: every(2*minute, float(rng, false))},
		{Labels: labels.FromStrings("__name__", "latency_float_gauge"), Samples: every(2*minute, float(rng, true))},
		{Labels: labels.FromStrings("__name__", "latency_custom"), Samples: every(2*minute, custom(rng))},
		{Labels: labels.FromStrings("__name__", "latency_custom_float"), Samples: every(2*minute, floatOf(custom(rng)))},
		{Labels: labels.FromStrings("__name__", "early", "job", "a"), Samples: samples(rng, Start, Start+hour, minute, counter(rng))},
		{Labels: labels.FromStrings("__name__", "late", "job", "a"), Samples: samples(rng, End-hour, End, minute, counter(rng))},
		{Labels: labels.FromStrings("__name__", "single", "job", "b"), Samples: samples(rng, Start+3*hour, Start+3*hour+1, minute, counter(rng))},
		{Labels: labels.FromStrings("__name__", "gap", "job", "b"), Samples: append(
			samples(rng, Start, Start+hour, minute, counter(rng)),
			samples(rng, Start+5*hour, End, minute, counter(rng))...)},
		{Labels: labels.FromStrings("__name__", "changes", "job", "b"), Samples: append(
			samples(rng, Start, Start+3*hour, 3*minute, counter(rng)),
			samples(rng, Start+3*hour, End, 3*minute, integer(rng, false))...)},
	}
	// A label that clashes with an external one loses.
	ext.Range(func(l labels.Label) {
		list = append(list, Series{
			Labels:  labels.FromStrings("__name__", "clash", "of", l.Name, l.Name, "exported"),
			Samples: samples(rng, Start, End, 10*minute, counter(rng)),
		})
	})
	return list
}

// Many returns data with many small series, the same seed always giving the
// same: label values shared by few or many series, names missing from some,
// samples at random times.
func Many(seed uint64, external ...labels.Labels) Data {
	var d Data
	for i, ext := range external {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		stream := Stream{External: ext}
		seen := map[string]bool{}
		for range 120 {
			b := labels.NewBuilder(labels.FromStrings("__name__", pick(rng, "up", "go_goroutines", "m")))
			for _, name := range []string{"a", "job", "zz"} {
				b.Set(name, pick(rng, "", "", "a", "b", "ab", "c-1"))
			}
			b.Set("instance", fmt.Sprint(rng.IntN(40)))
			lset := b.Labels()
			if seen[lset.String()] {
				continue
			}
			seen[lset.String()] = true
			from := Start + rng.Int64N(5*hour)
			upTo := min(End, from+1+rng.Int64N(3*hour))
			stream.Series = append(stream.Series, Series{Labels: lset, Samples: samples(rng, from, upTo, 7*minute, counter(rng))})
		}
		d.Streams = append(d.Streams, stream)
	}
	return d
}

func pick(rng *rand.Rand, choices ...string) string { return choices[rng.IntN(len(choices))] }

// samples in [from, to), about a step apart, the first exactly at from.
func samples(rng *rand.Rand, from, to, step int64, value func(i int) Sample) []Sample {
	var list []Sample
	for t, i := from, 0; t < to; i++ {
		s := value(i)
		s.T = t
		list = append(list, s)
		t += step - step/10 + rng.Int64N(step/5)
	}
	return list
}

func exemplars(rng *rand.Rand) []exemplar.Exemplar {
	var list []exemplar.Exemplar
	for t := Start; t < End; t += 20 * minute {
		list = append(list, exemplar.Exemplar{
			Labels: labels.FromStrings("trace_id", fmt.Sprintf("%x", rng.Uint64())), Value: rng.Float64(), Ts: t, HasTs: true,
		})
	}
	return list
}

var staleNaN = math.Float64frombits(value.StaleNaN)

// counter rises, is reset now and then, and is once marked stale.
func counter(rng *rand.Rand) func(int) Sample {
	total := 0.0
	return func(i int) Sample {
		if i == 40 {
			return Sample{Float: staleNaN}
		}
		if total += float64(rng.IntN(100)); rng.IntN(50) == 0 {
			total = 0
		}
		return Sample{Float: total}
	}
}

// oddFloats has what is hard to keep bit for bit.
func oddFloats(rng *rand.Rand) func(int) Sample {
	odd := []float64{
		math.NaN(), math.Float64frombits(value.NormalNaN), math.Float64frombits(0xfff8000000000123), staleNaN,
		math.Inf(1), math.Inf(-1), 0, math.Copysign(0, -1), math.MaxFloat64, math.SmallestNonzeroFloat64, 1 << 53, 0.1,
	}
	return func(int) Sample {
		if rng.IntN(3) == 0 {
			return Sample{Float: odd[rng.IntN(len(odd))]}
		}
		return Sample{Float: rng.NormFloat64()}
	}
}

// integer histograms: counters that grow, change their buckets, are reset and
// marked stale; or gauges.
func integer(rng *rand.Rand, gauge bool) func(int) Sample {
	counts := make([]int64, 8)
	return func(i int) Sample {
		if i%30 == 29 {
			return Sample{Histogram: &histogram.Histogram{Sum: staleNaN}}
		}
		h := &histogram.Histogram{Schema: 1, ZeroThreshold: 1e-128, Sum: rng.Float64() * 100}
		width := 2 + i/25%6 // buckets appear as time goes by
		if gauge || i%70 == 60 {
			clear(counts)
		}
		if gauge {
			h.CounterResetHint = histogram.GaugeType
		}
		for b := range width {
			counts[b] += rng.Int64N(10) + 1
		}
		h.PositiveSpans = []histogram.Span{{Offset: -1, Length: uint32(width / 2)}, {Offset: 3, Length: uint32(width - width/2)}}
		h.NegativeSpans = []histogram.Span{{Offset: 0, Length: 1}}
		h.NegativeBuckets = []int64{counts[0]}
		h.ZeroCount = uint64(counts[1])
		h.Count = h.ZeroCount + uint64(counts[0])
		before := int64(0)
		for b := range width {
			h.PositiveBuckets = append(h.PositiveBuckets, counts[b]-before)
			before = counts[b]
			h.Count += uint64(counts[b])
		}
		return Sample{Histogram: h}
	}
}

// float histograms as integer makes them.
func float(rng *rand.Rand, gauge bool) func(int) Sample { return floatOf(integer(rng, gauge)) }

func floatOf(next func(int) Sample) func(int) Sample {
	return func(i int) Sample {
		h := next(i).Histogram
		fh := h.ToFloat(nil)
		fh.CounterResetHint = h.CounterResetHint
		return Sample{FloatHistogram: fh}
	}
}

// custom bucket histograms, whose bounds change once.
func custom(rng *rand.Rand) func(int) Sample {
	counts := make([]int64, 4)
	return func(i int) Sample {
		if i == 50 {
			return Sample{Histogram: &histogram.Histogram{Sum: staleNaN}}
		}
		h := &histogram.Histogram{Schema: histogram.CustomBucketsSchema, Sum: rng.Float64(), CustomValues: []float64{0.1, 1, 10}}
		if i > 100 {
			h.CustomValues = []float64{0.2, 2, 20}
		}
		h.PositiveSpans = []histogram.Span{{Offset: 0, Length: 4}}
		before := int64(0)
		for b := range counts {
			counts[b] += rng.Int64N(5)
			h.PositiveBuckets = append(h.PositiveBuckets, counts[b]-before)
			before = counts[b]
			h.Count += uint64(counts[b])
		}
		return Sample{Histogram: h}
	}
}
