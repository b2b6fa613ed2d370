package query

import (
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
)

// remover is the optional interface of a series that has lost labels to
// ChunkQuerierWithout. It tells which, if it knows, and so which series it
// really is.
type remover interface {
	Removed() (lost labels.Labels, known bool)
}

// replicaSet makes one series of the parts that several sources have of it,
// where its labels alone do not tell it from its replicas. Parts of one replica
// complete each other, while of several replicas a reader has to choose: only
// here it is known which is which. Parts of a source that does not say what
// they have lost stay alone.
type replicaSet struct {
	*fanoutSet
	limit int // different label sets to return at most; 0 for all

	count int             // groups so far
	more  bool            // fanoutSet has a series beyond the group
	group []*fanoutSeries // the rest of those with equal labels
	begun bool
}

// Next advances to the next series.
func (r *replicaSet) Next() bool {
	if len(r.group) > 1 {
		r.group = r.group[1:]
		return true
	}
	r.group = nil
	if r.limit > 0 && r.count >= r.limit {
		return false
	}
	r.count++
	if !r.begun {
		r.begun = true
		r.more = r.fanoutSet.Next()
	}
	for r.more {
		series := r.fanoutSet.At().(*fanoutSeries)
		if len(r.group) > 0 && !labels.Equal(series.labels, r.group[0].labels) {
			break
		}
		r.add(series)
		r.more = r.fanoutSet.Next()
	}
	return len(r.group) > 0 && r.fanoutSet.Err() == nil
}

// add puts a series into the group, or into the series it is a part of.
func (r *replicaSet) add(series *fanoutSeries) {
	lost, known := series.Removed()
	for _, s := range r.group {
		if other, too := s.Removed(); known && too && labels.Equal(lost, other) {
			s.parts = append(s.parts, series.parts...)
			return
		}
	}
	r.group = append(r.group, series)
}

// At returns the current series. It stays iterable.
func (r *replicaSet) At() storage.ChunkSeries { return r.group[0] }
