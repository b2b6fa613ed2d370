package aggrchunk

import (
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/varve-tsdb/varve/internal/sortedsets"
)

// downsampled is an ordinary chunk that was made of aggregates.
type downsampled struct {
	chunkenc.Chunk
	resolution int64
}

// Mark returns the chunk as one of samples that stand for windows of the given
// length in milliseconds. Mark of a *Chunk is that chunk.
func Mark(c chunkenc.Chunk, resolution int64) chunkenc.Chunk {
	if _, ok := c.(*Chunk); ok || resolution <= 0 {
		return c
	}
	return downsampled{c, resolution}
}

// Resolution returns how long the windows are of a chunk that Mark returned, in
// milliseconds. It is 0 of any other.
func Resolution(c chunkenc.Chunk) int64 {
	if d, ok := c.(downsampled); ok {
		return d.resolution
	}
	return 0
}

// FinestFirst returns the set with samples of marked chunks left out at times that
// finer chunks of the series cover, as when one source still has the raw samples of
// what another has downsampled: to add both up would count twice. A gap between
// finer chunks counts as covered if it is no longer than a window. The
// chunks of a series must be ordered by MinTime.
func FinestFirst(set storage.ChunkSeriesSet) storage.ChunkSeriesSet { return finestSet{set} }

type finestSet struct{ storage.ChunkSeriesSet }

func (s finestSet) At() storage.ChunkSeries { return finestSeries{s.ChunkSeriesSet.At()} }

type finestSeries struct{ storage.ChunkSeries }

// Removed returns the labels that the series has lost, if it is known.
func (s finestSeries) Removed() (lost labels.Labels, known bool) {
	return sortedsets.Removed(s.ChunkSeries)
}

// Memory is about what the series takes.
func (s finestSeries) Memory() int64 { return sortedsets.Memory(s.ChunkSeries) }

func (s finestSeries) Iterator(it chunks.Iterator) chunks.Iterator {
	f, ok := it.(*finestChunks)
	if !ok {
		f = &finestChunks{}
	}
	f.collect(s.ChunkSeries)
	return f
}

// finestChunks has the chunks of one series.
type finestChunks struct {
	inner chunks.Iterator // to be used again
	list  []chunks.Meta
	next  int
	err   error
}

func (f *finestChunks) collect(series storage.ChunkSeries) {
	f.list, f.next, f.err = f.list[:0], 0, nil
	f.inner = series.Iterator(f.inner)
	mixed := false
	for f.inner.Next() {
		m := f.inner.At()
		mixed = mixed || len(f.list) > 0 && Resolution(m.Chunk) != Resolution(f.list[0].Chunk)
		f.list = append(f.list, m)
	}
	if f.err = f.inner.Err(); f.err == nil && mixed {
		f.list, f.err = finest(f.list)
	}
}

func (f *finestChunks) Next() bool {
	if f.err != nil || f.next == len(f.list) {
		return false
	}
	f.next++
	return true
}

func (f *finestChunks) At() chunks.Meta { return f.list[f.next-1] }
func (f *finestChunks) Err() error      { return f.err }

// times is a range of time, both ends inclusive.
type times struct{ from, to int64 }

// finest cuts chunks down to the times at which there are no finer ones.
func finest(list []chunks.Meta) (kept []chunks.Meta, err error) {
	coverages := map[int64][]times{}
	for _, m := range list {
		resolution := Resolution(m.Chunk)
		if resolution == 0 {
			kept = append(kept, m)
			continue
		}
		if _, ok := coverages[resolution]; !ok {
			coverages[resolution] = coverage(list, resolution)
		}
		for _, t := range uncovered(times{m.MinTime, m.MaxTime}, coverages[resolution]) {
			some, err := Clip(m, t.from, t.to)
			if err != nil {
				return nil, err
			}
			kept = append(kept, some...)
		}
	}
	slices.SortStableFunc(kept, func(a, b chunks.Meta) int {
		switch {
		case a.MinTime < b.MinTime:
			return -1
		case a.MinTime > b.MinTime:
			return 1
		}
		return 0
	})
	return kept, nil
}

// coverage returns the times that chunks finer than resolution cover, in order, as
// the times of samples that end a window: it is covered if its middle is.
func coverage(list []chunks.Meta, resolution int64) (all []times) {
	for _, m := range list {
		if Resolution(m.Chunk) >= resolution {
			continue
		}
		if n := len(all) - 1; n >= 0 && m.MinTime-all[n].to <= resolution {
			all[n].to = max(all[n].to, m.MaxTime)
			continue
		}
		all = append(all, times{m.MinTime, m.MaxTime})
	}
	for i := range all {
		all[i].from += resolution / 2
		all[i].to += resolution / 2
	}
	return all
}

// uncovered returns what of t none of covers is, which are in order.
func uncovered(t times, covers []times) (left []times) {
	for _, c := range covers {
		if c.to < t.from {
			continue
		}
		if c.from > t.to {
			break
		}
		if t.from < c.from {
			left = append(left, times{t.from, c.from - 1})
		}
		if t.from = c.to + 1; t.from > t.to {
			return left
		}
	}
	return append(left, t)
}
