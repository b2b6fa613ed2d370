package sortedsets

import (
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
)

// Warned returns the set with further warnings, of which there may be none.
func Warned(set storage.ChunkSeriesSet, warnings annotations.Annotations) storage.ChunkSeriesSet {
	if len(warnings) == 0 {
		return set
	}
	return &warned{set, warnings}
}

type warned struct {
	storage.ChunkSeriesSet
	warnings annotations.Annotations
}

// Warnings returns those of the set, too.
func (w *warned) Warnings() annotations.Annotations {
	var all annotations.Annotations
	all.Merge(w.warnings)
	return all.Merge(w.ChunkSeriesSet.Warnings())
}
