package storeapi

import (
	"fmt"

	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// transcode writes a chunk of an encoding that Thanos v0.42.4 cannot read in the one
// it stems from. What is lost are start timestamps. A panic becomes an error: nobody
// recovers those of gRPC's handlers, and Prometheus' encoder trusts histograms, which
// come from wherever the source has them.
func transcode(c chunkenc.Chunk) (out chunkenc.Chunk, err error) {
	defer func() {
		if p := recover(); p != nil {
			out, err = nil, fmt.Errorf("transcode a chunk of encoding %s: its samples cannot be encoded: %v", c.Encoding(), p)
		}
	}()
	older := chunkenc.EncXOR
	switch c.Encoding() {
	case chunkenc.EncHistogramST:
		older = chunkenc.EncHistogram
	case chunkenc.EncFloatHistogramST:
		older = chunkenc.EncFloatHistogram
	}
	out, err = chunkenc.NewEmptyChunk(older)
	if err != nil {
		return nil, err
	}
	app, err := out.Appender()
	if err != nil {
		return nil, err
	}
	it := c.Iterator(nil)
	for typ := it.Next(); typ != chunkenc.ValNone; typ = it.Next() {
		if err := appendSample(app, it, typ); err != nil {
			return nil, fmt.Errorf("transcode a chunk from encoding %s to %s: %w", c.Encoding(), older, err)
		}
	}
	return out, it.Err()
}

// appendSample appends the sample that it is at. All samples of a chunk have room in
// one of the encoding it stems from.
func appendSample(app chunkenc.Appender, it chunkenc.Iterator, typ chunkenc.ValueType) (err error) {
	switch typ {
	case chunkenc.ValHistogram:
		t, h := it.AtHistogram(nil)
		_, _, _, err = app.AppendHistogram(nil, 0, t, h, true)
	case chunkenc.ValFloatHistogram:
		t, h := it.AtFloatHistogram(nil)
		_, _, _, err = app.AppendFloatHistogram(nil, 0, t, h, true)
	default:
		t, v := it.At()
		app.Append(0, t, v)
	}
	return err
}
