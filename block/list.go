package block

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

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
	// reread: meta.json is to be read, though it may be known.
	reread bool
	// Meta is the content of meta.json if the Lister knows it, and nil
	// otherwise: then the Fetcher reads it.
	Meta *Meta
	// Deletion is the deletion mark if the Lister knows it, and nil otherwise.
	Deletion *Mark
	// MetaWritten is when meta.json was written, and not later than what Meta
	// holds was. A Fetcher reads a meta.json again whose time has changed. Zero
	// is unknown: then what was read of it before is believed.
	//
	// Times are those of the bucket's listings and compared with each other,
	// as other requests may tell them with another precision; only the index, of two
	// metas of a block of which one has no time, takes the upload time for it.
	MetaWritten time.Time
	// DataWritten is when the youngest of the block's index and chunks was
	// written, zero if unknown.
	DataWritten time.Time
}

// wrote notes that an object of the block was written at a time.
func (e *Entry) wrote(rel string, at time.Time) {
	_, chunks := segmentOf(rel)
	switch {
	case rel == MetaFilename:
		e.MetaWritten = at
	case (chunks || rel == IndexFilename) && at.After(e.DataWritten):
		e.DataWritten = at
	}
}

// NewLister returns a Lister that lists all objects of the bucket in one
// sweep. doc.go tells why that is the cheapest way.
//
// Of a bucket that does not tell when objects were written it has a few metas
// read again in each pass, in turn.
func NewLister(bkt objstore.BucketReader) Lister { return &sweep{bkt: bkt} }

type sweep struct {
	bkt objstore.BucketReader

	mu   sync.Mutex // guards turn
	turn ulid.ULID  // of the last block whose meta was to be read again; zero is any
}

// List visits each object's name once and keeps a few bytes per block. A
// listing that starts over half way does no harm.
func (s *sweep) List(ctx context.Context) ([]Entry, error) {
	found := map[ulid.ULID]Entry{}
	err := iterDated(ctx, s.bkt, "", func(name string, written time.Time) {
		if id, rel, ok := ParseObject(name); ok {
			e := found[id]
			e.ID = id
			e.HasMeta = e.HasMeta || rel == MetaFilename
			e.wrote(rel, written)
			if kind, ok := markKindOf(rel); ok {
				e.Marks |= MarkKinds(kind)
			}
			found[id] = e
		}
	})
	if err != nil {
		return nil, fmt.Errorf("list the blocks of the bucket: %w", err)
	}
	entries := slices.Collect(maps.Values(found))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turn = rotate(entries, s.turn)
	return entries, nil
}

// iterDated calls f for all objects below dir, with a zero time if the bucket
// does not tell when they were written.
func iterDated(ctx context.Context, bkt objstore.BucketReader, dir string, f func(name string, written time.Time)) error {
	if !tellsTimes(bkt) {
		return bkt.Iter(ctx, dir, func(name string) error {
			f(name, time.Time{})
			return nil
		}, objstore.WithRecursiveIter())
	}
	return bkt.IterWithAttributes(ctx, dir, func(attrs objstore.IterObjectAttributes) error {
		written, _ := attrs.LastModified()
		f(attrs.Name, written)
		return nil
	}, objstore.WithRecursiveIter(), objstore.WithUpdatedAt())
}

// tellsTimes says whether lists of the bucket tell when objects were written.
func tellsTimes(bkt objstore.BucketReader) bool {
	return slices.Contains(bkt.SupportedIterOptions(), objstore.UpdatedAt)
}

// rereadMetas is how many metas a pass reads again of which it cannot tell
// whether they have changed.
const rereadMetas = 256

// rotate has metas read again of which it is not known when they were written:
// the next rereadMetas behind the block last. It returns the new last one.
func rotate(entries []Entry, last ulid.ULID) ulid.ULID {
	var undated []int
	for i, e := range entries {
		if e.HasMeta && e.MetaWritten.IsZero() {
			undated = append(undated, i)
		}
	}
	if len(undated) == 0 {
		return last
	}
	slices.SortFunc(undated, func(a, b int) int { return entries[a].ID.Compare(entries[b].ID) })
	first := rand.IntN(len(undated)) // those at the start are not read most
	if !last.IsZero() {
		first, _ = slices.BinarySearchFunc(undated, last, func(i int, last ulid.ULID) int {
			return cmp.Or(entries[i].ID.Compare(last), -1)
		})
	}
	for n := range min(rereadMetas, len(undated)) {
		e := &entries[undated[(first+n)%len(undated)]]
		e.reread, last = true, e.ID
	}
	return last
}
