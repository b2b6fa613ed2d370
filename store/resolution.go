package store

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/varve-tsdb/varve/internal/aggrchunk"
	"github.com/varve-tsdb/varve/internal/readopts"
)

// blockRange is what the choice of resolutions needs to know of a block.
// Everything is in milliseconds.
type blockRange struct {
	from, to   int64 // [from, to)
	resolution int64
}

// piece is a part of a block's time that an answer takes from it.
type piece struct {
	block    int   // index
	from, to int64 // [from, to), within the block's range
}

// choosePieces decides which blocks of a stream answer for the inclusive range
// [mint, maxt]: those of the coarsest resolution that is not above most, where
// they leave gaps those of the next finer one, and so on to raw ones. What then
// still is empty gets coarser ones, the finest first: an empty range would claim that there
// was nothing. Blocks of one resolution that overlap all count. The pieces are
// ordered by their start; they overlap the range and may reach out of it.
func choosePieces(blocks []blockRange, mint, maxt, most int64) []piece {
	var levels []int64
	for _, b := range blocks {
		levels = append(levels, b.resolution)
	}
	slices.SortFunc(levels, func(a, b int64) int {
		if fineA, fineB := a <= most, b <= most; fineA != fineB {
			return cmp.Compare(btoi(fineB), btoi(fineA)) // what is acceptable comes first
		} else if fineA {
			return cmp.Compare(b, a)
		}
		return cmp.Compare(a, b)
	})
	// Pieces end where other blocks begin to answer, not where the range does.
	gaps := []span{{math.MinInt64, math.MaxInt64}}
	var pieces []piece
	for _, level := range slices.Compact(levels) {
		var covered []span
		for i, b := range blocks {
			if b.resolution != level {
				continue
			}
			for _, gap := range gaps {
				if from, to := max(gap.from, b.from), min(gap.to, b.to); from < to && from <= maxt && mint < to {
					pieces = append(pieces, piece{i, from, to})
				}
			}
			covered = append(covered, span{b.from, b.to})
		}
		gaps = without(gaps, covered)
	}
	slices.SortStableFunc(pieces, func(a, b piece) int { return cmp.Compare(a.from, b.from) })
	return pieces
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// without returns what is in gaps and in none of covered.
func without(gaps, covered []span) []span {
	for _, c := range covered {
		var left []span
		for _, g := range gaps {
			if c.from >= g.to || c.to <= g.from {
				left = append(left, g)
				continue
			}
			if g.from < c.from {
				left = append(left, span{g.from, c.from})
			}
			if c.to < g.to {
				left = append(left, span{c.to, g.to})
			}
		}
		gaps = left
	}
	return gaps
}

// chosen is a block of a stream with the part of its time that counts.
type chosen struct {
	*blockReader
	piece
}

func (c chosen) downsampled() bool { return c.blockReader.block.resolution > 0 }

// choose picks the blocks that answer for [mint, maxt] at a resolution of most
// milliseconds or finer, if possible.
func (s *streamQuerier) choose(mint, maxt, most int64) []chosen {
	ranges := make([]blockRange, len(s.blocks))
	for i, r := range s.blocks {
		ranges[i] = blockRange{r.block.minTime, r.block.maxTime, r.block.resolution}
	}
	var picked []chosen
	for _, p := range choosePieces(ranges, mint, maxt, most) {
		picked = append(picked, chosen{s.blocks[p.block], p})
	}
	return picked
}

// blocksOf returns the blocks, each once.
func blocksOf(picked []chosen) (blocks []*blockReader) {
	had := map[*blockReader]bool{}
	for _, p := range picked {
		if !had[p.blockReader] {
			had[p.blockReader] = true
			blocks = append(blocks, p.blockReader)
		}
	}
	return blocks
}

// notPicked returns how many of the blocks that overlap the inclusive range have
// another resolution answer in their place.
func (s *streamQuerier) notPicked(mint, maxt int64, picked []chosen) int {
	n := -len(blocksOf(picked))
	for _, r := range s.blocks {
		if r.block.overlaps(mint, maxt) {
			n++
		}
	}
	return n
}

// acceptable returns the coarsest resolution, in milliseconds, that the reader
// accepts and that makes sense for the function it will apply.
func acceptable(ctx context.Context, hints *storage.SelectHints) int64 {
	most := readopts.From(ctx).MaxResolution
	if hints != nil {
		rng := time.Duration(min(hints.Range, math.MaxInt64/int64(time.Millisecond))) * time.Millisecond
		most = aggrchunk.CapResolution(most, hints.Func, rng)
	}
	return most.Milliseconds()
}

// CoarserError is the note in an answer that it has downsampled data of a coarser
// resolution than was asked for, because there is no finer one. In the query API
// it is one of the infos: nothing is missing, and the answer may be cached.
type CoarserError struct {
	// External labels of the stream.
	External labels.Labels
	// From (inclusive) and To (exclusive) bound the data.
	From, To time.Time
	// Resolution of the data.
	Resolution time.Duration
}

func (e *CoarserError) Error() string {
	return fmt.Sprintf("%v: of %s the data from %s to %s is there at a resolution of %s only", annotations.PromQLInfo, e.External,
		e.From.UTC().Format(time.RFC3339), e.To.UTC().Format(time.RFC3339), e.Resolution)
}

// Unwrap tells that this is for information only.
func (e *CoarserError) Unwrap() error { return annotations.PromQLInfo }

// coarser returns the notes about pieces that are coarser than most, one for each
// resolution.
func coarser(picked []chosen, most int64) (notes annotations.Annotations) {
	found := map[int64]*CoarserError{}
	for _, p := range picked {
		b := p.blockReader.block
		if b.resolution <= most {
			continue
		}
		from, to := time.UnixMilli(p.from), time.UnixMilli(p.to)
		if e := found[b.resolution]; e != nil {
			e.To = later(e.To, to)
			continue
		}
		found[b.resolution] = &CoarserError{b.external, from, to, time.Duration(b.resolution) * time.Millisecond}
	}
	for _, e := range found {
		notes.Add(e)
	}
	return notes
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
