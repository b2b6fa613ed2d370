package store

import (
	"cmp"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/varve-tsdb/varve/internal/readcost"
)

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

// countedSet counts the series that a reader gets, who keeps none of them.
type countedSet struct {
	storage.ChunkSeriesSet
	cost *readcost.Cost
	err  error
}

func (s *countedSet) Next() bool {
	if s.err != nil || !s.ChunkSeriesSet.Next() {
		return false
	}
	s.err = s.cost.Returned(1, 0, 0)
	return s.err == nil
}

func (s *countedSet) Err() error { return cmp.Or(s.err, s.ChunkSeriesSet.Err()) }

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
