package query

import (
	"cmp"
	"context"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/varve-tsdb/varve/internal/chunkread"
	"github.com/varve-tsdb/varve/internal/readcost"
)

// Samples returns source in the form a PromQL engine wants: series of samples
// instead of chunks, trimmed to the asked range, each timestamp once however
// many chunks have it.
//
// The chunks of a series are fetched when the set comes to it, so that failures
// and warnings of the source show on the set, and decoded one by one when the
// series is iterated. Where chunks overlap, as many are open at a time as there
// are layers of them.
//
// If the context of a read has a Cost, see WithCost, all series and chunks that
// it got are in it until that is closed.
func Samples(source storage.ChunkQueryable) storage.Queryable { return samples{source} }

type samples struct{ source storage.ChunkQueryable }

// Querier returns a querier for the inclusive range [mint, maxt] in
// milliseconds.
func (s samples) Querier(mint, maxt int64) (storage.Querier, error) {
	q, err := s.source.ChunkQuerier(mint, maxt)
	if err != nil {
		return nil, err
	}
	return &samplesQuerier{ChunkQuerier: q, mint: mint, maxt: maxt}, nil
}

type samplesQuerier struct {
	storage.ChunkQuerier
	mint, maxt int64
}

// Select returns the series that match, as sorted as the source sorts them.
func (q *samplesQuerier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	mint, maxt := q.mint, q.maxt
	if hints != nil {
		mint, maxt = max(mint, hints.Start), min(maxt, hints.End)
		// Sources may read them in the background, and the engine sorts the labels
		// once it has selected all series.
		own := *hints
		own.Grouping = slices.Clone(hints.Grouping)
		hints = &own
	}
	cost := readcost.From(ctx)
	cost.Keep()
	return &samplesSet{
		inner: q.ChunkQuerier.Select(ctx, sorted, hints, matchers...), mint: mint, maxt: maxt,
		cost: cost, kept: readcost.Hoard{Cost: cost},
	}
}

// sampled is a series that can show its samples without a detour by chunks, as
// dedup's can. It fetches its chunks and returns what reads the samples in the
// inclusive range [mint, maxt], any number of times side by side.
type sampled interface {
	Samples(mint, maxt int64) (chunkenc.Iterable, error)
}

// holder is what such samples are read from: how many chunks stay in memory for
// them, of all replicas, and with how many bytes; and how many chunks and samples
// the replica has that has most in the range.
type holder interface {
	Holds() (held int, bytes int64, chunks, samples int)
}

// samplesSet turns a set of chunks into one of samples.
type samplesSet struct {
	inner      storage.ChunkSeriesSet
	mint, maxt int64
	chunks     chunks.Iterator // reused
	scratch    []chunks.Meta   // reused
	current    storage.Series
	err        error
	cost       *readcost.Cost
	kept       readcost.Hoard // what the reader has got, and keeps
	pace       readcost.Pace
}

// What a reader such as the engine holds of a series and of a chunk, besides the
// bytes of labels and chunk: the series here and its places in the engine's lists
// and results.
const seriesMemory, chunkMemory = 512, 128

// Next fetches the chunks of the next series.
func (s *samplesSet) Next() bool {
	if s.err != nil || !s.inner.Next() {
		return false
	}
	s.pace.Step()
	series := s.inner.At()
	if direct, ok := series.(sampled); ok {
		samples, err := direct.Samples(s.mint, s.maxt)
		if s.err = err; err == nil {
			s.err = s.keep(series.Labels(), samples)
		}
		if s.err != nil {
			return false
		}
		s.current = &storage.SeriesEntry{Lset: series.Labels(), SampleIteratorFn: samples.Iterator}
		return true
	}
	s.chunks = series.Iterator(s.chunks)
	s.scratch = s.scratch[:0]
	samples, memory := 0, seriesMemory+int64(series.Labels().ByteSize())
	for s.chunks.Next() {
		if chunk := s.chunks.At(); chunk.Chunk != nil && chunk.MinTime <= s.maxt && s.mint <= chunk.MaxTime {
			s.scratch = append(s.scratch, chunk)
			samples += chunk.Chunk.NumSamples()
			memory += chunkMemory + int64(len(chunk.Chunk.Bytes()))
		}
	}
	if s.err = cmp.Or(s.chunks.Err(), s.kept.Keep(memory), s.cost.Returned(1, len(s.scratch), samples)); s.err != nil {
		return false
	}
	s.current = newSamplesSeries(series.Labels(), slices.Clone(s.scratch), s.mint, s.maxt)
	return true
}

// keep takes account of samples that are read from the chunks of replicas, all of
// which stay in memory. As many are returned as the fullest replica has, or about.
func (s *samplesSet) keep(lset labels.Labels, of chunkenc.Iterable) error {
	memory := seriesMemory + int64(lset.ByteSize())
	chunks, samples := 0, 0
	if of, ok := of.(holder); ok {
		var held int
		var bytes int64
		held, bytes, chunks, samples = of.Holds()
		memory += chunkMemory*int64(held) + bytes
	}
	return cmp.Or(s.kept.Keep(memory), s.cost.Returned(1, chunks, samples))
}

// At returns the current series. It stays iterable.
func (s *samplesSet) At() storage.Series { return s.current }

// Err returns why the set ended early.
func (s *samplesSet) Err() error { return cmp.Or(s.err, s.inner.Err()) }

// Warnings of the source.
func (s *samplesSet) Warnings() annotations.Annotations { return s.inner.Warnings() }

// samplesSeries is a series of chunks in layers, none of which overlaps itself.
type samplesSeries struct {
	labels     labels.Labels
	layers     [][]chunks.Meta
	mint, maxt int64
}

func newSamplesSeries(lset labels.Labels, list []chunks.Meta, mint, maxt int64) *samplesSeries {
	return &samplesSeries{labels: lset, layers: layer(list), mint: mint, maxt: maxt}
}

// layer puts each chunk on the first layer where it starts after what is
// already there, so that chunks that do not overlap are one layer, and two
// sources that cut the same samples differently are two.
func layer(list []chunks.Meta) [][]chunks.Meta {
	byStart := func(a, b chunks.Meta) int { return cmp.Compare(a.MinTime, b.MinTime) }
	if !slices.IsSortedFunc(list, byStart) {
		slices.SortStableFunc(list, byStart)
	}
	if !overlap(list) {
		return [][]chunks.Meta{list}
	}
	var layers [][]chunks.Meta
next:
	for _, chunk := range list {
		for i, l := range layers {
			if l[len(l)-1].MaxTime < chunk.MinTime {
				layers[i] = append(l, chunk)
				continue next
			}
		}
		layers = append(layers, []chunks.Meta{chunk})
	}
	return layers
}

func overlap(list []chunks.Meta) bool {
	for i := 1; i < len(list); i++ {
		if list[i].MinTime <= list[i-1].MaxTime {
			return true
		}
	}
	return false
}

// Labels of the series.
func (s *samplesSeries) Labels() labels.Labels { return s.labels }

// Iterator over the samples in the range.
func (s *samplesSeries) Iterator(it chunkenc.Iterator) chunkenc.Iterator {
	if len(s.layers) == 1 {
		return chunkread.Iterate(it, s.labels, s.layers[0], s.mint, s.maxt)
	}
	layers := make([]chunkenc.Iterator, 0, len(s.layers))
	for _, list := range s.layers {
		layers = append(layers, chunkread.Iterate(nil, s.labels, list, s.mint, s.maxt))
	}
	return storage.ChainSampleIteratorFromIterators(it, layers)
}
