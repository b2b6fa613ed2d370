package store

import (
	"context"
	"fmt"

	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/varve-tsdb/varve/internal/aggrchunk"
)

// chunkForm says in which form the chunks of a block are wanted.
type chunkForm struct {
	// stored leaves chunks of aggregates as they are.
	stored bool
	// aggregates are wanted of those otherwise, and counters says that these are
	// to come out of aggrchunk.Counters.
	aggregates []aggrchunk.Aggregate
	counters   bool
	// Samples outside of [from, to], both inclusive, are dropped if clip is
	// set, because other blocks answer for them.
	clip     bool
	from, to int64
}

func newChunkForm(ctx context.Context, hints *storage.SelectHints) chunkForm {
	function := ""
	if hints != nil {
		function = hints.Func
	}
	return chunkForm{
		stored: aggrchunk.IsAsStored(ctx), aggregates: aggrchunk.ForFunc(function),
		counters: aggrchunk.WantsCounters(function) && !aggrchunk.IsAsStored(ctx) && !aggrchunk.KeepsCounters(ctx),
	}
}

// within narrows a selection to a piece of a block.
func (s selection) within(p chosen) selection {
	s.mint, s.maxt = max(s.mint, p.from), min(s.maxt, p.to-1)
	if b := p.blockReader.block; p.from > b.minTime || p.to < b.maxTime {
		s.form.clip, s.form.from, s.form.to = true, p.from, p.to-1
	}
	return s
}

// wantedAggregates returns those aggregates of a checked record that are wanted,
// in memory of their own, or nil if the record is to stay as it is.
func (r chunkReader) wantedAggregates(record []byte) (*aggrchunk.Chunk, error) {
	enc, data := recordContent(record)
	if enc != aggrchunk.Encoding || r.block.resolution == 0 || r.form.stored {
		return nil, nil
	}
	all, err := aggrchunk.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return all.Only(r.form.aggregates...), nil
}

// newStoredChunk is newChunk that knows chunks of aggregates, too, which only
// downsampled blocks may have. It keeps data.
func (r chunkReader) newStoredChunk(enc chunkenc.Encoding, data []byte) (chunkenc.Chunk, error) {
	if enc != aggrchunk.Encoding || r.block.resolution == 0 {
		return newChunk(enc, data)
	}
	c, err := aggrchunk.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return c, nil
}

// convert makes ordinary chunks of those that are not, if they are wanted, and drops
// samples that other blocks answer for. It returns those series of batch that have any
// left, in the memory of batch.
func (r chunkReader) convert(ctx context.Context, batch []series) ([]series, error) {
	if (r.form.stored || r.block.resolution == 0) && !r.form.clip {
		return batch, nil
	}
	kept := batch[:0]
	for _, s := range batch {
		had := len(s.chunks) > 0
		converted := make([]chunks.Meta, 0, len(s.chunks))
		for _, m := range s.chunks {
			some, err := r.convertChunk(m)
			if err != nil {
				err = chunkFault(offsetOf(m.Ref), fmt.Errorf("%w: %w", ErrCorrupt, err))
				return nil, r.block.fault(ctx, r.block.chunksObject(segmentOf(m.Ref)), err)
			}
			converted = append(converted, some...)
		}
		if s.chunks, s.ends = converted, nil; len(converted) > 0 || !had {
			kept = append(kept, s)
		}
	}
	return kept, nil
}

func (r chunkReader) convertChunk(m chunks.Meta) ([]chunks.Meta, error) {
	converted := []chunks.Meta{m}
	if c, ok := m.Chunk.(*aggrchunk.Chunk); ok && !r.form.stored {
		var err error
		if converted, err = aggrchunk.Ordinary(m, c, r.form.aggregates, newChunk); err != nil {
			return nil, err
		}
	}
	for i, m := range converted {
		converted[i].Chunk = aggrchunk.Mark(m.Chunk, r.block.resolution)
	}
	if !r.form.clip {
		return converted, nil
	}
	var clipped []chunks.Meta
	for _, m := range converted {
		some, err := r.clip(m)
		if err != nil {
			return nil, err
		}
		clipped = append(clipped, some...)
	}
	return clipped, nil
}

// clip drops what other blocks answer for.
func (r chunkReader) clip(m chunks.Meta) ([]chunks.Meta, error) {
	if _, ok := m.Chunk.(*aggrchunk.Chunk); !ok {
		return aggrchunk.Clip(m, r.form.from, r.form.to)
	}
	m, ok, err := aggrchunk.ClipStored(m, r.form.from, r.form.to, newChunk)
	if err != nil || !ok {
		return nil, err
	}
	return []chunks.Meta{m}, nil
}
