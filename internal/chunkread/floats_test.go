package chunkread_test

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"pgregory.net/rapid"

	"github.com/varve-tsdb/varve/internal/chunkread"
)

// sameDecoding checks that a chunk's data is decoded as chunkenc does, in
// portions of the given size, but for an error where the data breaks off, beyond
// which that makes up samples.
func sameDecoding(tb rapid.TB, data []byte, portion int) {
	tb.Helper()
	chunk := chunkenc.NewXORChunk()
	chunk.Reset(data)
	want := chunk.Iterator(nil)
	var (
		d   chunkread.Floats
		got []chunkread.Sample
		err error
	)
	d.Reset(data)
	for read := 0; ; {
		got = d.Append(got, portion)
		err = d.Err()
		if len(got)-read > portion {
			tb.Fatalf("%d samples at once, want at most %d", len(got)-read, portion)
		}
		if err != nil || len(got)-read < portion {
			break
		}
		read = len(got)
	}
	for i, s := range got {
		if want.Next() == chunkenc.ValNone {
			tb.Fatalf("more than %d samples of %x, error %v", i, data, want.Err())
		}
		wantT, wantV := want.At()
		if s.T != wantT || math.Float64bits(s.V) != math.Float64bits(wantV) {
			tb.Fatalf("sample %d: %d %g, want %d %g", i, s.T, s.V, wantT, wantV)
		}
	}
	if err == nil && (want.Next() != chunkenc.ValNone || want.Err() != nil) {
		tb.Fatalf("less than there is of %x, error %v", data, want.Err())
	}
	if more := d.Append(got, portion); len(more) > len(got) || !errors.Is(d.Err(), err) {
		tb.Fatalf("%d samples after the last, error %v, want none and %v", len(more)-len(got), d.Err(), err)
	}
}

func TestFloats(t *testing.T) {
	rapid.Check(t, func(draw *rapid.T) {
		chunk := chunkenc.NewXORChunk()
		app, err := chunk.Appender()
		if err != nil {
			draw.Fatal(err)
		}
		at, v := rapid.Int64().Draw(draw, "start")/4, 0.0
		samples := rapid.IntRange(0, 130).Draw(draw, "samples")
		for range samples {
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
		data, portion := chunk.Bytes(), rapid.SampledFrom([]int{1, 2, 3, 32, 1 << 16}).Draw(draw, "portion")
		sameDecoding(draw, data, portion)
		var d chunkread.Floats
		d.Reset(data)
		if all := d.Append(nil, math.MaxInt); len(all) != samples || d.Err() != nil {
			draw.Fatalf("%d samples of %d, error %v", len(all), samples, d.Err())
		}
		if cut := rapid.IntRange(2, len(data)).Draw(draw, "cut"); cut < len(data) {
			sameDecoding(draw, data[:cut], portion)
		}
	})
}

func FuzzFloats(f *testing.F) {
	f.Add([]byte{0, 3, 2, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0xff, 0xff}, uint8(2))
	f.Fuzz(func(t *testing.T, data []byte, portion uint8) {
		if len(data) >= 2 {
			sameDecoding(t, data, int(portion)+1)
		}
	})
}

// BenchmarkFloats decodes a chunk in portions of several sizes, and prints how many
// times what chunkenc's iterator takes that is.
func BenchmarkFloats(b *testing.B) {
	chunk := chunkenc.NewXORChunk()
	app, err := chunk.Appender()
	if err != nil {
		b.Fatal(err)
	}
	for i := range int64(120) {
		app.Append(0, 30_000*i+i*i*7919%20, float64(i*i*31%977+40*i))
	}
	var it chunkenc.Iterator
	for _, portion := range []int{16, 32, 120} {
		b.Run(fmt.Sprint("by ", portion), func(b *testing.B) {
			var f chunkread.Floats
			var out []chunkread.Sample
			least, floor := time.Hour, time.Hour
			for b.Loop() {
				began := time.Now()
				for range 20 {
					f.Reset(chunk.Bytes())
					for left := 120; left > 0; left -= portion {
						out = f.Append(out[:0], portion)
					}
				}
				least = min(least, time.Since(began))
				began = time.Now()
				for range 20 {
					it = chunk.Iterator(it)
					for it.Next() != chunkenc.ValNone {
						it.At()
					}
				}
				floor = min(floor, time.Since(began))
			}
			b.ReportMetric(float64(least)/float64(floor), "x-floor")
		})
	}
}
