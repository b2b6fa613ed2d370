package store

import (
	"errors"
	"math"
	"testing"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"pgregory.net/rapid"
)

// craftedHistogram is a chunk whose layout Prometheus would believe.
type craftedHistogram struct {
	name string
	enc  chunkenc.Encoding
	data []byte
}

func craftedHistograms() (out []craftedHistogram) {
	const billions = 0xf0000000
	huge := []histogram.Span{{Length: billions}}
	for _, enc := range []chunkenc.Encoding{chunkenc.EncHistogram, chunkenc.EncFloatHistogram, chunkenc.EncHistogramST, chunkenc.EncFloatHistogramST} {
		layout := func(name string, schema int64, positive, negative []histogram.Span) {
			var w bitWriter
			w.write(0x0001_00, 24) // one sample, no flags
			w.write(0, 8)          // zero threshold
			w.varbit(schema)
			for _, spans := range [][]histogram.Span{positive, negative} {
				w.varbit(int64(len(spans)))
				for _, s := range spans {
					w.varbit(int64(s.Length))
					w.varbit(int64(s.Offset))
				}
			}
			w.write(0, 64)
			out = append(out, craftedHistogram{enc.String() + " with " + name, enc, w.data})
		}
		layout("a huge positive span", 0, huge, nil)
		layout("a huge negative span", 0, nil, huge)
		layout("many spans", 3, []histogram.Span{{Length: 50}, {Offset: 1, Length: 50}}, []histogram.Span{{Length: 60}})
		layout("spans of a reserved schema that go back", 20, []histogram.Span{{Length: 2}, {Offset: -3, Length: 1}}, nil)
	}
	return out
}

// bitWriter writes bits, the highest first.
type bitWriter struct {
	data []byte
	n    int
}

func (w *bitWriter) write(v uint64, n int) {
	for n--; n >= 0; n-- {
		if w.n%8 == 0 {
			w.data = append(w.data, 0)
		}
		w.data[w.n/8] |= byte(v>>n&1) << (7 - w.n%8)
		w.n++
	}
}

// varbit writes a number in its longest form, which says all of them.
func (w *bitWriter) varbit(v int64) {
	w.write(0xff, 8)
	w.write(uint64(v), 64)
}

func TestCraftedHistogramsAreRefused(t *testing.T) {
	for _, c := range craftedHistograms() {
		t.Run(c.name, func(t *testing.T) {
			if _, err := newChunk(c.enc, c.data); !errors.Is(err, ErrCorrupt) {
				t.Errorf("got %v, want ErrCorrupt", err)
			}
		})
	}
}

// What Prometheus writes is never taken for crafted.
func TestAllOfPrometheusHistogramsAreTaken(t *testing.T) {
	offsets := rapid.Int32Range(0, 40_000)
	spans := func(t *rapid.T, name string) (spans []histogram.Span, buckets int) {
		for i := range rapid.IntRange(0, 5).Draw(t, name) {
			s := histogram.Span{Offset: offsets.Draw(t, "offset"), Length: rapid.Uint32Range(0, 70).Draw(t, "length")}
			if i == 0 {
				s.Offset -= 20_000
			}
			spans, buckets = append(spans, s), buckets+int(s.Length)
		}
		return spans, buckets
	}
	rapid.Check(t, func(t *rapid.T) {
		h := &histogram.Histogram{
			Schema:        rapid.SampledFrom([]int32{-4, 0, 8, 20, histogram.CustomBucketsSchema}).Draw(t, "schema"),
			ZeroThreshold: rapid.SampledFrom([]float64{0, 0.001, math.Ldexp(1, -128)}).Draw(t, "zero threshold"),
		}
		var positive, negative int
		h.PositiveSpans, positive = spans(t, "positive")
		h.NegativeSpans, negative = spans(t, "negative")
		h.PositiveBuckets, h.NegativeBuckets = make([]int64, positive), make([]int64, negative)
		if h.Schema == histogram.CustomBucketsSchema {
			h.CustomValues = []float64{1, 2.5, math.Pi}
		}
		if rapid.Bool().Draw(t, "stale") {
			h.Sum = math.Float64frombits(0x7ff0000000000002)
		}
		for _, enc := range []chunkenc.Encoding{chunkenc.EncHistogram, chunkenc.EncFloatHistogram, chunkenc.EncHistogramST, chunkenc.EncFloatHistogramST} {
			chunk, err := chunkenc.NewEmptyChunk(enc)
			if err != nil {
				t.Fatal(err)
			}
			app, err := chunk.Appender()
			if err != nil {
				t.Fatal(err)
			}
			if enc == chunkenc.EncHistogram || enc == chunkenc.EncHistogramST {
				_, _, _, err = app.AppendHistogram(nil, 5, 10, h.Copy(), false)
			} else {
				_, _, _, err = app.AppendFloatHistogram(nil, 5, 10, h.ToFloat(nil), false)
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := newChunk(enc, chunk.Bytes()); err != nil {
				t.Errorf("%s: %v", enc, err)
			}
		}
	})
}
