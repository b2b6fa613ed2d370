package query

import (
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/varve-tsdb/varve/internal/sortedsets"
)

// replicaSet makes one series of the parts that several sources have of it,
// where its labels alone do not tell it from its replicas. Parts of one replica
// complete each other, while of several replicas a reader has to choose: only
// here it is known which is which. Parts of a source that does not say what
// they have lost stay alone.
type replicaSet struct {
	*fanoutSet
	limit int // different label sets to return at most; 0 for all

	count int        // groups so far
	more  bool       // fanoutSet has a series beyond the group
	group []*replica // the rest of those with equal labels
	begun bool
}

// replica is a series with its parts in the sources.
type replica struct {
	lost  labels.Labels // to tell it from others
	known bool          // whether lost is
	parts []storage.ChunkSeries
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
		series := r.fanoutSet.At()
		if len(r.group) > 0 && !labels.Equal(series.Labels(), r.group[0].parts[0].Labels()) {
			break
		}
		r.add(series)
		r.more = r.fanoutSet.Next()
	}
	return len(r.group) > 0 && r.fanoutSet.Err() == nil
}

// add puts a series into the group, or to the replica it is a part of.
func (r *replicaSet) add(series storage.ChunkSeries) {
	lost, known := sortedsets.Removed(series)
	for _, one := range r.group {
		if known && one.known && labels.Equal(lost, one.lost) {
			one.parts = append(one.parts, series)
			return
		}
	}
	r.group = append(r.group, &replica{lost, known, []storage.ChunkSeries{series}})
}

// At returns the current series. It stays iterable.
func (r *replicaSet) At() storage.ChunkSeries { return sortedsets.MergeSeries(r.group[0].parts) }
