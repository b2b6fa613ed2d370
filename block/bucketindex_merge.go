package block

import (
	"cmp"
	"slices"

	"github.com/oklog/ulid/v2"
)

// mergeIndex returns what all objects of an index say together, sorted by ULID.
// It does not depend on their order. The result may be part of one of them, and must
// not be changed.
//
// A block is there if any object says so that no other one replaces, and has
// the markers that any says it has: who wrote an object did not know of those
// written at the same time. That a block is gone counts against bases only, and
// against none that replaces what says so: its block was put back since.
func mergeIndex(objects []*indexObject) []Entry {
	objects = notReplaced(objects)
	if len(objects) == 1 && len(objects[0].gone) == 0 {
		return objects[0].entries
	}
	put, gone := map[ulid.ULID]bool{}, map[ulid.ULID]bool{}
	n := 0
	for _, o := range objects {
		n += len(o.entries)
		for _, id := range o.gone {
			gone[id] = true
		}
		if !o.name.base {
			for i := range o.entries {
				put[o.entries[i].ID] = true
			}
		}
	}
	all := make([]Entry, 0, n)
	for _, o := range objects {
		for _, e := range o.entries {
			if !gone[e.ID] || put[e.ID] {
				all = append(all, e)
			}
		}
	}
	if len(objects) > 1 {
		all = joinEntries(all)
	}
	return all
}

// notReplaced leaves out the objects that others replace.
func notReplaced(objects []*indexObject) []*indexObject {
	replaced := map[indexName]bool{}
	for _, o := range objects {
		for _, name := range o.replaced {
			replaced[name] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(objects), func(o *indexObject) bool { return replaced[o.name] })
}

// joinEntries makes one entry of those about the same block.
func joinEntries(all []Entry) []Entry {
	slices.SortStableFunc(all, compareEntries)
	joined := all[:0]
	for _, e := range all {
		if last := len(joined) - 1; last >= 0 && joined[last].ID == e.ID {
			joined[last] = joinEntry(joined[last], e)
		} else {
			joined = append(joined, e)
		}
	}
	return joined
}

func joinEntry(a, b Entry) Entry {
	a.HasMeta = a.HasMeta || b.HasMeta
	a.Marks |= b.Marks
	if compareVersions(a, b) < 0 {
		a.Meta, a.MetaWritten = b.Meta, b.MetaWritten
	}
	if b.DataWritten.After(a.DataWritten) {
		a.DataWritten = b.DataWritten
	}
	// Of marks of one kind the first counts, as in the bucket.
	if a.Deletion == nil || b.Deletion != nil && b.Deletion.Time.Before(a.Deletion.Time) {
		a.Deletion = b.Deletion
	}
	return a
}

// compareVersions orders what is known of the meta of one block: one of a later
// upload, or written later, as when somebody has edited it, is the later.
func compareVersions(a, b Entry) int {
	switch {
	case a.Meta != nil && b.Meta == nil:
		return 1
	case a.Meta == nil && b.Meta != nil:
		return -1
	}
	written := a.MetaWritten.Compare(b.MetaWritten)
	if a.Meta == nil {
		return written
	}
	return cmp.Or(a.Meta.Thanos.UploadTime.Compare(b.Meta.Thanos.UploadTime), written, cmp.Compare(a.Meta.Bytes(), b.Meta.Bytes()))
}
