package query

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/varve-tsdb/varve/internal/sortedsets"
)

// sourceSet is the answer of one source to one Select. Its failure is an error
// or, in a partial read, a warning and the end of the set.
type sourceSet struct {
	asked
	mint, maxt int64
	timeout    time.Duration
	request    context.Context // of the reader
	partial    bool

	ctx      context.Context // of this source: request, or its deadline, or the set's end
	deadline *deadline
	first    *running[bool]         // Select and the first Next
	inner    storage.ChunkSeriesSet // there once first is done
	given    bool                   // first was taken note of
	lost     bool                   // gave up on first, which may still use inner
	ended    bool                   // next has returned false
	current  *sourceSeries

	mu       sync.Mutex // the rest is also used by the series' iterators
	err      error
	warnings annotations.Annotations
}

// start asks the source, up to its first series.
func (s *sourceSet) start(ctx context.Context, hints *storage.SelectHints, matchers []*labels.Matcher) {
	var cancel context.CancelCauseFunc
	s.ctx, cancel = context.WithCancelCause(ctx)
	s.deadline = newDeadline(s.timeout, cancel)
	s.first = runQuerier(s.request, s.fanoutSource, func(q storage.ChunkQuerier) (bool, error) {
		defer s.deadline.stop()
		s.inner = q.Select(s.ctx, true, hints, matchers...)
		return s.inner.Next(), nil
	})
}

// Next advances to the next series. The first call waits for it.
func (s *sourceSet) Next() bool {
	if s.ended {
		return false
	}
	if s.ended = !s.advance(); s.ended {
		return false
	}
	s.current = &sourceSeries{ChunkSeries: s.inner.At(), from: s}
	return true
}

// advance is Next, but for the series.
func (s *sourceSet) advance() bool {
	more := false
	if !s.given {
		if s.given = true; !s.first.wait(s.ctx) {
			s.lost = true
			s.calls.abandon()
			s.fail(nil)
			return false
		}
		if s.first.err != nil {
			s.lost = true // never opened, or panicked on the way
			s.fail(s.first.err)
			return false
		}
		more = s.first.value
	} else {
		s.deadline.start()
		more = s.inner.Next()
		s.deadline.stop()
	}
	if !more {
		if err := s.inner.Err(); err != nil {
			s.fail(err)
		}
	}
	return more
}

// At returns the current series. It stays iterable.
func (s *sourceSet) At() storage.ChunkSeries { return s.current }

// fail takes note of a failure; nil means that the context ended.
func (s *sourceSet) fail(err error) {
	err = sourceFailure(s.ctx, err, s.timeout)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch ended := s.request.Err(); {
	case ended != nil:
		s.err = fmt.Errorf("source %s: %w", s.name, ended)
	case s.partial && !isRefusal(err):
		s.warnings.Add(s.failure(err, s.mint, s.maxt))
	default:
		s.err = s.failure(err, s.mint, s.maxt)
	}
}

// Err returns the failure of the source unless it became a warning.
func (s *sourceSet) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Warnings of the source up to here.
func (s *sourceSet) Warnings() annotations.Annotations {
	var all annotations.Annotations
	if s.given && !s.lost {
		all.Merge(s.inner.Warnings())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return all.Merge(s.warnings)
}

// fanoutSet is the answers of the sources as one set. The first failure ends
// it, and what the sources still do.
type fanoutSet struct {
	storage.ChunkSeriesSet
	sources []asked
	limit   int // series to return at most; 0 for all
	count   int
	cancel  context.CancelCauseFunc
}

// Next advances to the next series. The first call waits for the first series
// of every source.
func (f *fanoutSet) Next() bool {
	if f.limit > 0 && f.count >= f.limit {
		return false
	}
	f.count++
	if f.ChunkSeriesSet.Next() {
		return true
	}
	if err := f.Err(); err != nil {
		abandon(f.sources)
		f.cancel(err)
	}
	return false
}

// sourceSeries is a series in one source.
type sourceSeries struct {
	storage.ChunkSeries
	from *sourceSet
}

// Removed returns the labels that the series has lost, if the source says so.
func (s *sourceSeries) Removed() (lost labels.Labels, known bool) {
	return sortedsets.Removed(s.ChunkSeries)
}

// Memory is about what the series takes.
func (s *sourceSeries) Memory() int64 { return sortedsets.Memory(s.ChunkSeries) }

// Iterator over the chunks. Its failure is the failure of the source.
func (s *sourceSeries) Iterator(it chunks.Iterator) chunks.Iterator {
	c, ok := it.(*sourceChunks)
	if !ok {
		c = &sourceChunks{}
	}
	c.Iterator = s.ChunkSeries.Iterator(c.Iterator)
	c.from, c.err = s.from, nil
	return c
}

// sourceChunks reads the chunks of a series in one source.
type sourceChunks struct {
	chunks.Iterator
	from *sourceSet
	err  error
}

// Next advances to the next chunk.
func (c *sourceChunks) Next() bool {
	if c.err != nil {
		return false
	}
	if c.Iterator.Next() {
		return true
	}
	if err := c.Iterator.Err(); err != nil {
		c.from.fail(err)
		c.err = c.from.Err() // nil if it became a warning
	}
	return false
}

// Err returns the failure of the source unless it became a warning.
func (c *sourceChunks) Err() error { return c.err }
