package dedup

import (
	"fmt"
	"slices"

	"github.com/prometheus/prometheus/storage"
)

// Options of a Queryable.
type Options struct {
	// ReplicaLabels are the names of the labels that tell replicas of a series
	// apart. They are removed from every series, and series that are equal
	// without them are merged. With none, only series that are equal as they are
	// get merged. A read may ask for others, or for no deduplication, by the
	// options in its context. Order and repetitions do not matter.
	ReplicaLabels []string
}

// Queryable shows a source of series with the replicas of each merged. It holds
// nothing itself and may be used by any number of goroutines.
//
// It has every optional interface; where the source lacks one, it answers as
// documented at the method.
type Queryable struct {
	inner    storage.ChunkQueryable
	replicas []string // sorted, unique
}

var (
	_ storage.ChunkQueryable    = (*Queryable)(nil)
	_ storage.ExemplarQueryable = (*Queryable)(nil)
)

// New returns inner with its replicas merged. Closing inner, if that is
// needed, stays with the caller.
func New(inner storage.ChunkQueryable, opts Options) *Queryable {
	return &Queryable{inner: inner, replicas: cleanNames(opts.ReplicaLabels)}
}

// ChunkQuerier returns a querier of the deduplicated series between mint and
// maxt, both inclusive, in milliseconds. It opens the source only when it is
// first asked something, because only the context of that tells how. Errors of
// opening come from there.
//
// The querier may be used by several goroutines if those of the source may.
func (q *Queryable) ChunkQuerier(mint, maxt int64) (storage.ChunkQuerier, error) {
	return &querier{q: q, mint: mint, maxt: maxt}, nil
}

// ChunkQuerierWithout is like ChunkQuerier but removes the named labels from
// the deduplicated series, too. Series that this makes equal follow each other
// unmerged.
func (q *Queryable) ChunkQuerierWithout(mint, maxt int64, without []string) (storage.ChunkQuerier, error) {
	return &querier{q: q, mint: mint, maxt: maxt, without: cleanNames(without)}, nil
}

// String names the source.
func (q *Queryable) String() string {
	if s, ok := q.inner.(fmt.Stringer); ok {
		return "dedup(" + s.String() + ")"
	}
	return fmt.Sprintf("dedup(%T)", q.inner)
}

// cleanNames returns a sorted copy without repetitions and empty names.
func cleanNames(names []string) []string {
	names = slices.Clone(names)
	names = slices.DeleteFunc(names, func(name string) bool { return name == "" })
	slices.Sort(names)
	return slices.Compact(names)
}
