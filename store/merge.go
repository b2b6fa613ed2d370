package store

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
)

// mergeSeries makes one series of several with the same labels. Its chunks are
// theirs, ordered by time, each once though several blocks may hold it. Chunks
// that overlap but differ stay as they are: to cut them up means to decode and
// encode them, which the reader of the samples need not pay for, as it merges
// by timestamp anyway.
func mergeSeries(all []storage.ChunkSeries) storage.ChunkSeries {
	return &storage.ChunkSeriesEntry{
		Lset: all[0].Labels(),
		ChunkIteratorFn: func(it chunks.Iterator) chunks.Iterator {
			var metas []chunks.Meta
			for _, s := range all {
				// Each needs an iterator of its own: it is the one to return.
				for i := s.Iterator(nil); i.Next(); {
					metas = append(metas, i.At())
				}
			}
			slices.SortStableFunc(metas, func(a, b chunks.Meta) int {
				return cmp.Or(cmp.Compare(a.MinTime, b.MinTime), cmp.Compare(a.MaxTime, b.MaxTime))
			})
			return iterate(it, slices.CompactFunc(metas, sameChunk))
		},
	}
}

func sameChunk(a, b chunks.Meta) bool {
	if a.MinTime != b.MinTime || a.MaxTime != b.MaxTime || (a.Chunk == nil) != (b.Chunk == nil) {
		return false
	}
	return a.Chunk == nil || a.Chunk.Encoding() == b.Chunk.Encoding() && bytes.Equal(a.Chunk.Bytes(), b.Chunk.Bytes())
}

// limitedSet ends a set after a number of different label sets.
type limitedSet struct {
	storage.ChunkSeriesSet
	limit int
	seen  int
	last  labels.Labels
}

func (l *limitedSet) Next() bool {
	if l.seen > l.limit || !l.ChunkSeriesSet.Next() {
		return false
	}
	if ls := l.At().Labels(); l.seen == 0 || !labels.Equal(ls, l.last) {
		l.seen++
		l.last = ls
	}
	return l.seen <= l.limit
}

// warnedSet is a set with further warnings.
type warnedSet struct {
	storage.ChunkSeriesSet
	warnings annotations.Annotations
}

// Warnings returns those of the set, too.
func (w *warnedSet) Warnings() annotations.Annotations {
	var all annotations.Annotations
	all.Merge(w.warnings)
	return all.Merge(w.ChunkSeriesSet.Warnings())
}

// lateSet is a set that is being made in the background.
type lateSet struct {
	made chan struct{} // closed when set is there
	set  storage.ChunkSeriesSet
}

// late makes a set in the background.
func late(background func(func()), build func() storage.ChunkSeriesSet) storage.ChunkSeriesSet {
	l := &lateSet{made: make(chan struct{})}
	background(func() {
		defer close(l.made)
		l.set = build()
	})
	return l
}

func (l *lateSet) Next() bool {
	<-l.made
	return l.set.Next()
}

func (l *lateSet) At() storage.ChunkSeries { return l.set.At() }

func (l *lateSet) Err() error {
	<-l.made
	return l.set.Err()
}

func (l *lateSet) Warnings() annotations.Annotations {
	<-l.made
	return l.set.Warnings()
}
