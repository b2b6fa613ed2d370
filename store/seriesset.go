package store

import (
	"context"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
	"golang.org/x/sync/errgroup"
)

// seriesSet is the series of one block that answer a selection, read ahead by
// a few batches in the background from the moment it was started.
type seriesSet struct {
	batches chan []series
	failed  func(error) error // turns an error into a warning, or returns it

	batch    []series
	done     bool
	err      error // set before batches is closed
	warnings annotations.Annotations
}

// start begins to read. readAhead is about how many bytes may be read before
// they are asked for. When ctx ends, reading does, and the set fails; until then the
// caller has to read the set to its end.
func (r *blockReader) start(ctx context.Context, want selection, readAhead int64, matchers []*labels.Matcher, background func(func())) *seriesSet {
	s := &seriesSet{batches: make(chan []series, 1)}
	background(func() {
		defer close(s.batches)
		var sent progress
		s.err = r.answer(ctx, func(ctx context.Context, reader *blockReader) error {
			if reader != r {
				want = want.narrowed(r.block)
			}
			return reader.run(ctx, want, readAhead, matchers, s.batches, &sent)
		})
	})
	return s
}

// run sends the series that answer the selection to out, and notes in sent how
// far it has come. Up to there they are there already.
func (r *blockReader) run(ctx context.Context, want selection, readAhead int64, matchers []*labels.Matcher, out chan<- []series, sent *progress) error {
	refs, err := r.postings(ctx, matchers)
	if err != nil || len(refs) == 0 {
		return err
	}
	header, err := r.header(ctx)
	if err != nil {
		return err
	}
	// Of chunks one batch is being read, one waits, and one is in use. Series
	// without their chunks are much smaller; there are a few batches of them,
	// and the bytes they are decoded from.
	chunkBytes, seriesBytes := readAhead/4, readAhead/16
	group, ctx := errgroup.WithContext(ctx)
	entries := make(chan []series, 1)
	group.Go(func() error {
		defer close(entries)
		return newSeriesReader(r.block, header, want, seriesBytes).each(ctx, refs, func(batch []series) error {
			return send(ctx, entries, batch)
		})
	})
	group.Go(func() error {
		chunks := chunkReader{r.block, want.form}
		for batch := range entries {
			batch = sent.after(batch)
			for len(batch) > 0 {
				n := chunks.fits(batch, chunkBytes)
				last := batch[n-1].labels
				if err := chunks.load(ctx, batch[:n]); err != nil {
					return err
				}
				ready, err := chunks.convert(ctx, batch[:n:n])
				if err != nil {
					return err
				}
				if len(ready) > 0 {
					if err := send(ctx, out, ready); err != nil {
						return err
					}
				}
				sent.sent, sent.last = sent.sent+n, last
				batch = batch[n:]
			}
		}
		return nil
	})
	return group.Wait()
}

func send(ctx context.Context, to chan<- []series, batch []series) error {
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
	if len(s.batch) > 1 {
		s.batch = s.batch[1:]
		return true
	}
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
	s.batch = nil
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

func (s *seriesSet) At() storage.ChunkSeries { return &chunkSeries{s.batch[0]} }

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
