package receive

import (
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
)

// warnedSet is a set with further warnings: about tenants that could not be
// opened.
type warnedSet struct {
	storage.ChunkSeriesSet
	warnings annotations.Annotations
}

// Warnings returns those of the set, too.
func (s *warnedSet) Warnings() annotations.Annotations {
	var all annotations.Annotations
	all.Merge(s.warnings)
	return all.Merge(s.ChunkSeriesSet.Warnings())
}
