package store

import (
	"context"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
	"golang.org/x/sync/errgroup"

	"github.com/varve-tsdb/varve/internal/indexheader"
	"github.com/varve-tsdb/varve/internal/readcost"
)

// seriesSet is the series of one block that answer a selection, read ahead by
// a few batches in the background from the moment it was started.
type seriesSet struct {
	cost    *readcost.Cost
	batches chan batch
	failed  func(error) error // turns an error into a warning, or returns it

	batch    batch
	done     bool
	err      error // set before batches is closed
	warnings annotations.Annotations
}

// start begins to read. readAhead is about how many bytes may be read before
// they are asked for. When ctx ends, reading does, and the set fails; until then the
// caller has to read the set to its end.
func (r *blockReader) start(ctx context.Context, want selection, readAhead int64, matchers []*labels.Matcher, ticket *ticket, tally *tally, background func(func())) *seriesSet {
	s := &seriesSet{cost: readcost.From(ctx), batches: make(chan batch, 1)}
	background(func() {
		defer close(s.batches)
		defer ticket.leave()
		var sent progress
		s.err = r.answer(ctx, func(ctx context.Context, reader *blockReader) error {
			if reader != r {
				want = want.narrowed(r.block)
			}
			return reader.run(ctx, want, readAhead, matchers, s.batches, &sent, ticket)
		})
		tally.ended(sent, s.err)
	})
	return s
}

// blockMemory is what reading a block takes however little is read of it: windows
// into its header, stacks, lists.
const blockMemory = 64 << 10

// run sends the series that answer the selection to out, and notes in sent how
// far it has come. Up to there they are there already.
func (r *blockReader) run(ctx context.Context, want selection, readAhead int64, matchers []*labels.Matcher, out chan<- batch, sent *progress, ticket *ticket) error {
	cost := readcost.From(ctx)
	hold := readcost.Charge{Cost: cost, Use: readcost.PostingsInFlight}
	defer hold.Free()
	found, err := r.matching(ctx, want, matchers, ticket, &hold)
	if err != nil {
		return err
	}
	if len(found.refs) == 0 {
		return nil
	}
	sent.matched = true
	// Of chunks one batch is being read, one waits, and one is in use. Of series
	// without their chunks there are as many, and the bytes they are decoded from;
	// were their batches smaller, so would be the reads of chunks.
	chunkBytes, seriesBytes := readAhead/4, readAhead/4
	group, ctx := errgroup.WithContext(ctx)
	ahead := make(chan []series, 1)
	group.Go(func() error {
		defer close(ahead)
		return newSeriesReader(r.block, found, want, seriesBytes, r.reach).each(ctx, found.refs, func(batch []series) error {
			memory := memoryOfSeries(batch)
			if err := cost.Take(readcost.SeriesInFlight, memory); err != nil {
				return err
			}
			err := send(ctx, ahead, batch)
			if err != nil {
				cost.Give(readcost.SeriesInFlight, memory)
			}
			return err
		})
	})
	group.Go(func() error {
		chunks := chunkReader{r.block, want.form}
		for decoded := range ahead {
			if err := chunks.pass(ctx, decoded, chunkBytes, out, sent); err != nil {
				return err
			}
		}
		return nil
	})
	err = group.Wait()
	for left := range ahead { // after an error
		cost.Give(readcost.SeriesInFlight, memoryOfSeries(left))
	}
	return err
}

// pass sends the decoded series that are not in sent yet with their chunks, which
// are read in portions of about so many bytes. Their memory goes with them, or is
// given back if they are not sent.
func (r chunkReader) pass(ctx context.Context, decoded []series, chunkBytes int64, out chan<- batch, sent *progress) error {
	cost := readcost.From(ctx)
	known := sent.before(decoded)
	cost.Give(readcost.SeriesInFlight, memoryOfSeries(decoded[:known]))
	decoded = decoded[known:]
	for len(decoded) > 0 {
		n := r.fits(decoded, chunkBytes)
		last := decoded[n-1].labels
		if err := r.send(ctx, decoded[:n:n], out); err != nil {
			cost.Give(readcost.SeriesInFlight, memoryOfSeries(decoded[n:]))
			return err
		}
		sent.sent, sent.last = sent.sent+n, last
		decoded = decoded[n:]
	}
	return nil
}

// candidates are series of a block: all that match are among them, and those
// that do satisfy the postponed matchers, too.
type candidates struct {
	header    *indexheader.Reader
	refs      []seriesRef
	postponed []*labels.Matcher
}

// valuesTried is how many values of a label are held against a matcher before it
// is asked whether that is worth it: as many as take a fraction of a millisecond.
const valuesTried = 1024

// matching returns the references of the series that may match, for a caller
// that looks at their labels anyway, once the ticket lets the block in. Their memory is
// in hold.
func (r *blockReader) matching(ctx context.Context, want selection, matchers []*labels.Matcher, ticket *ticket, hold *readcost.Charge) (found candidates, err error) {
	header, err := r.header(ctx)
	if err != nil {
		return found, err
	}
	lists := readcost.Charge{Cost: hold.Cost, Use: readcost.PostingsInFlight}
	defer lists.Free()
	costs := planCosts{look: averageEntry(header), free: gapLimit, values: valuesTried}
	plan, err := planPostings(header, matchers, costs, &lists)
	if err != nil {
		return found, r.block.indexFault(ctx, header, err)
	}
	if err := ticket.wait(ctx, r.block.least(header, plan, want, r.without)); err != nil || plan.empty {
		return found, err
	}
	if err := hold.Take(blockMemory); err != nil {
		return found, err
	}
	refs, err := r.planned(ctx, header, plan, hold)
	return candidates{header: header, refs: refs, postponed: plan.postponed}, err
}

// send reads the chunks of series, makes them what is wanted, and sends what is
// left of the series.
func (r chunkReader) send(ctx context.Context, some []series, to chan<- batch) (err error) {
	// What is taken of them is freed with the batch, as it goes wherever it does.
	ready := batch{seriesBytes: memoryOfSeries(some)}
	defer func() {
		if err != nil {
			ready.free(readcost.From(ctx))
		}
	}()
	if ready.chunkBytes, err = r.load(ctx, some); err != nil {
		return err
	}
	if ready.series, err = r.convert(ctx, some); err != nil {
		return err
	}
	if len(ready.series) == 0 {
		ready.free(readcost.From(ctx))
		return nil
	}
	return send(ctx, to, ready)
}

func send[T any](ctx context.Context, to chan<- T, batch T) error {
	select {
	case to <- batch:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// fits returns for how many series of batch, at least one, no more than limit
// bytes of chunks are read together.
func (r chunkReader) fits(batch []series, limit int64) int {
	size, reach := int64(0), chunkReach{}
	for i, s := range batch {
		if size += r.size(s, &reach); size > limit && i > 0 {
			return i
		}
	}
	return len(batch)
}

func (s *seriesSet) Next() bool {
	if len(s.batch.series) > 1 {
		s.batch.series = s.batch.series[1:]
		return true
	}
	s.batch.free(s.cost)
	batch, ok := <-s.batches
	if !ok {
		s.finish()
		return false
	}
	s.batch = batch
	return true
}

// finish looks once at how reading ended.
func (s *seriesSet) finish() {
	if s.done {
		return
	}
	s.done = true
	if s.err != nil && s.failed != nil {
		err := s.err
		if s.err = s.failed(err); s.err == nil {
			s.warnings.Add(err)
		}
	}
}

func (s *seriesSet) At() storage.ChunkSeries { return &chunkSeries{s.batch.series[0]} }

func (s *seriesSet) Err() error {
	if !s.done {
		return nil
	}
	return s.err
}

func (s *seriesSet) Warnings() annotations.Annotations { return s.warnings }

// chunkSeries is a series whose chunks are in memory.
type chunkSeries struct{ series }

func (s *chunkSeries) Labels() labels.Labels { return s.labels }

// Memory is about what the series takes.
func (s *chunkSeries) Memory() int64 {
	n := s.memory()
	for _, m := range s.chunks {
		if m.Chunk != nil {
			n += int64(len(m.Chunk.Bytes()))
		}
	}
	return n
}

func (s *chunkSeries) Iterator(it chunks.Iterator) chunks.Iterator {
	c, ok := it.(*chunkIterator)
	if !ok {
		c = &chunkIterator{}
	}
	c.metas, c.next = s.chunks, 0
	return c
}

type chunkIterator struct {
	metas []chunks.Meta
	next  int
}

func (it *chunkIterator) Next() bool {
	if it.next >= len(it.metas) {
		return false
	}
	it.next++
	return true
}

func (it *chunkIterator) At() chunks.Meta { return it.metas[it.next-1] }
func (it *chunkIterator) Err() error      { return nil }
