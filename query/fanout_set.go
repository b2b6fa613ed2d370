package query

import (
	"container/heap"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
)

// sourceSet is the answer of one source to one Select. Its failure is an error
// or, in a partial read, a warning and the end of the set.
type sourceSet struct {
	asked
	place      int // among the sources asked
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
	labels   labels.Labels          // of the current series

	mu       sync.Mutex // the rest is also used by the series' iterators
	err      error
	warnings annotations.Annotations
}

// start asks the source, up to its first series.
func (s *sourceSet) start(ctx context.Context, hints *storage.SelectHints, matchers []*labels.Matcher) {
	var cancel context.CancelCauseFunc
	s.ctx, cancel = context.WithCancelCause(ctx)
	s.deadline = newDeadline(s.timeout, cancel)
	s.first = runQuerier(s.fanoutSource, func(q storage.ChunkQuerier) (bool, error) {
		defer s.deadline.stop()
		s.inner = q.Select(s.ctx, true, hints, matchers...)
		return s.inner.Next(), nil
	})
}

// next advances to the next series. After false, failure tells whether the read
// has failed.
func (s *sourceSet) next() bool {
	more := false
	switch {
	case s.lost:
		return false
	case !s.given:
		if s.given = true; !s.first.wait(s.ctx) {
			s.lost = true
			s.abandon()
			s.fail(nil)
			return false
		}
		if s.first.err != nil {
			s.lost = true // never opened, or panicked on the way
			s.fail(s.first.err)
			return false
		}
		more = s.first.value
	default:
		s.deadline.start()
		more = s.inner.Next()
		s.deadline.stop()
	}
	if !more {
		if err := s.inner.Err(); err != nil {
			s.fail(err)
		}
		return false
	}
	s.labels = s.inner.At().Labels()
	return true
}

// fail takes note of a failure; nil means that the context ended.
func (s *sourceSet) fail(err error) {
	err = sourceFailure(s.ctx, err, s.timeout)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch ended := s.request.Err(); {
	case ended != nil:
		s.err = fmt.Errorf("source %s: %w", s.name, ended)
	case s.partial:
		s.warnings.Add(s.failure(err, s.mint, s.maxt))
	default:
		s.err = s.failure(err, s.mint, s.maxt)
	}
}

func (s *sourceSet) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// collect adds the warnings of the source.
func (s *sourceSet) collect(all *annotations.Annotations) {
	if s.given && !s.lost {
		all.Merge(s.inner.Warnings())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	all.Merge(s.warnings)
}

// fanoutSet merges the answers of the sources in label order.
type fanoutSet struct {
	merge  bool
	limit  int // series to return at most; 0 for all
	cancel context.CancelCauseFunc

	sources []*sourceSet
	heads   sourceHeap   // those with a current series that is not yet returned
	current []*sourceSet // those that make up the current series
	started bool
	count   int
	err     error
}

// Next advances to the next series. The first call waits for the first series
// of every source. The first failure ends the set.
func (f *fanoutSet) Next() bool {
	if f.err != nil || (f.limit > 0 && f.count >= f.limit) {
		f.current = nil
		return false
	}
	behind := f.current
	if !f.started {
		f.started = true
		behind = f.sources
	}
	if !f.advance(behind) {
		return false
	}
	f.current = f.current[:0]
	if len(f.heads) == 0 {
		return false
	}
	f.count++
	f.current = append(f.current, heap.Pop(&f.heads).(*sourceSet))
	for f.merge && len(f.heads) > 0 && labels.Equal(f.heads[0].labels, f.current[0].labels) {
		f.current = append(f.current, heap.Pop(&f.heads).(*sourceSet))
	}
	return true
}

// advance moves sources to their next series and puts them back on the heap.
func (f *fanoutSet) advance(sources []*sourceSet) bool {
	for _, s := range sources {
		if s.next() {
			heap.Push(&f.heads, s)
			continue
		}
		if err := s.failed(); err != nil {
			f.err = err
			f.current = nil
			f.cancel(err)
			return false
		}
	}
	return true
}

// At returns the current series. It stays iterable.
func (f *fanoutSet) At() storage.ChunkSeries {
	if len(f.current) == 1 {
		s := f.current[0]
		return &fanoutSeries{labels: s.labels, parts: []fanoutPart{{s.inner.At(), s}}}
	}
	parts := make([]fanoutPart, 0, len(f.current))
	for _, s := range f.current {
		parts = append(parts, fanoutPart{s.inner.At(), s})
	}
	return &fanoutSeries{labels: f.current[0].labels, parts: parts}
}

// Err returns the first failure that is no warning.
func (f *fanoutSet) Err() error { return f.err }

// Warnings of all sources up to here.
func (f *fanoutSet) Warnings() annotations.Annotations {
	var all annotations.Annotations
	for _, s := range f.sources {
		s.collect(&all)
	}
	return all
}

// sourceHeap orders by labels, equal ones by place.
type sourceHeap []*sourceSet

func (h sourceHeap) Len() int { return len(h) }
func (h sourceHeap) Less(i, j int) bool {
	if c := labels.Compare(h[i].labels, h[j].labels); c != 0 {
		return c < 0
	}
	return h[i].place < h[j].place
}
func (h sourceHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *sourceHeap) Push(x any)   { *h = append(*h, x.(*sourceSet)) }
func (h *sourceHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}

// fanoutSeries is one series with its parts in the sources.
type fanoutSeries struct {
	labels labels.Labels
	parts  []fanoutPart
}

type fanoutPart struct {
	series storage.ChunkSeries
	from   *sourceSet
}

// Labels of the series.
func (s *fanoutSeries) Labels() labels.Labels { return s.labels }

// Removed returns the labels that the series has lost in its sources, if they
// say so.
func (s *fanoutSeries) Removed() (lost labels.Labels, known bool) {
	if r, ok := s.parts[0].series.(remover); ok {
		return r.Removed()
	}
	return labels.EmptyLabels(), false
}

// Iterator over the chunks of all parts.
func (s *fanoutSeries) Iterator(it chunks.Iterator) chunks.Iterator {
	if len(s.parts) == 1 {
		reused, ok := it.(*partIterator)
		if !ok {
			reused = &partIterator{}
		}
		reused.reset(s.parts[0])
		return reused
	}
	merged, ok := it.(*mergedChunks)
	if !ok {
		merged = &mergedChunks{}
	}
	merged.reset(s.parts)
	return merged
}
