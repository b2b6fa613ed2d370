package store

import (
	"context"
	"sync"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
	"golang.org/x/sync/errgroup"

	"github.com/varve-tsdb/varve/internal/extlabels"
	"github.com/varve-tsdb/varve/internal/readcost"
	"github.com/varve-tsdb/varve/internal/readopts"
	"github.com/varve-tsdb/varve/internal/sortedsets"
)

// querier reads the blocks that overlapped its range when it was opened. They
// stay readable until it is closed.
type querier struct {
	bucket     *Bucket
	mint, maxt int64 // both inclusive, milliseconds
	without    []string
	readAhead  int64 // bytes a block
	streams    []pinnedStream
	all        int            // blocks of the view, pinned or not
	unreadable []*BlockError  // see blockSet
	account    *readcost.Cost // for reads that bring none

	running sync.WaitGroup // what reads in the background
	mu      sync.Mutex     // guards what follows
	cancels []context.CancelFunc
	closed  bool
}

// pinnedStream is a stream, with a reference to each of its blocks.
type pinnedStream struct {
	blockStream
	storage.ChunkQuerier // shows the stream with its external labels
}

// A block reads ahead at least and at most as many bytes.
const leastReadAhead, mostReadAhead = 1 << 20, 64 << 20

// newQuerier takes over a reference to each block of streams.
func newQuerier(b *Bucket, mint, maxt int64, without []string, streams []blockStream) *querier {
	q := &querier{bucket: b, mint: mint, maxt: maxt, without: without, account: b.budget.Open()}
	blocks := 0
	for _, s := range streams {
		blocks += len(s.blocks)
	}
	q.readAhead = min(max(b.opts.ReadAhead/int64(max(blocks, 1)), leastReadAhead), mostReadAhead)
	reach := leastReach(b.budget.QueryBytes(), blocks)
	for _, s := range streams {
		inner := &streamQuerier{querier: q}
		for _, block := range s.blocks {
			inner.blocks = append(inner.blocks, &blockReader{block: block, readBytes: q.readAhead / 16, reach: reach, without: without})
		}
		q.streams = append(q.streams, pinnedStream{
			blockStream: s, ChunkQuerier: extlabels.NewChunkQuerier(inner, s.external, without),
		})
	}
	return q
}

// selection says what hints leave of the querier's range.
func (q *querier) selection(ctx context.Context, hints *storage.SelectHints) selection {
	want := selection{mint: q.mint, maxt: q.maxt, form: newChunkForm(ctx, hints)}
	if hints == nil {
		return want
	}
	want.mint, want.maxt = max(want.mint, hints.Start), min(want.maxt, hints.End)
	want.noChunks = hints.Func == "series"
	want.limit = max(hints.Limit, 0)
	return want
}

// background runs f until Close waits for it.
func (q *querier) background(f func()) {
	q.running.Go(f)
}

// begin returns a context that ends with Close at the latest, or false if that
// was called.
func (q *querier) begin(ctx context.Context) (context.Context, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return ctx, false
	}
	ctx, cancel := context.WithCancel(ctx)
	q.cancels = append(q.cancels, cancel)
	if readcost.From(ctx) == nil {
		ctx = readcost.With(ctx, q.account)
	}
	q.running.Add(1) // for the caller, until it has started what it starts
	return ctx, true
}

// Select starts to read the matching series at once, side by side, and returns
// them sorted.
func (q *querier) Select(ctx context.Context, _ bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.ChunkSeriesSet {
	ctx, ok := q.begin(ctx)
	if !ok {
		return storage.ErrChunkSeriesSet(ErrClosed)
	}
	defer q.running.Done()
	want := q.selection(ctx, hints)
	if want.mint > want.maxt {
		return storage.EmptyChunkSeriesSet()
	}
	warnings, err := q.unknown(ctx)
	if err != nil {
		return storage.ErrChunkSeriesSet(err)
	}
	streams := q.matching(matchers)
	if err := q.admit(ctx, streams, want); err != nil {
		return storage.ErrChunkSeriesSet(err)
	}
	ctx, door := withAdmission(ctx, len(streams), len(q.without) > 0)
	var sets []storage.ChunkSeriesSet
	for _, s := range streams {
		sets = append(sets, late(q.background, func() storage.ChunkSeriesSet {
			defer door.asked()
			return s.Select(ctx, true, hints, matchers...)
		}))
	}
	var all storage.ChunkSeriesSet
	if len(q.without) > 0 {
		all = sortedsets.Join(sets...)
	} else {
		all = sortedsets.Merge(sets...)
	}
	if hints != nil && hints.Limit > 0 {
		all = &limitedSet{ChunkSeriesSet: all, limit: hints.Limit}
	}
	if cost := readcost.From(ctx); !cost.Keeps() {
		all = &countedSet{ChunkSeriesSet: all, cost: cost}
	}
	return sortedsets.Warned(all, warnings)
}

// admit notes which blocks a question is for, unless they are too many.
func (q *querier) admit(ctx context.Context, streams []pinnedStream, want selection) error {
	cost := readcost.From(ctx)
	overlapping := func(streams []pinnedStream) (n int) {
		for _, s := range streams {
			for _, b := range s.blocks {
				if b.overlaps(want.mint, want.maxt) {
					n++
				}
			}
		}
		return n
	}
	reads, inTime := overlapping(streams), overlapping(q.streams)
	cost.Considered(q.all + len(q.unreadable))
	cost.Skipped(readcost.SkippedTime, q.all-inTime)
	cost.Skipped(readcost.SkippedLabels, inTime-reads)
	cost.Skipped(readcost.SkippedQuarantined, len(q.unreadable))
	return cost.Blocks(reads)
}

// unknown returns the warnings about blocks of which nothing is known. What
// time will mend fails a strict read, as with any other object; what it will not
// must not end all reads for good.
func (q *querier) unknown(ctx context.Context) (warnings annotations.Annotations, err error) {
	strict := !readopts.From(ctx).Partial
	for _, block := range q.unreadable {
		if strict && block.Retryable() {
			return nil, block
		}
		warnings.Add(block)
	}
	return warnings, nil
}

// matching returns the streams whose external labels do not rule them out.
func (q *querier) matching(matchers []*labels.Matcher) []pinnedStream {
	var found []pinnedStream
	for _, s := range q.streams {
		if s.mayMatch(matchers) {
			found = append(found, s)
		}
	}
	return found
}

// LabelNames returns the names of the labels of matching series. Of the blocks
// that overlap the querier's range all series count.
func (q *querier) LabelNames(ctx context.Context, hints *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return q.union(ctx, hints, matchers, func(ctx context.Context, s pinnedStream) ([]string, annotations.Annotations, error) {
		return s.LabelNames(ctx, hints, matchers...)
	})
}

// LabelValues returns the values of a label among matching series. Of the
// blocks that overlap the querier's range all series count.
func (q *querier) LabelValues(ctx context.Context, name string, hints *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return q.union(ctx, hints, matchers, func(ctx context.Context, s pinnedStream) ([]string, annotations.Annotations, error) {
		return s.LabelValues(ctx, name, hints, matchers...)
	})
}

// union asks all streams at once and joins their sorted answers.
func (q *querier) union(ctx context.Context, hints *storage.LabelHints, matchers []*labels.Matcher, ask func(context.Context, pinnedStream) ([]string, annotations.Annotations, error)) ([]string, annotations.Annotations, error) {
	ctx, ok := q.begin(ctx)
	if !ok {
		return nil, nil, ErrClosed
	}
	defer q.running.Done()
	all, err := q.unknown(ctx)
	if err != nil {
		return nil, nil, err
	}
	streams := q.matching(matchers)
	if err := q.admit(ctx, streams, selection{mint: q.mint, maxt: q.maxt}); err != nil {
		return nil, nil, err
	}
	answers := make([][]string, len(streams))
	warnings := make([]annotations.Annotations, len(streams))
	group, ctx := errgroup.WithContext(asQuestion(ctx))
	for i, s := range streams {
		group.Go(func() (err error) {
			answers[i], warnings[i], err = ask(ctx, s)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, nil, err
	}
	for _, w := range warnings {
		all.Merge(w)
	}
	limit := 0
	if hints != nil {
		limit = hints.Limit
	}
	return joinSorted(answers, limit), all, nil
}

// Close ends what still reads, waits for it, and lets go of the blocks. Series
// that were read stay usable. It may be called twice.
func (q *querier) Close() error {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return nil
	}
	q.closed = true
	cancels := q.cancels
	q.mu.Unlock()
	for _, cancel := range cancels {
		cancel()
	}
	q.running.Wait()
	q.account.Close()
	if q.account.Touched() {
		q.bucket.metrics.costs.Observe(q.account.Report(), true)
	}
	q.bucket.unpin(q.streams)
	return nil
}
