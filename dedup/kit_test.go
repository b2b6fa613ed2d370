package dedup

import (
	"fmt"
	"math"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
)

// point is a sample of a test: a float, or a histogram if h or fh is set.
type point struct {
	t  int64
	v  float64
	h  *histogram.Histogram
	fh *histogram.FloatHistogram
}

func (p point) typ() chunkenc.ValueType {
	switch {
	case p.h != nil:
		return chunkenc.ValHistogram
	case p.fh != nil:
		return chunkenc.ValFloatHistogram
	}
	return chunkenc.ValFloat
}

func (p point) String() string {
	switch {
	case p.h != nil:
		return fmt.Sprintf("%d:%s", p.t, p.h)
	case p.fh != nil:
		return fmt.Sprintf("%d:%s", p.t, p.fh)
	case value.IsStaleNaN(p.v):
		return fmt.Sprintf("%d:stale", p.t)
	}
	return fmt.Sprintf("%d:%g", p.t, p.v)
}

// number is what a counter never lowers.
func (p point) number() float64 {
	switch {
	case p.h != nil:
		return float64(p.h.Count)
	case p.fh != nil:
		return p.fh.Count
	}
	return p.v
}

// as returns the point with a histogram as coarse as that of q, if it is finer.
func (p point) as(q point) point {
	switch {
	case p.h != nil && q.h != nil && !q.h.UsesCustomBuckets():
		p.h = coarser(p.h, int8(q.h.Schema))
	case p.fh != nil && q.fh != nil && !q.fh.UsesCustomBuckets():
		p.fh = coarserFloat(p.fh, int8(q.fh.Schema))
	}
	return p
}

// resets reports whether PromQL takes p, if it follows last, for a counter that
// was reset.
func (p point) resets(last point) bool {
	if p.typ() == chunkenc.ValFloat || last.typ() == chunkenc.ValFloat {
		return p.number() < last.number()
	}
	now := p.float().Copy()
	now.CounterResetHint = histogram.UnknownCounterReset // as where a chunk begins
	return now.DetectReset(last.float())
}

func (p point) float() *histogram.FloatHistogram {
	if p.h != nil {
		return p.h.ToFloat(nil)
	}
	return p.fh
}

// stale reports whether the point is a stale marker.
func (p point) stale() bool {
	switch {
	case p.h != nil:
		return value.IsStaleNaN(p.h.Sum)
	case p.fh != nil:
		return value.IsStaleNaN(p.fh.Sum)
	}
	return value.IsStaleNaN(p.v)
}

func (p point) same(q point) bool { return p.String() == q.String() }

var stale = math.Float64frombits(value.StaleNaN)

// seconds makes float points of pairs: seconds, value.
func seconds(pairs ...float64) []point {
	var list []point
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, point{t: int64(math.Round(pairs[i] * 1000)), v: pairs[i+1]})
	}
	return list
}

// decodes counts the chunks of which an iterator was taken.
type decodes struct{ n int }

type countedChunk struct {
	chunkenc.Chunk
	decodes *decodes
}

func (c countedChunk) Iterator(it chunkenc.Iterator) chunkenc.Iterator {
	c.decodes.n++
	return c.Chunk.Iterator(it)
}

// encode cuts points into chunks of at most size samples.
func encode(tb testing.TB, points []point, size int) []chunks.Meta {
	tb.Helper()
	var (
		metas []chunks.Meta
		app   chunkenc.Appender
		n     int
	)
	for i, p := range points {
		if i == 0 || n >= size || points[i-1].typ() != p.typ() {
			chunk, err := p.typ().NewChunk(false, false)
			if err != nil {
				tb.Fatal(err)
			}
			if app, err = chunk.Appender(); err != nil {
				tb.Fatal(err)
			}
			metas = append(metas, chunks.Meta{Chunk: chunk, MinTime: p.t})
			n = 0
		}
		last := &metas[len(metas)-1]
		var (
			fresh   chunkenc.Chunk
			recoded bool
			err     error
		)
		switch {
		case p.h != nil:
			fresh, recoded, app, err = app.AppendHistogram(nil, 0, p.t, p.h.Copy(), false)
		case p.fh != nil:
			fresh, recoded, app, err = app.AppendFloatHistogram(nil, 0, p.t, p.fh.Copy(), false)
		default:
			app.Append(0, p.t, p.v)
		}
		if err != nil {
			tb.Fatal(err)
		}
		if fresh != nil {
			if recoded {
				last.Chunk = fresh
			} else {
				metas = append(metas, chunks.Meta{Chunk: fresh, MinTime: p.t})
				last, n = &metas[len(metas)-1], 0
			}
		}
		last.MaxTime = p.t
		n++
	}
	return metas
}

func seriesOf(lset labels.Labels, metas ...chunks.Meta) storage.ChunkSeries {
	return &storage.ChunkSeriesEntry{Lset: lset, ChunkIteratorFn: func(chunks.Iterator) chunks.Iterator {
		return storage.NewListChunkSeriesIterator(metas...)
	}}
}

var testLabels = labels.FromStrings(model.MetricNameLabel, "x")

// replica is a series of the points, 120 to a chunk.
func replica(tb testing.TB, points []point) storage.ChunkSeries {
	tb.Helper()
	return seriesOf(testLabels, encode(tb, points, 120)...)
}

// readChunks returns the chunks of a series, which must be ordered and must not
// overlap.
func readChunks(series storage.ChunkSeries) ([]chunks.Meta, error) {
	metas, err := storage.ExpandChunks(series.Iterator(nil))
	for i, meta := range metas {
		if i > 0 && meta.MinTime <= metas[i-1].MaxTime {
			return nil, fmt.Errorf("chunk at %d..%d follows one at %d..%d",
				meta.MinTime, meta.MaxTime, metas[i-1].MinTime, metas[i-1].MaxTime)
		}
		if n := meta.Chunk.NumSamples(); n > maxChunkSamples {
			return nil, fmt.Errorf("chunk at %d..%d has %d samples", meta.MinTime, meta.MaxTime, n)
		}
	}
	return metas, err
}

// readPoints returns the samples of a series, whose timestamps must rise. If it
// can show its samples without chunks, too, they must be the same.
func readPoints(series storage.ChunkSeries) ([]point, error) {
	list, err := readChunkPoints(series)
	if merged, ok := series.(*mergedSeries); ok && err == nil {
		err = sameSamples(merged, list, math.MinInt64, math.MaxInt64)
	}
	return list, err
}

func readChunkPoints(series storage.ChunkSeries) ([]point, error) {
	metas, err := readChunks(series)
	if err != nil {
		return nil, err
	}
	var list []point
	for _, meta := range metas {
		from := len(list)
		it := meta.Chunk.Iterator(nil)
		for typ := it.Next(); typ != chunkenc.ValNone; typ = it.Next() {
			p := pointAt(it, typ)
			if n := len(list); n > 0 && list[n-1].t >= p.t {
				return nil, fmt.Errorf("sample at %d follows one at %d", p.t, list[n-1].t)
			}
			list = append(list, p)
		}
		if it.Err() != nil {
			return nil, it.Err()
		}
		if len(list) == from || list[from].t != meta.MinTime || list[len(list)-1].t != meta.MaxTime {
			return nil, fmt.Errorf("chunk at %d..%d does not hold that", meta.MinTime, meta.MaxTime)
		}
	}
	return list, nil
}

// pointAt returns the current sample.
func pointAt(it chunkenc.Iterator, typ chunkenc.ValueType) (p point) {
	switch typ {
	case chunkenc.ValHistogram:
		p.t, p.h = it.AtHistogram(nil)
		p.h = p.h.Copy()
	case chunkenc.ValFloatHistogram:
		p.t, p.fh = it.AtFloatHistogram(nil)
		p.fh = p.fh.Copy()
	default:
		p.t, p.v = it.At()
	}
	return p
}

// sameSamples checks that the series shows those of want that are between mint
// and maxt.
func sameSamples(series *mergedSeries, want []point, mint, maxt int64) error {
	samples, err := series.Samples(mint, maxt)
	if err != nil {
		return err
	}
	var got []point
	it := samples.Iterator(nil)
	for typ := it.Next(); typ != chunkenc.ValNone; typ = it.Next() {
		got = append(got, pointAt(it, typ))
	}
	if it.Err() != nil {
		return it.Err()
	}
	return samePoints(got, within(want, mint, maxt))
}

// within returns the points from mint to maxt.
func within(points []point, mint, maxt int64) []point {
	var list []point
	for _, p := range points {
		if p.t >= mint && p.t <= maxt {
			list = append(list, p)
		}
	}
	return list
}

// samePoints compares samples but for counter reset hints and empty buckets,
// which depend on where chunks are cut.
func samePoints(got, want []point) error {
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i].t != want[i].t || !samePoint(got[i], want[i]) {
			return fmt.Errorf("sample %d: shown are %v, chunks have %v", i, got[min(i, len(got)):], want[min(i, len(want)):])
		}
	}
	return nil
}

// merged merges replicas of the points given.
func merged(tb testing.TB, replicas ...[]point) []point {
	tb.Helper()
	list := make([]storage.ChunkSeries, len(replicas))
	for i, points := range replicas {
		list[i] = replica(tb, points)
	}
	got, err := readPoints(Merge(list...))
	if err != nil {
		tb.Fatal(err)
	}
	return got
}

func wantPoints(tb testing.TB, got, want []point) {
	tb.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		tb.Errorf("got  %v\nwant %v", got, want)
	}
}

// listSet is a set of given series.
type listSet struct {
	list []storage.ChunkSeries
	i    int
}

func (s *listSet) Next() bool                        { s.i++; return s.i <= len(s.list) }
func (s *listSet) At() storage.ChunkSeries           { return s.list[s.i-1] }
func (s *listSet) Err() error                        { return nil }
func (s *listSet) Warnings() annotations.Annotations { return nil }
