package storeapi

import (
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/varve-tsdb/varve/internal/chunkcheck"
)

// What no encoder takes is an error, whatever the encoder does.
func TestTranscodingThatPanicsIsAnError(t *testing.T) {
	if c, err := transcode(panicking{chunkenc.NewXOR2Chunk()}); err == nil || c != nil || !strings.Contains(err.Error(), "out of range") {
		t.Errorf("%v, %v", c, err)
	}
}

type panicking struct{ *chunkenc.XOR2Chunk }

func (panicking) Iterator(chunkenc.Iterator) chunkenc.Iterator { panic("index out of range") }

// newer are the encodings that Thanos cannot read.
var newer = []chunkenc.Encoding{chunkenc.EncXOR2, chunkenc.EncHistogramST, chunkenc.EncFloatHistogramST}

// FuzzTranscode writes chunks of those in the older ones, as they are once package
// chunkcheck has let them through. However they were crafted nothing panics, since in a
// handler of gRPC that would end the process.
func FuzzTranscode(f *testing.F) {
	h := func(n int) *histogram.Histogram {
		return &histogram.Histogram{
			Schema: 1, Count: 12 + uint64(n), Sum: 5, ZeroThreshold: 0.001, ZeroCount: uint64(n),
			PositiveSpans: []histogram.Span{{Offset: 0, Length: 2}, {Offset: 3, Length: 1}}, PositiveBuckets: []int64{2, 1, -1},
			NegativeSpans: []histogram.Span{{Offset: -2, Length: 1}}, NegativeBuckets: []int64{5},
		}
	}
	for i, enc := range newer {
		c, err := chunkenc.NewEmptyChunk(enc)
		if err != nil {
			f.Fatal(err)
		}
		app, err := c.Appender()
		if err != nil {
			f.Fatal(err)
		}
		for n := range 5 {
			at := int64(n) * 15_000
			switch enc {
			case chunkenc.EncXOR2:
				app.Append(at-1, at, float64(n))
			case chunkenc.EncHistogramST:
				_, _, _, err = app.AppendHistogram(nil, at-1, at, h(n), true)
			default:
				_, _, _, err = app.AppendFloatHistogram(nil, at-1, at, h(n).ToFloat(nil), true)
			}
			if err != nil {
				f.Fatal(err)
			}
		}
		f.Add(uint8(i), c.Bytes())
	}
	f.Fuzz(func(t *testing.T, which uint8, data []byte) {
		enc := newer[int(which)%len(newer)]
		if chunkcheck.Check(enc, data) != nil {
			return
		}
		c, err := chunkenc.FromData(enc, data)
		if err != nil {
			t.Fatal(err)
		}
		older, err := transcode(c)
		if err != nil {
			return
		}
		if err := chunkcheck.Check(older.Encoding(), older.Bytes()); err != nil {
			t.Fatalf("what comes out is refused: %v", err)
		}
	})
}
