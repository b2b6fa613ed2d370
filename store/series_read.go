package store

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/varve-tsdb/varve/internal/indexheader"
	"github.com/varve-tsdb/varve/internal/readcost"
)

const (
	// seriesGuess is how many bytes are read for a series entry whose end is
	// not known, nor by meta.json the size of the largest. Nearly all are much
	// shorter; reading too much costs less than reading twice.
	seriesGuess = 64 << 10
	// guessLeast and guessMost bound what meta.json says about sizes. The
	// least shows the length of an entry or a chunk.
	guessLeast, guessMost = 64, 1 << 20
	// reachLeast and reachMost bound how far apart the first and the last
	// entry that are read together may be, in bytes, and reachSeries how many
	// they may be. Where there are so many blocks that all of them together would
	// fill the budget of a query, reachLeast goes down to reachTight.
	reachLeast, reachMost = 1 << 20, 16 << 20
	reachTight            = 64 << 10
	reachSeries           = 1 << 15
)

// leastReach is how far the entries reach that are read together of each block.
// budget is that of the query, 0 and less for none.
func leastReach(budget int64, blocks int) int64 {
	if budget <= 0 {
		return reachLeast
	}
	return min(max(budget/8/int64(max(blocks, 1)), reachTight), reachLeast)
}

// entryReader reads series entries of a block's index. It belongs to one
// goroutine.
type entryReader struct {
	block  *openBlock
	header *indexheader.Reader
	// readBytes is about how many bytes to read at once.
	readBytes int64
	reachAt   int64           // how far entries reach at least that are read together
	hold      readcost.Charge // the bytes that were fetched last
}

// entryMemory is what an entry takes while it is fetched, besides its bytes.
const entryMemory = 64

// free gives back the memory of what was fetched.
func (r *entryReader) free() { r.hold.Free() }

// reach returns how many of refs, at least one, to read together. A limit that
// is not 0 says how many are needed.
func (r *entryReader) reach(refs []seriesRef, limit int) int {
	far := min(max(r.readBytes, r.reachAt), reachMost)
	most := min(len(refs), reachSeries)
	if limit > 0 {
		most = min(most, limit)
	}
	n := 1
	for n < most && refs[n].offset()-refs[0].offset() < far {
		n++
	}
	return n
}

// fetch reads the bodies of the entries of refs. They are the caller's until the
// next call, or free.
func (r *entryReader) fetch(ctx context.Context, refs []seriesRef) ([][]byte, error) {
	section := r.header.Series()
	guess := int64(seriesGuess)
	if r.block.seriesSize > 0 {
		guess = min(max(r.block.seriesSize, guessLeast), guessMost)
	}
	wanted := make([]span, len(refs))
	for i, ref := range refs {
		from := ref.offset()
		// An entry ends where the next begins, whether that is far or near.
		end := section.End
		if i+1 < len(refs) {
			end = refs[i+1].offset()
		}
		if end-from > seriesGuess {
			end = min(end, from+guess)
		}
		wanted[i] = span{from, end}
	}
	cost := readcost.From(ctx)
	r.free()
	r.hold = readcost.Charge{Cost: cost, Use: readcost.SeriesInFlight}
	if err := r.hold.Take(r.block.src.memory(wanted) + entryMemory*int64(len(refs))); err != nil {
		return nil, err
	}
	began := time.Now()
	defer func() { cost.Took(readcost.FetchSeries, time.Since(began)) }()
	bodies := make([][]byte, len(refs))
	var short atomic.Bool
	object := r.block.index()
	if err := r.block.src.quarantine.known(r.block, object.name, wanted); err != nil {
		return nil, err
	}
	err := r.block.src.readSpans(ctx, dataSeries, object, wanted, func(p part, b []byte) error {
		var pace readcost.Pace
		for i := p.first; i < p.last; i++ {
			pace.Step()
			body, need, err := entryBody(cut(b, p.span, wanted[i]))
			if err != nil {
				return seriesFault(wanted[i].from, err)
			}
			if bodies[i] = body; body == nil {
				wanted[i].to = wanted[i].from + need
				short.Store(true)
			}
		}
		return nil
	})
	if err != nil || !short.Load() {
		return bodies, err
	}
	return bodies, r.refetch(ctx, wanted, bodies)
}

// refetch reads those entries again whose guess was too short. Now their
// length is known.
func (r *entryReader) refetch(ctx context.Context, wanted []span, bodies [][]byte) error {
	section := r.header.Series()
	var index []int
	var again []span
	for i, body := range bodies {
		if body != nil {
			continue
		}
		if wanted[i].to > section.End {
			return placed(wanted[i].from, corrupt("the series entry at %d claims to end at %d, behind its section", wanted[i].from, wanted[i].to))
		}
		index, again = append(index, i), append(again, wanted[i])
	}
	r.block.src.metrics.refetches.WithLabelValues(dataSeries).Add(float64(len(again)))
	if err := r.hold.Take(r.block.src.memory(again)); err != nil {
		return err
	}
	return r.block.src.readSpans(ctx, dataSeries, r.block.index(), again, func(p part, b []byte) error {
		for i := p.first; i < p.last; i++ {
			body, _, err := entryBody(cut(b, p.span, again[i]))
			if err != nil {
				return seriesFault(again[i].from, err)
			}
			if body == nil {
				return seriesFault(again[i].from, ErrTruncated)
			}
			bodies[index[i]] = body
		}
		return nil
	})
}
