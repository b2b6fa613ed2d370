package block

import (
	"cmp"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"
)

// mergeIndex returns what all objects of an index say together, sorted by ULID.
// It does not depend on their order. The result may be part of one of them, and must
// not be changed.
//
// A base lists the blocks of the bucket as of one moment. A delta lists the blocks
// that one writer has put there since, and those it has deleted: its "gone". Both
// name the objects whose news they contain, and these are left out. Of the rest:
//
//   - A block is there if a delta lists it, or if a base does and no delta has it gone.
//   - It has every marker that any of them lists.
//
// For example, the base lists A and B. Then writer P deletes A, and writer Q ships C:
// P's delta has A gone, Q's lists C, and together they say B and C. Now Q puts A back:
// its delta lists A and C, and A is there, though P's goes on having it gone.
//
// The same two deltas come of it if Q puts A back before P deletes it, since writers
// do not know of each other. Then they are wrong until the next Reconcile, whose base
// replaces both: to show a block that is gone costs its reader a request, which tells
// it so, and to hide one that is there would tear a hole into answers.
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
				put[o.entries[i].ID] = put[o.entries[i].ID] || o.entries[i].HasMeta
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

// compareVersions orders what is known of the meta of one block: what was written
// later, by another upload or because somebody has edited it, is the later, known or
// still to be read. The bucket's time says so, which is one clock for all. Where it
// is not known the uploader's must do.
func compareVersions(a, b Entry) int {
	written := func(e Entry) time.Time {
		if e.MetaWritten.IsZero() && e.Meta != nil {
			return e.Meta.Thanos.UploadTime
		}
		return e.MetaWritten
	}
	order := written(a).Compare(written(b))
	switch {
	case order != 0:
		return order
	case a.Meta == nil || b.Meta == nil:
		return compareBools(a.Meta != nil, b.Meta != nil)
	}
	return cmp.Or(a.Meta.Thanos.UploadTime.Compare(b.Meta.Thanos.UploadTime),
		a.MetaWritten.Compare(b.MetaWritten), cmp.Compare(a.Meta.Bytes(), b.Meta.Bytes()))
}

// compareBools has false before true.
func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}
