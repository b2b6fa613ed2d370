package sortedsets

import (
	"container/heap"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
)

// Join reads sets, each sorted by labels, as one. Equal label sets follow each
// other, those of an earlier set first. The first error of a set ends it. All
// sets are asked for their first series by the first call of Next, in order.
func Join(sets ...storage.ChunkSeriesSet) storage.ChunkSeriesSet {
	switch len(sets) {
	case 0:
		return storage.EmptyChunkSeriesSet()
	case 1:
		return sets[0]
	}
	return &joined{sets: sets}
}

// Merge is Join, but makes one series of those with equal labels by MergeSeries,
// also if they come from the same set.
func Merge(sets ...storage.ChunkSeriesSet) storage.ChunkSeriesSet {
	return &merged{ChunkSeriesSet: Join(sets...)}
}

type joined struct {
	sets    []storage.ChunkSeriesSet
	heap    setHeap // of the sets with a current series
	started bool
	err     error
}

// Next moves to the next series.
func (j *joined) Next() bool {
	if j.err != nil {
		return false
	}
	if !j.started {
		j.started = true
		for place, set := range j.sets {
			if set.Next() {
				heap.Push(&j.heap, current{set, set.At().Labels(), place})
			} else if j.err = set.Err(); j.err != nil {
				return false
			}
		}
		return len(j.heap) > 0
	}
	if len(j.heap) == 0 {
		return false
	}
	if set := j.heap[0].set; set.Next() {
		j.heap[0].labels = set.At().Labels()
		heap.Fix(&j.heap, 0)
	} else {
		heap.Pop(&j.heap)
		j.err = set.Err()
	}
	return j.err == nil && len(j.heap) > 0
}

// At returns the current series.
func (j *joined) At() storage.ChunkSeries { return j.heap[0].set.At() }

// Err returns the first error of a set.
func (j *joined) Err() error { return j.err }

// Warnings returns those of all sets.
func (j *joined) Warnings() annotations.Annotations {
	var all annotations.Annotations
	for _, set := range j.sets {
		all.Merge(set.Warnings())
	}
	return all
}

type merged struct {
	storage.ChunkSeriesSet

	begun, more bool
	current     storage.ChunkSeries
}

// Next moves to the next series.
func (m *merged) Next() bool {
	if !m.begun {
		m.begun = true
		m.more = m.ChunkSeriesSet.Next()
	}
	if !m.more {
		return false
	}
	first := m.ChunkSeriesSet.At()
	m.current = first
	var same []storage.ChunkSeries
	for m.more = m.ChunkSeriesSet.Next(); m.more; m.more = m.ChunkSeriesSet.Next() {
		next := m.ChunkSeriesSet.At()
		if !labels.Equal(next.Labels(), first.Labels()) {
			break
		}
		if same == nil {
			same = append(same, first)
		}
		same = append(same, next)
	}
	// After an error nobody knows whether the series is whole.
	if m.ChunkSeriesSet.Err() != nil {
		return false
	}
	if same != nil {
		m.current = MergeSeries(same)
	}
	return true
}

// At returns the current series.
func (m *merged) At() storage.ChunkSeries { return m.current }

// current is a set with the labels of its current series, and its place among
// the sets.
type current struct {
	set    storage.ChunkSeriesSet
	labels labels.Labels
	place  int
}

type setHeap []current

func (h setHeap) Len() int { return len(h) }
func (h setHeap) Less(i, j int) bool {
	if c := labels.Compare(h[i].labels, h[j].labels); c != 0 {
		return c < 0
	}
	return h[i].place < h[j].place
}
func (h setHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *setHeap) Push(x any)   { *h = append(*h, x.(current)) }
func (h *setHeap) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	(*h)[last] = current{}
	*h = (*h)[:last]
	return x
}
