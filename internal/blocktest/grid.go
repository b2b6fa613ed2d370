package blocktest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/index"
)

// Grid describes a block of Metrics times Instances series with one chunk of
// floats each, which is written series by series, so that it may be large.
type Grid struct {
	Metrics, Instances int
	// MinTime of the block, in milliseconds, and its samples, Step apart.
	MinTime, Step int64
	Samples       int
	External      labels.Labels
}

// MaxTime of the block, exclusive.
func (g Grid) MaxTime() int64 { return g.MinTime + int64(g.Samples)*g.Step }

// series calls yield for all label sets in order.
func (g Grid) series(yield func(labels.Labels)) {
	builder := labels.NewScratchBuilder(3)
	for m := range g.Metrics {
		for i := range g.Instances {
			builder.Reset()
			builder.Add("__name__", fmt.Sprintf("grid_metric_%06d_total", m))
			builder.Add("instance", fmt.Sprintf("host-%06d.example.com:9100", i))
			builder.Add("job", fmt.Sprintf("job-%02d", i%20))
			yield(builder.Labels())
		}
	}
}

// WriteGrid writes the block as the directory <dir>/<ULID> and returns the ULID.
func WriteGrid(tb testing.TB, dir string, g Grid) ulid.ULID {
	tb.Helper()
	id := ulid.Make()
	root := filepath.Join(dir, id.String())
	if err := os.MkdirAll(root, 0o777); err != nil {
		tb.Fatal(err)
	}
	segments, err := chunks.NewWriter(filepath.Join(root, "chunks"))
	if err != nil {
		tb.Fatal(err)
	}
	ix, err := index.NewWriter(context.Background(), filepath.Join(root, "index"))
	if err != nil {
		tb.Fatal(err)
	}
	symbols := map[string]bool{}
	g.series(func(ls labels.Labels) {
		ls.Range(func(l labels.Label) { symbols[l.Name], symbols[l.Value] = true, true })
	})
	for _, symbol := range slices.Sorted(maps.Keys(symbols)) {
		if err := ix.AddSymbol(symbol); err != nil {
			tb.Fatal(err)
		}
	}
	chunk := g.chunk(tb)
	ref := storage.SeriesRef(1)
	g.series(func(ls labels.Labels) {
		one := []chunks.Meta{{MinTime: g.MinTime, MaxTime: g.MaxTime() - g.Step, Chunk: chunk}}
		if err := segments.WriteChunks(one...); err != nil {
			tb.Fatal(err)
		}
		if err := ix.AddSeries(ref, ls, one...); err != nil {
			tb.Fatal(err)
		}
		ref++
	})
	for _, closing := range []func() error{segments.Close, ix.Close} {
		if err := closing(); err != nil {
			tb.Fatal(err)
		}
	}
	g.writeMeta(tb, root, id)
	return id
}

// chunk is that of every series.
func (g Grid) chunk(tb testing.TB) chunkenc.Chunk {
	tb.Helper()
	c := chunkenc.NewXORChunk()
	app, err := c.Appender()
	if err != nil {
		tb.Fatal(err)
	}
	v := 0.0
	for i := range g.Samples {
		v += float64(i * i % 97)
		app.Append(0, g.MinTime+int64(i)*g.Step, v)
	}
	return c
}

func (g Grid) writeMeta(tb testing.TB, root string, id ulid.ULID) {
	tb.Helper()
	n := uint64(g.Metrics * g.Instances)
	raw, err := json.Marshal(map[string]any{
		"version": 1, "ulid": id.String(), "minTime": g.MinTime, "maxTime": g.MaxTime(),
		"stats": map[string]any{"numSamples": n * uint64(g.Samples), "numSeries": n, "numChunks": n},
	})
	if err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "meta.json"), raw, 0o666); err != nil {
		tb.Fatal(err)
	}
	writeMeta(tb, root, id, Block{External: g.External})
}

// LinkAs puts the block <dir>/<id> into the directory of a bucket as another
// one, which has the external labels but shares its files.
func LinkAs(tb testing.TB, dir string, id ulid.ULID, bucket string, external labels.Labels) ulid.ULID {
	tb.Helper()
	from, as := filepath.Join(dir, id.String()), ulid.Make()
	to := filepath.Join(bucket, as.String())
	for _, name := range objectNames(tb, from) {
		target := filepath.Join(to, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(target), 0o777); err != nil {
			tb.Fatal(err)
		}
		source := filepath.Join(from, filepath.FromSlash(name))
		if name == "meta.json" { // is rewritten, and must be a file of its own
			raw, err := os.ReadFile(source)
			if err == nil {
				err = os.WriteFile(target, raw, 0o666)
			}
			if err != nil {
				tb.Fatal(err)
			}
			continue
		}
		if err := os.Link(source, target); err != nil {
			tb.Fatal(err)
		}
	}
	writeMeta(tb, to, as, Block{External: external})
	return as
}
