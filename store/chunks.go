package store

import (
	"cmp"
	"context"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/prometheus/tsdb/chunks"
	"golang.org/x/sync/errgroup"

	"github.com/varve-tsdb/varve/internal/readcost"
)

const (
	// chunkGuess is how many bytes are read for a chunk whose end is not
	// known, if meta.json does not tell the size of the largest. Chunks of
	// floats have a kilobyte at most, those of histograms rarely ten.
	chunkGuess = 16_000
	// segmentStart is where the first chunk of a segment is.
	segmentStart = 8
)

// chunkMemory is what a chunk takes while it is read, besides its bytes.
const chunkMemory = 192

// chunkReader reads the data of chunks.
type chunkReader struct {
	block *openBlock
	form  chunkForm
}

// wantedChunk is a chunk to read.
type wantedChunk struct {
	meta *chunks.Meta // gets the data
	span
	// limit is where the chunk ends at the latest, MaxInt64 if unknown.
	limit int64
}

// chunkReach is how far the chunks looked at so far reach. They come in the
// order of the index, which is that of the segments.
type chunkReach struct {
	segment uint32
	end     int64
}

// gapWeight is how many bytes that are read over count as one that is kept: they
// take time but no memory. Counting them in full made a count over every
// eleventh series wait for three batches, one after the other, where one does.
const gapWeight = 16

// size estimates how many more bytes are read for the chunks of s after those
// of the series before it.
func (r chunkReader) size(s series, reach *chunkReach) (n int64) {
	for i, m := range s.chunks {
		w := r.wanted(&m, s.ends[i])
		if segment := segmentOf(m.Ref); segment != reach.segment {
			*reach = chunkReach{segment: segment}
		} else if gap := w.from - reach.end; gap > 0 && gap <= gapLimit {
			n += gap / gapWeight
		}
		n += w.len()
		reach.end = max(reach.end, w.to)
	}
	return n
}

// wanted says what to read for a chunk that ends at end at the latest.
func (r chunkReader) wanted(m *chunks.Meta, end chunks.ChunkRef) wantedChunk {
	guess := int64(chunkGuess)
	if r.block.chunkMaxSize > 0 {
		guess = min(max(r.block.chunkMaxSize+chunkOverhead, guessLeast), guessMost)
	}
	limit := r.block.segmentEnd(segmentOf(m.Ref))
	if end > m.Ref && segmentOf(end) == segmentOf(m.Ref) {
		limit = min(limit, offsetOf(end))
	}
	from, to := offsetOf(m.Ref), limit
	if limit-from > chunkGuess {
		to = min(limit, from+guess)
	}
	return wantedChunk{meta: m, span: span{from, to}, limit: limit}
}

// load reads the chunks of all of batch and puts their data into it. It returns
// how much memory that took of the query's budget.
func (r chunkReader) load(ctx context.Context, batch []series) (int64, error) {
	bySegment := map[uint32][]wantedChunk{}
	n := 0
	for i := range batch {
		for j := range batch[i].chunks {
			m := &batch[i].chunks[j]
			segment := segmentOf(m.Ref)
			bySegment[segment] = append(bySegment[segment], r.wanted(m, batch[i].ends[j]))
			n++
		}
	}
	if n == 0 {
		return 0, nil
	}
	cost := readcost.From(ctx)
	lists := readcost.Charge{Cost: cost, Use: readcost.ChunksInFlight}
	defer lists.Free()
	if err := lists.Take(chunkMemory * int64(n)); err != nil {
		return 0, err
	}
	began := time.Now()
	defer func() { cost.Took(readcost.FetchChunks, time.Since(began)) }()
	group, groupCtx := errgroup.WithContext(ctx)
	var held atomic.Int64
	for segment, wanted := range bySegment {
		group.Go(func() error {
			object := r.block.segment(segment)
			hold := readcost.Charge{Cost: cost, Use: readcost.ChunksInFlight}
			defer hold.Free()
			if err := r.loadSegment(groupCtx, object, wanted, &hold); err != nil {
				return r.block.fault(groupCtx, object.name, err)
			}
			held.Add(hold.Pass())
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		cost.Give(readcost.ChunksInFlight, held.Load())
		return 0, err
	}
	r.block.src.metrics.chunks.Add(float64(n))
	cost.Read(0, n)
	return held.Load(), nil
}

// loadSegment reads chunks of one object, and those again that turn out to be
// longer than what was read. Their memory is in hold.
func (r chunkReader) loadSegment(ctx context.Context, object blockObject, wanted []wantedChunk, hold *readcost.Charge) error {
	for _, w := range wanted {
		if w.from < segmentStart || w.len() <= 0 {
			return placed(w.from, corrupt("a chunk is referred to at %d, which is out of bounds", w.from))
		}
	}
	spans := make([]span, len(wanted))
	for i, w := range wanted {
		spans[i] = w.span
	}
	if err := r.block.src.quarantine.known(r.block, object.name, spans); err != nil {
		return err
	}
	short, kept, err := r.loadSpans(ctx, object, wanted, hold)
	hold.Shrink(kept)
	if err != nil || len(short) == 0 {
		return err
	}
	r.block.src.metrics.refetches.WithLabelValues(dataChunks).Add(float64(len(short)))
	if err := r.checkEnds(ctx, object, short); err != nil {
		return err
	}
	short, more, err := r.loadSpans(ctx, object, short, hold)
	hold.Shrink(kept + more)
	if err == nil && len(short) > 0 {
		err = chunkFault(short[0].from, ErrTruncated)
	}
	return err
}

// saneChunk is more bytes than chunks have. Before memory is asked for one that claims
// to be larger, and whose end nothing bounds, its object is asked for its size: what is
// broken must not look like a query that wants too much.
const saneChunk = 1 << 20

// checkEnds makes sure that chunks may end where they claim to.
func (r chunkReader) checkEnds(ctx context.Context, object blockObject, claimed []wantedChunk) (err error) {
	size := int64(math.MaxInt64)
	for _, w := range claimed {
		if w.limit == math.MaxInt64 && w.len() > saneChunk && size == math.MaxInt64 {
			if size, err = r.block.objectSize(ctx, readcost.Chunks, object.name); err != nil {
				return err
			}
		}
		if limit := min(w.limit, size); w.to > limit {
			return placed(w.from, corrupt("the chunk at %d claims to end at %d, behind %d", w.from, w.to, limit))
		}
	}
	return nil
}

// loadSpans reads chunks of one object. It returns those that need more bytes
// than their span had, with a span that has them, and how many bytes the chunks
// keep of what it has added to hold.
func (r chunkReader) loadSpans(ctx context.Context, object blockObject, wanted []wantedChunk, hold *readcost.Charge) (short []wantedChunk, kept int64, err error) {
	slices.SortFunc(wanted, func(a, b wantedChunk) int { return cmp.Compare(a.from, b.from) })
	spans := make([]span, len(wanted))
	for i, w := range wanted {
		spans[i] = w.span
	}
	if err := hold.Take(r.block.src.memory(spans)); err != nil {
		return nil, 0, err
	}
	var mu sync.Mutex // guards short and kept
	err = r.block.src.readSpans(ctx, dataChunks, object, spans, func(p part, b []byte) error {
		lacking, n, err := r.decodeChunks(b, p, wanted[p.first:p.last])
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		short, kept = append(short, lacking...), kept+n
		return nil
	})
	return short, kept, err
}

// decodeChunks makes chunks of the bytes b of a part. It returns those that
// need more bytes, and how many bytes of memory the chunks keep.
func (r chunkReader) decodeChunks(b []byte, p part, wanted []wantedChunk) (short []wantedChunk, kept int64, err error) {
	records := make([][]byte, len(wanted)) // empty where there is nothing left to do
	own := int64(0)
	var pace readcost.Pace
	for i, w := range wanted {
		pace.Step()
		record := cut(b, p.span, w.span)
		need, err := checkRecord(record)
		if err != nil {
			return nil, 0, chunkFault(w.from, err)
		}
		if need > int64(len(record)) {
			w.to = w.from + need
			short = append(short, w)
			continue
		}
		aggregates, err := r.wantedAggregates(record[:need])
		if err != nil {
			return nil, 0, chunkFault(w.from, err)
		}
		if aggregates != nil {
			w.meta.Chunk = aggregates
			own += int64(len(aggregates.Bytes()))
			continue
		}
		records[i] = record[:need]
	}
	kept = keepRecords(records, int64(len(b)))
	for i, record := range records {
		if len(record) == 0 {
			continue
		}
		// Its checksum was right already.
		enc, data := recordContent(record)
		if wanted[i].meta.Chunk, err = r.newStoredChunk(enc, data); err != nil {
			return nil, 0, chunkFault(wanted[i].from, err)
		}
	}
	return short, kept + own, nil
}

// keepRecords returns how many bytes of memory the records keep, which are parts of so
// many bytes that were read together. Chunks live as long as the query, and with them
// what they were read with. Where an eighth of that is not theirs, the records are
// replaced by copies: to copy costs less than the memory does.
func keepRecords(records [][]byte, read int64) (kept int64) {
	used := int64(0)
	for _, record := range records {
		used += int64(len(record))
	}
	if 8*used >= 7*read {
		return read
	}
	copies := make([]byte, 0, used)
	for i, record := range records {
		start := len(copies)
		copies = append(copies, record...)
		records[i] = copies[start:len(copies):len(copies)]
	}
	return used
}
