package dedup

import (
	"math"
	"testing"

	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"pgregory.net/rapid"
)

// sameDecoding checks that a chunk's data is decoded as chunkenc does, but for an
// error where the data breaks off, beyond which that makes up samples.
func sameDecoding(tb rapid.TB, data []byte) {
	tb.Helper()
	chunk := chunkenc.NewXORChunk()
	chunk.Reset(data)
	want := chunk.Iterator(nil)
	var got floatsIterator
	got.reset(data)
	for i := 0; got.Next() != chunkenc.ValNone; i++ {
		if want.Next() == chunkenc.ValNone {
			tb.Fatalf("more than %d samples of %x, error %v", i, data, want.Err())
		}
		t, v := got.At()
		wantT, wantV := want.At()
		if t != wantT || math.Float64bits(v) != math.Float64bits(wantV) {
			tb.Fatalf("sample %d: %d %g, want %d %g", i, t, v, wantT, wantV)
		}
	}
	if got.Err() == nil && (want.Next() != chunkenc.ValNone || want.Err() != nil) {
		tb.Fatalf("less than there is of %x, error %v", data, want.Err())
	}
}

func TestPropertyXORDecoding(t *testing.T) {
	property(t, func(draw *rapid.T) {
		chunk := chunkenc.NewXORChunk()
		app, err := chunk.Appender()
		if err != nil {
			draw.Fatal(err)
		}
		at, v := rapid.Int64().Draw(draw, "start")/4, 0.0
		for range rapid.IntRange(0, 130).Draw(draw, "samples") {
			at += rapid.OneOf(
				// Two of the same, and the limits of each length of what they differ by.
				rapid.SampledFrom([]int64{600_000, 600_000, 600_000 + 1<<13, 600_001 - 1<<13, 600_000 + 1<<16, 600_001 - 1<<16, 600_000 + 1<<19, 600_001 - 1<<19, 600_000 - 1<<19}),
				rapid.Int64Range(1, 40_000), rapid.Int64Range(1, 1<<40),
			).Draw(draw, "delta")
			switch rapid.IntRange(0, 3).Draw(draw, "change") {
			case 1:
				v += float64(rapid.IntRange(0, 1000).Draw(draw, "inc"))
			case 2:
				v = rapid.Float64().Draw(draw, "v")
			case 3:
				v = math.Float64frombits(rapid.Uint64().Draw(draw, "bits"))
			}
			app.Append(0, at, v)
		}
		data := chunk.Bytes()
		sameDecoding(draw, data)
		var whole floatsIterator
		if whole.reset(data); whole.Err() != nil {
			draw.Fatal(whole.Err())
		}
		if cut := rapid.IntRange(2, len(data)).Draw(draw, "cut"); cut < len(data) {
			sameDecoding(draw, data[:cut])
		}
	})
}

func FuzzXORDecoding(f *testing.F) {
	f.Add([]byte{0, 3, 2, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) >= 2 {
			sameDecoding(t, data)
		}
	})
}
