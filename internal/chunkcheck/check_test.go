package chunkcheck

import (
	"testing"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

func TestCheck(t *testing.T) {
	chunk := chunkenc.NewHistogramChunk()
	app, err := chunk.Appender()
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := app.AppendHistogram(nil, 0, 10, &histogram.Histogram{
		PositiveSpans: []histogram.Span{{Length: 40}}, PositiveBuckets: make([]int64, 40),
	}, false); err != nil {
		t.Fatal(err)
	}
	whole := chunk.Bytes()
	for _, c := range []struct {
		name string
		enc  chunkenc.Encoding
		data []byte
		ok   bool
	}{
		{"floats without a sample", chunkenc.EncXOR, []byte{0, 0}, true},
		{"floats without a header", chunkenc.EncXOR, []byte{0}, false},
		{"newer floats without flags", chunkenc.EncXOR2, []byte{0, 0}, false},
		{"histograms", chunkenc.EncHistogram, whole, true},
		{"histograms that are cut off", chunkenc.EncHistogram, whole[:8], false},
		{"histograms without a header", chunkenc.EncFloatHistogram, nil, false},
	} {
		if err := Check(c.enc, c.data); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
