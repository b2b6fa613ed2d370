package block

import (
	"cmp"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"
)

// TooFresh tells whether a block has been in the bucket for less than delay,
// so that a reader had better wait in case its objects are not all to be seen
// yet. Blocks written by compaction and repair are exempt: they must be seen
// before the blocks that they replace are deleted.
func TooFresh(m *Meta, now time.Time, delay time.Duration) bool {
	if delay <= 0 {
		return false
	}
	switch m.Thanos.Source {
	case SourceCompactor, SourceCompactorRepair, SourceBucketRepair:
		return false
	}
	return now.Sub(m.UploadedAt()) < delay
}

// Duplicates finds the blocks whose data another block holds too: of the same
// stream and resolution (GroupKey), and with compaction sources that include
// all of theirs. Of blocks with the same sources the one with the lowest ULID
// stays. The result maps each duplicate to a block that stays and covers it.
//
// A block that lists no sources covers nothing and is covered by nothing.
func Duplicates(metas []*Meta) map[ulid.ULID]ulid.ULID {
	groups := map[string][]*Meta{}
	for _, m := range metas {
		if len(m.Compaction.Sources) > 0 {
			key := m.GroupKey()
			groups[key] = append(groups[key], m)
		}
	}
	covered := map[ulid.ULID]ulid.ULID{}
	for _, group := range groups {
		duplicatesOf(group, covered)
	}
	return covered
}

func duplicatesOf(group []*Meta, covered map[ulid.ULID]ulid.ULID) {
	sources := make(map[ulid.ULID][]ulid.ULID, len(group))
	for _, m := range group {
		sources[m.ULID] = sourcesOf(m)
	}
	slices.SortFunc(group, func(a, b *Meta) int {
		return cmp.Or(cmp.Compare(len(sources[b.ULID]), len(sources[a.ULID])), a.ULID.Compare(b.ULID))
	})
	// A block that covers m has each source of m, so looking at those that
	// have the first is enough.
	having := map[ulid.ULID][]*Meta{}
	for _, m := range group {
		for _, by := range having[m.Compaction.Sources[0]] {
			if isSubset(sources[m.ULID], sources[by.ULID]) {
				covered[m.ULID] = by.ULID
				break
			}
		}
		if _, ok := covered[m.ULID]; ok {
			continue
		}
		for _, s := range sources[m.ULID] {
			having[s] = append(having[s], m)
		}
	}
}

// sourcesOf returns the compaction sources of a block, sorted and each once, as
// they nearly always are.
func sourcesOf(m *Meta) []ulid.ULID {
	all := m.Compaction.Sources
	for i := 1; i < len(all); i++ {
		if all[i-1].Compare(all[i]) >= 0 {
			all = slices.Clone(all)
			slices.SortFunc(all, ulid.ULID.Compare)
			return slices.Compact(all)
		}
	}
	return all
}

// isSubset tells whether all of a, which is sorted as b is, is in b.
func isSubset(a, b []ulid.ULID) bool {
	for _, x := range a {
		i, found := slices.BinarySearchFunc(b, x, ulid.ULID.Compare)
		if !found {
			return false
		}
		b = b[i:]
	}
	return true
}
