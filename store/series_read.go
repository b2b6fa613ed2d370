package store

import (
	"context"
	"sync/atomic"

	"github.com/prometheus/prometheus/storage"

	"github.com/varve-tsdb/varve/internal/indexheader"
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
	// they may be.
	reachLeast, reachMost = 1 << 20, 16 << 20
	reachSeries           = 1 << 15
)

// entryReader reads series entries of a block's index. It belongs to one
// goroutine.
type entryReader struct {
	block  *openBlock
	header *indexheader.Reader
	// readBytes is about how many bytes to read at once.
	readBytes int64
}

// reach returns how many of refs, at least one, to read together. A limit that
// is not 0 says how many are needed.
func (r *entryReader) reach(refs []storage.SeriesRef, limit int) int {
	far := min(max(r.readBytes, reachLeast), reachMost)
	most := min(len(refs), reachSeries)
	if limit > 0 {
		most = min(most, limit)
	}
	n := 1
	for n < most && int64(refs[n]-refs[0])*seriesAlign < far {
		n++
	}
	return n
}

// fetch reads the bodies of the entries of refs.
func (r *entryReader) fetch(ctx context.Context, refs []storage.SeriesRef) ([][]byte, error) {
	section := r.header.Series()
	guess := int64(seriesGuess)
	if r.block.seriesSize > 0 {
		guess = min(max(r.block.seriesSize, guessLeast), guessMost)
	}
	wanted := make([]span, len(refs))
	for i, ref := range refs {
		from := int64(ref) * seriesAlign
		// An entry ends where the next begins, whether that is far or near.
		end := section.End
		if i+1 < len(refs) {
			end = int64(refs[i+1]) * seriesAlign
		}
		if end-from > seriesGuess {
			end = min(end, from+guess)
		}
		wanted[i] = span{from, end}
	}
	bodies := make([][]byte, len(refs))
	var short atomic.Bool
	object := r.block.indexObject()
	if err := r.block.src.quarantine.known(r.block, object, wanted); err != nil {
		return nil, err
	}
	err := r.block.src.readParts(ctx, dataSeries, object, coalesce(wanted, gapLimit, partLimit), func(p part, b []byte) error {
		for i := p.first; i < p.last; i++ {
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
	return r.block.src.readParts(ctx, dataSeries, r.block.indexObject(), coalesce(again, gapLimit, partLimit), func(p part, b []byte) error {
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
