package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/varve-tsdb/varve/internal/readcost"
)

// batch is series that are handed on together, with what they hold of the query's
// memory, which who drops them gives back.
type batch struct {
	series                  []series
	seriesBytes, chunkBytes int64
}

// free gives back the memory.
func (b *batch) free(cost *readcost.Cost) {
	cost.Give(readcost.SeriesInFlight, b.seriesBytes)
	cost.Give(readcost.ChunksInFlight, b.chunkBytes)
	*b = batch{}
}

// memoryOfSeries is what the series take without the data of their chunks.
func memoryOfSeries(list []series) (n int64) {
	for _, s := range list {
		n += s.memory()
	}
	return n
}

// series is a series of a block: its stored labels, and those of its chunks
// that overlap the asked range. Their data is filled in later.
type series struct {
	labels labels.Labels
	chunks []chunks.Meta
	// ends has for each chunk where it ends at the latest, as a reference, or
	// 0 if that is not known.
	ends []chunks.ChunkRef
}

// memory is about what the series takes without the data of its chunks.
func (s series) memory() int64 {
	const fixed, perChunk = 160, 104 // on a 64-bit machine
	return fixed + int64(s.labels.ByteSize()) + int64(len(s.chunks))*perChunk
}

// selection says what of the series is wanted.
type selection struct {
	mint, maxt int64 // both inclusive
	noChunks   bool  // labels only
	limit      int   // how many series will probably do; 0 for all
	form       chunkForm
}

func (s selection) has(m chunks.Meta) bool { return m.MinTime <= s.maxt && s.mint <= m.MaxTime }

// chunks returns the chunks of a series that are wanted, and where each ends
// at the latest: where the next one begins, wanted or not.
func (s selection) chunks(all []chunks.Meta) (wanted []chunks.Meta, ends []chunks.ChunkRef) {
	for i, m := range all {
		if !s.has(m) {
			continue
		}
		wanted = append(wanted, m)
		end := chunks.ChunkRef(0)
		if i+1 < len(all) {
			end = all[i+1].Ref
		}
		ends = append(ends, end)
	}
	return wanted, ends
}

// seriesReader reads the series of a block. It belongs to one goroutine.
type seriesReader struct {
	entryReader
	want selection
	// postponed are matchers that the series have yet to satisfy.
	postponed []*labels.Matcher
	// batchBytes is about how much memory one batch of series takes.
	batchBytes int64

	symbols map[uint32]string // those that were resolved
	texts   int64             // bytes of theirs beyond symbolText each
	known   readcost.Charge   // their memory
	unknown []uint32
	names   []string
	builder labels.ScratchBuilder
	pace    readcost.Pace
	last    labels.Labels // of the series before
}

// symbolMemory is about what a remembered symbol takes, of which symbolText are for
// its text. What is remembered between batches may take as much as a batch, and
// symbolsLeast.
const symbolMemory, symbolText, symbolsLeast = 96, 32, 256 << 10

func newSeriesReader(block *openBlock, found candidates, want selection, batchBytes, reach int64) *seriesReader {
	return &seriesReader{
		entryReader: entryReader{block: block, header: found.header, readBytes: batchBytes, reachAt: reach},
		want:        want, postponed: found.postponed, batchBytes: batchBytes,
		symbols: map[uint32]string{}, builder: labels.NewScratchBuilder(16),
	}
}

// each reads the series of refs and hands those that have a chunk in the
// wanted range, in the order of refs, to use in batches, whose memory passes
// to use.
func (r *seriesReader) each(ctx context.Context, refs []seriesRef, use func([]series) error) error {
	defer r.free()
	cost := readcost.From(ctx)
	r.known = readcost.Charge{Cost: cost, Use: readcost.SeriesInFlight}
	defer r.known.Free()
	for limit := r.want.limit; len(refs) > 0; limit *= 2 {
		n := r.reach(refs, limit)
		bodies, err := r.fetch(ctx, refs[:n])
		if err != nil {
			return r.block.indexFault(ctx, r.header, err)
		}
		refs = refs[n:]
		for len(bodies) > 0 {
			if err := cost.Begin(ctx); err != nil {
				return err
			}
			began := time.Now()
			decoded, n, err := r.decode(bodies)
			cost.End()
			cost.Took(readcost.Decode, time.Since(began))
			if err != nil {
				return r.block.indexFault(ctx, r.header, err)
			}
			bodies = bodies[n:]
			if len(decoded) == 0 {
				continue
			}
			r.block.src.metrics.series.Add(float64(len(decoded)))
			cost.Read(len(decoded), 0)
			if err := use(decoded); err != nil {
				return err
			}
		}
	}
	return nil
}

// decode makes series of as many entries as fit into a batch, and says how many that
// were.
func (r *seriesReader) decode(bodies [][]byte) (decoded []series, n int, err error) {
	var symbols [][]uint32 // of each series
	var at []int           // and where its entry is
	var e seriesEntry
	size := int64(0)
	openEnd := false // whether the end of the last series' last chunk is not known
	for n < len(bodies) && size < r.batchBytes {
		r.pace.Step()
		if err := e.decode(bodies[n]); err != nil {
			return nil, 0, err
		}
		n++
		if openEnd && len(e.chunks) > 0 {
			// Where the next series' chunks begin. It need not be wanted itself.
			ends := decoded[len(decoded)-1].ends
			ends[len(ends)-1] = e.chunks[0].Ref
			openEnd = false
		}
		if !slices.ContainsFunc(e.chunks, r.want.has) {
			continue
		}
		var s series
		if !r.want.noChunks {
			s.chunks, s.ends = r.want.chunks(e.chunks)
			openEnd = s.ends[len(s.ends)-1] == 0
		}
		decoded, symbols, at = append(decoded, s), append(symbols, slices.Clone(e.symbols)), append(at, n-1)
		size += s.memory() + int64(len(e.symbols))*16
	}
	labelled, err := r.label(decoded, symbols)
	if err != nil {
		return nil, 0, err
	}
	if labelled < len(decoded) {
		decoded, n = decoded[:labelled:labelled], at[labelled]
	}
	return r.satisfying(decoded), n, nil
}

// label gives series their labels, of which they have the symbols, and says to how
// many: few symbols can make many long labels.
func (r *seriesReader) label(decoded []series, symbols [][]uint32) (n int, err error) {
	if err := r.resolve(symbols); err != nil {
		return 0, err
	}
	last, size := r.last, int64(0)
	for i := range decoded {
		r.pace.Step()
		if decoded[i].labels, err = r.labels(symbols[i]); err != nil {
			return 0, err
		}
		if size += int64(decoded[i].labels.ByteSize()); i > 0 && size > mostLabels {
			r.last = last
			return i, nil
		}
		last = decoded[i].labels
	}
	return len(decoded), nil
}

// satisfying leaves of decoded series those that satisfy what was postponed.
func (r *seriesReader) satisfying(decoded []series) []series {
	if len(r.postponed) == 0 {
		return decoded
	}
	return slices.DeleteFunc(decoded, func(s series) bool { return !matches(r.postponed, s.labels) })
}

// matches tells whether labels satisfy all matchers.
func matches(matchers []*labels.Matcher, ls labels.Labels) bool {
	return !slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !m.Matches(ls.Get(m.Name)) })
}

// resolve looks up those symbols that are not known yet.
func (r *seriesReader) resolve(symbols [][]uint32) error {
	if int64(len(r.symbols))*symbolMemory+r.texts > max(r.batchBytes, symbolsLeast) {
		clear(r.symbols)
		r.texts = 0
		r.known.Free()
	}
	r.unknown = r.unknown[:0]
	for _, refs := range symbols {
		for _, ref := range refs {
			if _, ok := r.symbols[ref]; !ok {
				r.symbols[ref] = ""
				r.unknown = append(r.unknown, ref)
			}
		}
	}
	slices.Sort(r.unknown)
	err := r.known.Take(int64(len(r.unknown)) * symbolMemory)
	if err != nil {
		return err
	}
	if r.names, err = r.header.Symbols(r.names[:0], r.unknown); err != nil {
		return err
	}
	long := int64(0)
	for i, ref := range r.unknown {
		r.symbols[ref] = r.names[i]
		long += max(int64(len(r.names[i]))-symbolText, 0)
	}
	r.texts += long
	return r.known.Take(long)
}

// mostLabels bounds the bytes of the labels of one series, and of a batch that has
// more than one.
const mostLabels = 1 << 20

// labels makes labels of symbol references, and checks that the series come in
// order, on which every merge depends.
func (r *seriesReader) labels(symbols []uint32) (labels.Labels, error) {
	r.builder.Reset()
	last, size := "", 0
	for i := 0; i < len(symbols); i += 2 {
		name := r.symbols[symbols[i]]
		if name <= last {
			return labels.EmptyLabels(), corrupt("a series has the label %q after %q", name, last)
		}
		last = name
		value := r.symbols[symbols[i+1]]
		if value == "" {
			return labels.EmptyLabels(), corrupt("a series has the label %q without a value", name)
		}
		if size += len(name) + len(value); size > mostLabels {
			return labels.EmptyLabels(), fmt.Errorf("%w: a series has labels of more than %d bytes", ErrUnsupported, mostLabels)
		}
		r.builder.Add(name, value)
	}
	ls := r.builder.Labels()
	if labels.Compare(r.last, ls) >= 0 && !ls.IsEmpty() {
		return labels.EmptyLabels(), corrupt("the series %s comes after %s", ls, r.last)
	}
	r.last = ls
	return ls, nil
}
