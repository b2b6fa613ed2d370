package block

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/oklog/ulid/v2"

	"github.com/varve-tsdb/varve/objstore"
)

// Lister tells a Fetcher which blocks a bucket holds. It is called once per
// pass. NewLister lists the bucket; one that knows more, as that by the index of
// the bucket does, can save the requests behind it.
type Lister interface {
	// List returns an entry for each block, in any order, each ULID once. The
	// Fetcher owns the slice, and only reads what the entries point to. An
	// error fails the pass.
	List(ctx context.Context) ([]Entry, error)
}

// Entry is what a listing tells about one block.
type Entry struct {
	ID ulid.ULID
	// HasMeta tells that meta.json is there.
	HasMeta bool
	// Marks are the markers that are there.
	Marks MarkKinds
	// Meta is the content of meta.json if the Lister knows it, and nil
	// otherwise: then the Fetcher reads it.
	Meta *Meta
	// Deletion is the deletion mark if the Lister knows it, and nil otherwise.
	Deletion *Mark
}

// NewLister returns a Lister that lists all objects of the bucket in one
// sweep. doc.go tells why that is the cheapest way.
func NewLister(bkt objstore.BucketReader) Lister { return sweep{bkt: bkt} }

type sweep struct{ bkt objstore.BucketReader }

// List visits each object's name once and keeps a few bytes per block. A
// listing that starts over half way does no harm.
func (s sweep) List(ctx context.Context) ([]Entry, error) {
	found := map[ulid.ULID]Entry{}
	err := s.bkt.Iter(ctx, "", func(name string) error {
		if id, rel, ok := ParseObject(name); ok {
			e := found[id]
			e.ID = id
			e.HasMeta = e.HasMeta || rel == MetaFilename
			if kind, ok := markKindOf(rel); ok {
				e.Marks |= MarkKinds(kind)
			}
			found[id] = e
		}
		return nil
	}, objstore.WithRecursiveIter())
	if err != nil {
		return nil, fmt.Errorf("list the blocks of the bucket: %w", err)
	}
	return slices.Collect(maps.Values(found)), nil
}
