package blocktest

import (
	"context"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/index"
	"github.com/thanos-io/objstore"

	"github.com/varve-tsdb/varve/internal/aggrchunk"
)

// The resolutions that Thanos downsamples to, in milliseconds.
const (
	FiveMinutes = 300_000
	OneHour     = 3_600_000
)

// PutDownsampled writes the block that downsampling a raw block of the samples of
// b to b.Resolution makes, and uploads it. One of an hour is made by way of one of five
// minutes, as Thanos does. SamplesPerChunk is how many windows a chunk has, 140
// if it is zero. Series of floats and series of exponential histograms that are
// counters or gauges will do; one of both kinds or of custom buckets will not.
func PutDownsampled(tb testing.TB, bkt objstore.Bucket, b Block) ulid.ULID {
	tb.Helper()
	dir := tb.TempDir()
	id := WriteDownsampled(tb, dir, b)
	Upload(tb, bkt, dir, id)
	return id
}

// WriteDownsampled is PutDownsampled for a local directory <dir>/<ULID>.
func WriteDownsampled(tb testing.TB, dir string, b Block) ulid.ULID {
	tb.Helper()
	// The raw block gives the meta.json, of which only the files change.
	id := Write(tb, dir, b)
	root := filepath.Join(dir, id.String())
	fatal := func(err error) {
		if err != nil {
			tb.Fatalf("blocktest: write downsampled block: %v", err)
		}
	}
	fatal(os.RemoveAll(filepath.Join(root, "chunks")))
	fatal(os.Remove(filepath.Join(root, "index")))

	segments, err := chunks.NewWriter(filepath.Join(root, "chunks"))
	fatal(err)
	series := slices.Clone(b.Series)
	slices.SortFunc(series, func(a, b Series) int { return labels.Compare(a.Labels, b.Labels) })
	symbols := map[string]bool{"": true}
	metas := make([][]chunks.Meta, len(series))
	for i, s := range series {
		metas[i] = Downsample(tb, s.Samples, b.Resolution, b.SamplesPerChunk)
		fatal(segments.WriteChunks(metas[i]...))
		s.Labels.Range(func(l labels.Label) { symbols[l.Name], symbols[l.Value] = true, true })
	}
	fatal(segments.Close())

	w, err := index.NewWriter(context.Background(), filepath.Join(root, "index"))
	fatal(err)
	for _, s := range slices.Sorted(maps.Keys(symbols)) {
		fatal(w.AddSymbol(s))
	}
	for i, s := range series {
		if len(metas[i]) > 0 {
			fatal(w.AddSeries(storage.SeriesRef(i), s.Labels, metas[i]...))
		}
	}
	fatal(w.Close())
	writeMeta(tb, root, id, b)
	return id
}

// Downsample makes chunks of aggregates of samples, which are of one kind. windows
// is how many a chunk has, 140 if it is zero.
func Downsample(tb testing.TB, samples []Sample, resolution int64, windows int) []chunks.Meta {
	tb.Helper()
	if windows == 0 {
		windows = 140
	}
	samples = slices.DeleteFunc(slices.Clone(samples), func(s Sample) bool {
		return s.T < 0 || s.kind() == 0 && math.IsNaN(s.V)
	})
	var batches []batch
	step := min(resolution, FiveMinutes)
	for len(samples) > 0 {
		n := 0 // samples of the batch
		for seen, end := 0, int64(-1); n < len(samples); n++ {
			if e := windowEnd(samples[n].T, step); e != end {
				if seen, end = seen+1, e; seen > windows {
					break
				}
			}
		}
		batches = append(batches, newBatch(samples[:n], step))
		samples = samples[n:]
	}
	if resolution > step {
		batches = coarser(batches, resolution, windows)
	}
	var out []chunks.Meta
	for _, b := range batches {
		out = append(out, b.chunk(tb))
	}
	return out
}

func windowEnd(t, resolution int64) int64 { return t - t%resolution + resolution - 1 }

// window is the aggregates of one window of floats, or of histograms if sumH is
// set.
type window struct {
	t                             int64
	count, sum, min, max, counter float64
	sumH, counterH                *histogram.FloatHistogram
}

// batch is what one chunk holds.
type batch struct {
	mint, maxt  int64
	first, last Sample // true samples, histograms as floats
	windows     []window
}

// newBatch aggregates raw samples.
func newBatch(samples []Sample, resolution int64) batch {
	last := samples[len(samples)-1]
	b := batch{mint: samples[0].T, maxt: last.T, first: floats(samples[0]), last: floats(last)}
	var before Sample
	var total float64
	for i, s := range samples {
		s = floats(s)
		end := min(windowEnd(s.T, resolution), b.maxt)
		if len(b.windows) == 0 || b.windows[len(b.windows)-1].t != end {
			b.windows = append(b.windows, window{t: end, min: math.Inf(1), max: math.Inf(-1)})
		}
		w := &b.windows[len(b.windows)-1]
		w.count++
		if s.FH != nil {
			w.addHistogram(s.FH)
			continue
		}
		switch {
		case i == 0:
			total = s.V
		case s.V < before.V:
			total += s.V
		default:
			total += s.V - before.V
		}
		before = s
		w.sum += s.V
		w.min, w.max, w.counter = min(w.min, s.V), max(w.max, s.V), total
	}
	return b
}

// addHistogram takes histograms for counters that are not reset.
func (w *window) addHistogram(h *histogram.FloatHistogram) {
	w.counterH = h
	if w.sumH == nil {
		w.sumH = h.Copy()
		w.sumH.CounterResetHint = histogram.GaugeType
		return
	}
	if sum, _, _, err := w.sumH.Add(h); err == nil {
		w.sumH = sum
	}
	w.sumH.CounterResetHint = histogram.GaugeType
}

func floats(s Sample) Sample {
	if s.H != nil {
		s.FH, s.H = s.H.ToFloat(nil), nil
	}
	return s
}

// coarser aggregates whole chunks further.
func coarser(fine []batch, resolution int64, windows int) (out []batch) {
	for len(fine) > 0 {
		n, seen := 0, 0
		for n < len(fine) && (n == 0 || seen+len(fine[n].windows) <= windows*int(resolution/FiveMinutes)) {
			seen += len(fine[n].windows)
			n++
		}
		out = append(out, joinBatches(fine[:n], resolution))
		fine = fine[n:]
	}
	return out
}

func joinBatches(fine []batch, resolution int64) batch {
	last := fine[len(fine)-1]
	b := batch{mint: fine[0].mint, maxt: last.maxt, first: fine[0].first, last: last.last}
	offset := 0.0 // of the counter, against what the chunk at hand says
	for i, f := range fine {
		if i > 0 && f.first.FH == nil {
			before := fine[i-1]
			total := b.windows[len(b.windows)-1].counter
			if f.first.V >= before.last.V {
				offset = total - before.last.V
			} else {
				offset = total
			}
		}
		for _, w := range f.windows {
			end := min(windowEnd(w.t, resolution), b.maxt)
			w.counter += offset
			if n := len(b.windows); n > 0 && b.windows[n-1].t == end {
				b.windows[n-1].join(w)
				continue
			}
			w.t = end
			b.windows = append(b.windows, w)
		}
	}
	return b
}

func (w *window) join(with window) {
	w.count += with.count
	if with.sumH != nil {
		w.addHistogram(with.sumH)
		w.counterH = with.counterH
		return
	}
	w.sum += with.sum
	w.min, w.max, w.counter = min(w.min, with.min), max(w.max, with.max), with.counter
}

// chunk encodes the batch.
func (b batch) chunk(tb testing.TB) chunks.Meta {
	tb.Helper()
	var of [5]aggrchunk.Slot
	values := func(value func(window) float64, more ...Sample) chunkenc.Chunk {
		var all []Sample
		for _, w := range b.windows {
			all = append(all, Float(w.t, value(w)))
		}
		return encode(tb, append(all, more...))
	}
	of[aggrchunk.Count] = aggrchunk.SlotOf(values(func(w window) float64 { return w.count }))
	if b.first.FH != nil {
		sums, counters := []Sample{}, []Sample{b.first}
		for _, w := range b.windows {
			sums = append(sums, Sample{T: w.t, FH: w.sumH})
			if w.t > b.first.T {
				counters = append(counters, Sample{T: w.t, FH: w.counterH})
			}
		}
		of[aggrchunk.Sum] = aggrchunk.SlotOf(encode(tb, sums))
		of[aggrchunk.Counter] = aggrchunk.SlotOf(encode(tb, counters))
	} else {
		of[aggrchunk.Sum] = aggrchunk.SlotOf(values(func(w window) float64 { return w.sum }))
		of[aggrchunk.Min] = aggrchunk.SlotOf(values(func(w window) float64 { return w.min }))
		of[aggrchunk.Max] = aggrchunk.SlotOf(values(func(w window) float64 { return w.max }))
		counter := []Sample{b.first}
		for _, w := range b.windows {
			counter = append(counter, Float(w.t, w.counter))
		}
		of[aggrchunk.Counter] = aggrchunk.SlotOf(encode(tb, append(counter, Float(b.maxt, b.last.V))))
	}
	return chunks.Meta{MinTime: b.mint, MaxTime: b.maxt, Chunk: aggrchunk.New(of)}
}

// encode makes one chunk of samples.
func encode(tb testing.TB, samples []Sample) chunkenc.Chunk {
	tb.Helper()
	var c chunkenc.Chunk = chunkenc.NewXORChunk()
	if samples[0].FH != nil {
		c = chunkenc.NewFloatHistogramChunk()
	}
	app, err := c.Appender()
	if err != nil {
		tb.Fatalf("blocktest: %v", err)
	}
	for _, s := range samples {
		if s.FH == nil {
			app.Append(0, s.T, s.V)
			continue
		}
		other, recoded, next, err := app.AppendFloatHistogram(nil, 0, s.T, s.FH, false)
		if err != nil || other != nil && !recoded {
			tb.Fatalf("blocktest: the histograms do not fit in one chunk: %v", err)
		}
		if app = next; other != nil {
			c = other
		}
	}
	return c
}
