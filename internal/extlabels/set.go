package extlabels

import (
	"cmp"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/varve-tsdb/varve/internal/readcost"
	"github.com/varve-tsdb/varve/internal/sortedsets"
)

// relabelled is a series under its final labels.
type relabelled struct {
	storage.ChunkSeries
	labels  labels.Labels
	removed labels.Labels
	held    int64 // of the budget, while it is collected
}

// sampled is a series that can show its samples without a detour by chunks, see
// query.Samples.
type sampled interface {
	Samples(mint, maxt int64) (chunkenc.Iterable, error)
}

// relabelledSamples is a series under its final labels that still can.
type relabelledSamples struct {
	*relabelled
	sampled
}

// shown is the series for readers.
func (r *relabelled) shown() storage.ChunkSeries {
	if inner, ok := r.ChunkSeries.(sampled); ok {
		return relabelledSamples{r, inner}
	}
	return r
}

// Labels returns the final labels.
func (r *relabelled) Labels() labels.Labels { return r.labels }

// Removed returns the labels that were removed from the series: what still
// tells series apart whose final labels are equal. They are always known.
func (r *relabelled) Removed() (_ labels.Labels, known bool) { return r.removed, true }

// Memory is about what the series takes.
func (r *relabelled) Memory() int64 {
	return relabelledMemory + int64(r.labels.ByteSize()) + int64(r.removed.ByteSize()) + sortedsets.Memory(r.ChunkSeries)
}

// taggedSet is a set whose series need no other labels, only the word about
// what was removed.
type taggedSet struct {
	storage.ChunkSeriesSet
	removed labels.Labels
}

func (s *taggedSet) At() storage.ChunkSeries {
	series := s.ChunkSeriesSet.At()
	return (&relabelled{ChunkSeries: series, labels: series.Labels(), removed: s.removed}).shown()
}

// sortedSet collects all series of a set and returns them in the order of
// their final labels. Series that have become equal are one if they have lost
// the same labels: a stored label had the name of an external one. What is
// collected is in the budget of the read until it is handed on.
type sortedSet struct {
	set     storage.ChunkSeriesSet
	final   func(labels.Labels) labels.Labels
	removed func(labels.Labels) labels.Labels

	cost      *readcost.Cost
	series    []*relabelled
	collected bool
	current   storage.ChunkSeries
	err       error // of the budget
}

func (s *sortedSet) Next() bool {
	if !s.collected {
		s.collected = true
		s.collect()
	}
	// An error makes the order of what was collected meaningless to a merge,
	// which would have to take a missing series for an absent one.
	if s.Err() != nil {
		s.pass(len(s.series))
	}
	if len(s.series) == 0 {
		return false
	}
	same := []storage.ChunkSeries{s.series[0].shown()}
	for len(same) < len(s.series) && compareRelabelled(s.series[0], s.series[len(same)]) == 0 {
		same = append(same, s.series[len(same)])
	}
	s.pass(len(same))
	s.current = sortedsets.MergeSeries(same)
	return true
}

// pass lets go of the first n series.
func (s *sortedSet) pass(n int) {
	for _, series := range s.series[:n] {
		s.cost.Give(readcost.SeriesInFlight, series.held)
	}
	s.series = s.series[n:]
}

func (s *sortedSet) collect() {
	for s.set.Next() {
		series := s.set.At()
		stored := series.Labels()
		r := &relabelled{ChunkSeries: series, labels: s.final(stored), removed: s.removed(stored)}
		r.held = r.Memory()
		if s.err = s.cost.Take(readcost.SeriesInFlight, r.held); s.err != nil {
			return
		}
		s.series = append(s.series, r)
	}
	slices.SortStableFunc(s.series, compareRelabelled)
}

// relabelledMemory is what a series that is collected takes besides labels and
// chunks.
const relabelledMemory = 256

func compareRelabelled(a, b *relabelled) int {
	return cmp.Or(labels.Compare(a.labels, b.labels), labels.Compare(a.removed, b.removed))
}

func (s *sortedSet) At() storage.ChunkSeries           { return s.current }
func (s *sortedSet) Err() error                        { return cmp.Or(s.err, s.set.Err()) }
func (s *sortedSet) Warnings() annotations.Annotations { return s.set.Warnings() }

// streamedSet adds labels to the series of a sorted set that have none of
// their names, and restores the order as they pass. See the package comment.
type streamedSet struct {
	set     storage.ChunkSeriesSet
	final   func(labels.Labels) labels.Labels
	removed labels.Labels // the same for all: stored labels stay
	last    string        // the greatest added name

	// stack holds series that a later one may still overtake, each a prefix of
	// (or equal to) the next; ready those that left it, in reverse order.
	stack []pending
	ready []*relabelled
	at    *relabelled
	done  bool
	free  [][]labels.Label
}

type pending struct {
	series *relabelled
	stored []labels.Label
}

func (s *streamedSet) Next() bool {
	for len(s.ready) == 0 {
		if s.done {
			return false
		}
		if !s.set.Next() {
			s.done = true
			if s.set.Err() == nil {
				s.release(0)
			}
			continue
		}
		s.push(s.set.At())
	}
	s.at = s.ready[len(s.ready)-1]
	s.ready = s.ready[:len(s.ready)-1]
	return true
}

func (s *streamedSet) At() storage.ChunkSeries           { return s.at.shown() }
func (s *streamedSet) Err() error                        { return s.set.Err() }
func (s *streamedSet) Warnings() annotations.Annotations { return s.set.Warnings() }

// push releases what series cannot overtake, and puts series on the stack.
func (s *streamedSet) push(series storage.ChunkSeries) {
	own := series.Labels()
	stored := s.labelSlice()
	own.Range(func(l labels.Label) { stored = append(stored, l) })

	keep := len(s.stack)
	for keep > 0 && !overtakes(stored, s.stack[keep-1].stored, s.last) {
		keep--
	}
	s.release(keep)
	s.stack = append(s.stack, pending{
		series: &relabelled{ChunkSeries: series, labels: s.final(own), removed: s.removed},
		stored: stored,
	})
}

// release moves the stack's entries from keep on to ready, which is empty: the
// top of the stack is the first in order.
func (s *streamedSet) release(keep int) {
	for _, p := range s.stack[keep:] {
		s.ready = append(s.ready, p.series)
		s.free = append(s.free, p.stored[:0])
	}
	s.stack = s.stack[:keep]
}

func (s *streamedSet) labelSlice() []labels.Label {
	if len(s.free) == 0 {
		return make([]labels.Label, 0, 16)
	}
	last := s.free[len(s.free)-1]
	s.free = s.free[:len(s.free)-1]
	return last
}

// overtakes reports whether later, or a series after it that has later as a
// prefix, sorts before earlier once labels up to the name last were added.
// Equal label sets stay together on the stack, so that whatever overtakes one
// overtakes both.
func overtakes(later, earlier []labels.Label, last string) bool {
	if len(earlier) > len(later) || !slices.Equal(earlier, later[:len(earlier)]) {
		return false
	}
	return len(earlier) == len(later) || later[len(earlier)].Name < last
}
