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
	sources := make(map[ulid.ULID]map[ulid.ULID]bool, len(group))
	for _, m := range group {
		set := make(map[ulid.ULID]bool, len(m.Compaction.Sources))
		for _, s := range m.Compaction.Sources {
			set[s] = true
		}
		sources[m.ULID] = set
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
		for s := range sources[m.ULID] {
			having[s] = append(having[s], m)
		}
	}
}

func isSubset(a, b map[ulid.ULID]bool) bool {
	for x := range a {
		if !b[x] {
			return false
		}
	}
	return true
}
