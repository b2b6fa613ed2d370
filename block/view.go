package block

import (
	"cmp"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"
)

// View is what one pass of a Fetcher found, as of one moment. It is shared and
// must not be changed.
type View struct {
	// Time is when the pass began. What got into the bucket before it is here,
	// unless the pass went by the index of the bucket: then what others than
	// its writers did is here if it was done before the last Reconcile.
	Time time.Time
	// Blocks are complete and to be served, ordered by MinTime, then ULID.
	Blocks []*Meta
	// Hidden blocks are complete but not to be served. Same order.
	Hidden []Hidden
	// Partial blocks cannot be used, ordered by ULID.
	Partial []Partial
	// Deletions are the deletion marks found, also those on blocks that are
	// still served and on blocks whose meta.json is gone.
	Deletions map[ulid.ULID]Mark
	// Marks tells which markers each marked block has.
	Marks map[ulid.ULID]MarkKinds
	// Warnings are about deletion marks whose content is not known: the block
	// is served as if there were none, unless the mark is an ErrMarkVersion.
	// Each names its block.
	Warnings []error

	entries []Entry // of the listing, sorted by ULID
}

// DataWritten is when the youngest of the index and chunks of a block was written,
// by the clock of the bucket, as in Entry; zero if unknown.
func (v *View) DataWritten(id ulid.ULID) time.Time {
	i, found := slices.BinarySearchFunc(v.entries, id, func(e Entry, id ulid.ULID) int { return e.ID.Compare(id) })
	if !found {
		return time.Time{}
	}
	return v.entries[i].DataWritten
}

// HiddenReason says why a complete block is not served.
type HiddenReason string

// The reasons why a complete block is not served.
const (
	// HiddenFresh: it is younger than the consistency delay.
	HiddenFresh HiddenReason = "fresh"
	// HiddenMarked: its deletion mark is older than the delay for that.
	HiddenMarked HiddenReason = "marked"
	// HiddenUnknownMark: its deletion mark is of a version this package does not
	// know, and may forbid what the known one allows for a while.
	HiddenUnknownMark HiddenReason = "unknown-mark"
	// HiddenDuplicate: another block covers it.
	HiddenDuplicate HiddenReason = "duplicate"
)

// Hidden is a complete block that is not served.
type Hidden struct {
	Meta   *Meta
	Reason HiddenReason
	// By is the block that covers a duplicate, and zero otherwise.
	By ulid.ULID
}

// Partial is a block that cannot be used. Err is an ErrMetaNotFound if the
// block's upload has not ended or its deletion has begun, an ErrMetaInvalid if
// meta.json is broken, and anything else if meta.json could not be read this
// time.
type Partial struct {
	ID  ulid.ULID
	Err error
}

// Find returns a complete block, served or hidden, or nil.
func (v *View) Find(id ulid.ULID) *Meta {
	for _, m := range v.Blocks {
		if m.ULID == id {
			return m
		}
	}
	for _, h := range v.Hidden {
		if h.Meta.ULID == id {
			return h.Meta
		}
	}
	return nil
}

// found is what a pass read, before anything is decided.
type found struct {
	metas     []*Meta
	partial   []Partial
	deletions map[ulid.ULID]Mark
	unknown   map[ulid.ULID]error // deletion marks of an unknown version
	marks     map[ulid.ULID]MarkKinds
	entries   []Entry // sorted by ULID
	warnings  []error
}

// viewRules are the settings that decide what is served.
type viewRules struct {
	consistencyDelay         time.Duration
	ignoreDeletionMarksDelay time.Duration
}

// newView decides what of a pass is served. Duplicates are looked for only
// among what the other rules leave, so that a block never hides behind one
// that is hidden itself.
func newView(now time.Time, f found, rules viewRules) *View {
	v := &View{
		Time: now, Partial: f.partial, Deletions: f.deletions, Marks: f.marks, Warnings: f.warnings, entries: f.entries,
	}
	rest := make([]*Meta, 0, len(f.metas))
	for _, m := range f.metas {
		mark, marked := f.deletions[m.ULID]
		switch {
		case TooFresh(m, now, rules.consistencyDelay):
			v.Hidden = append(v.Hidden, Hidden{Meta: m, Reason: HiddenFresh})
		case f.unknown[m.ULID] != nil:
			v.Hidden = append(v.Hidden, Hidden{Meta: m, Reason: HiddenUnknownMark})
		case marked && now.Sub(mark.Time) >= rules.ignoreDeletionMarksDelay:
			v.Hidden = append(v.Hidden, Hidden{Meta: m, Reason: HiddenMarked})
		default:
			rest = append(rest, m)
		}
	}
	covered := Duplicates(rest)
	v.Blocks = make([]*Meta, 0, len(rest))
	for _, m := range rest {
		if by, ok := covered[m.ULID]; ok {
			v.Hidden = append(v.Hidden, Hidden{Meta: m, Reason: HiddenDuplicate, By: by})
		} else {
			v.Blocks = append(v.Blocks, m)
		}
	}
	slices.SortFunc(v.Blocks, compareMetas)
	slices.SortFunc(v.Hidden, func(a, b Hidden) int { return compareMetas(a.Meta, b.Meta) })
	slices.SortFunc(v.Partial, func(a, b Partial) int { return a.ID.Compare(b.ID) })
	return v
}

// compareMetas orders by MinTime, then ULID.
func compareMetas(a, b *Meta) int {
	return cmp.Or(cmp.Compare(a.MinTime, b.MinTime), a.ULID.Compare(b.ULID))
}

// complete names the complete blocks.
func (v *View) complete() []Entry {
	var entries []Entry
	for _, m := range v.Blocks {
		entries = append(entries, Entry{ID: m.ULID, HasMeta: true})
	}
	for _, h := range v.Hidden {
		entries = append(entries, Entry{ID: h.Meta.ULID, HasMeta: true})
	}
	return entries
}

// counts tells how many blocks there are by what became of them.
func (v *View) counts() map[string]int {
	n := map[string]int{
		"served": len(v.Blocks), "partial": len(v.Partial),
		string(HiddenFresh): 0, string(HiddenMarked): 0, string(HiddenUnknownMark): 0, string(HiddenDuplicate): 0,
	}
	for _, h := range v.Hidden {
		n[string(h.Reason)]++
	}
	return n
}

// emptyView is the View before the first pass.
func emptyView() *View {
	return &View{Deletions: map[ulid.ULID]Mark{}, Marks: map[ulid.ULID]MarkKinds{}}
}
