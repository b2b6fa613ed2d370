package block

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"
)

// blocksFromText reads one block a word: "3=1,2" is block 3 made of 1 and 2;
// "3=1,2@5m" has a resolution, "3=1,2@b" another stream.
func blocksFromText(t *testing.T, text string) []*Meta {
	t.Helper()
	var metas []*Meta
	for _, word := range strings.Fields(text) {
		word, stream, _ := strings.Cut(word, "@")
		name, list, _ := strings.Cut(word, "=")
		var n int
		_, err := fmt.Sscan(name, &n)
		must(t, err)
		m := testMeta(n)
		m.Compaction.Sources = nil
		for _, s := range strings.Split(list, ",") {
			if s == "" {
				continue
			}
			var n int
			_, err := fmt.Sscan(s, &n)
			must(t, err)
			m.Compaction.Sources = append(m.Compaction.Sources, testID(n))
		}
		if d, err := time.ParseDuration(stream); err == nil {
			m.Thanos.Downsample.Resolution = d.Milliseconds()
		} else {
			m.Thanos.Labels = map[string]string{"stream": stream}
		}
		metas = append(metas, m)
	}
	return metas
}

func duplicatesText(covered map[ulid.ULID]ulid.ULID) string {
	var words []string
	for _, id := range slices.SortedFunc(maps.Keys(covered), ulid.ULID.Compare) {
		words = append(words, fmt.Sprintf("%d<%d", id[15], covered[id][15]))
	}
	return strings.Join(words, " ")
}

func TestDuplicates(t *testing.T) {
	tests := []struct{ name, blocks, want string }{
		{"none", "", ""},
		{"distinct", "1=1 2=2 3=3", ""},
		{"compacted", "1=1 2=2 3=1,2", "1<3 2<3"},
		{"compacted twice", "1=1 2=2 3=3 4=1,2 5=1,2,3", "1<5 2<5 3<5 4<5"},
		{"chain without its middle", "1=1 5=1,2,3", "1<5"},
		{"overlapping sources", "4=1,2 5=2,3", ""},
		{"same sources: the older stays", "5=1,2 4=1,2 6=1,2", "5<4 6<4"},
		{"same sources, and one with more", "4=1,2 5=1,2 6=1,2,3", "4<6 5<6"},
		{"a source itself and a copy of it", "1=1 2=1", "2<1"},
		{"another stream", "1=1@a 2=1,2@b", ""},
		{"another resolution", "1=1@5m 2=1,2 3=1,2@5m 4=1,2@1h", "1<3"},
		{"no sources", "1= 2= 3=1,2", ""},
		{"repeated sources", "1=1,1,1 2=1,2 3=2,2,2,2", "1<2 3<2"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := duplicatesText(Duplicates(blocksFromText(t, test.blocks))); got != test.want {
				t.Errorf("%s: duplicates %q, want %q", test.blocks, got, test.want)
			}
		})
	}
}

// However blocks overlap: every source is still there, no block that stays is
// covered by another that stays, and the order of the input does not matter.
func TestDuplicatesLoseNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var metas []*Meta
		for i, sources := range rapid.SliceOfN(rapid.SliceOfN(rapid.IntRange(1, 6), 1, 6), 0, 12).Draw(rt, "sources") {
			m := testMeta(i + 1)
			m.Compaction.Sources = nil
			for _, s := range sources {
				m.Compaction.Sources = append(m.Compaction.Sources, testID(s))
			}
			metas = append(metas, m)
		}
		covered := Duplicates(metas)
		subset := func(a, b *Meta) bool {
			for _, id := range a.Compaction.Sources {
				if !slices.Contains(b.Compaction.Sources, id) {
					return false
				}
			}
			return true
		}
		stays := map[ulid.ULID]*Meta{}
		for _, m := range metas {
			if _, ok := covered[m.ULID]; !ok {
				stays[m.ULID] = m
			}
		}
		for _, m := range metas {
			by, dup := covered[m.ULID]
			if dup && (stays[by] == nil || !subset(m, stays[by])) {
				rt.Fatalf("%s is hidden by %s, which does not cover it or is hidden itself", m.ULID, by)
			}
			for _, other := range stays {
				if !dup && other != m && subset(m, other) {
					rt.Fatalf("%s and %s both stay, though one covers the other", m.ULID, other.ULID)
				}
			}
		}
		shuffled := rapid.Permutation(metas).Draw(rt, "order")
		if !maps.Equal(covered, Duplicates(shuffled)) {
			rt.Fatal("another order of the input gives another result")
		}
	})
}

func TestTooFresh(t *testing.T) {
	made := ulid.Time(testID(0).Time())
	tests := []struct {
		name       string
		source     string
		uploaded   time.Duration // after made; 0 is unset
		age, delay time.Duration // age counts from made
		want       bool
	}{
		{"no delay", "", 0, 0, 0, false},
		{"young", "", 0, time.Minute, time.Hour, true},
		{"exactly old enough", "", 0, time.Hour, time.Hour, false},
		{"upload time counts", "", 2 * time.Hour, 150 * time.Minute, time.Hour, true},
		{"upload time long past", "", 2 * time.Hour, 4 * time.Hour, time.Hour, false},
		{"receive", SourceReceive, 0, time.Minute, time.Hour, true},
		{"compactor", SourceCompactor, 0, time.Minute, time.Hour, false},
		{"compactor.repair", SourceCompactorRepair, 0, time.Minute, time.Hour, false},
		{"bucket.repair", SourceBucketRepair, 0, time.Minute, time.Hour, false},
		{"bucket.rewrite", SourceBucketRewrite, 0, time.Minute, time.Hour, true},
		{"a clock that is ahead", "", 0, -time.Minute, time.Hour, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := testMeta(0)
			m.Thanos.Source = test.source
			if test.uploaded != 0 {
				m.Thanos.UploadTime = made.Add(test.uploaded)
			}
			if got := TooFresh(m, made.Add(test.age), test.delay); got != test.want {
				t.Errorf("got %t, want %t", got, test.want)
			}
		})
	}
}

func TestViewRules(t *testing.T) {
	now := ulid.Time(testID(100).Time())
	metas := blocksFromText(t, "1=1 2=2 3=1,2 4=4 99=99")
	for _, m := range metas {
		m.Thanos.Labels = nil
	}
	deletions := map[ulid.ULID]Mark{
		testID(3): {Kind: DeletionMark, ID: testID(3), Time: now.Add(-2 * time.Hour)},
		testID(4): {Kind: DeletionMark, ID: testID(4), Time: now.Add(-time.Minute)},
		testID(7): {Kind: DeletionMark, ID: testID(7), Time: now},
	}
	text := func(rules viewRules) string {
		v := newView(now, found{metas: metas, deletions: deletions}, rules)
		var words []string
		for _, m := range v.Blocks {
			words = append(words, fmt.Sprint(m.ULID[15]))
		}
		for _, h := range v.Hidden {
			words = append(words, fmt.Sprintf("%d:%s", h.Meta.ULID[15], h.Reason))
		}
		return strings.Join(words, " ")
	}
	for _, test := range []struct {
		rules viewRules
		want  string
	}{
		// Block 3 covers 1 and 2 as long as it is served itself.
		{viewRules{ignoreDeletionMarksDelay: 3 * time.Hour}, "3 4 99 1:duplicate 2:duplicate"},
		{viewRules{ignoreDeletionMarksDelay: 2 * time.Hour}, "1 2 4 99 3:marked"},
		{viewRules{}, "1 2 99 3:marked 4:marked"},
		{viewRules{ignoreDeletionMarksDelay: 3 * time.Hour, consistencyDelay: 5 * time.Minute}, "3 4 1:duplicate 2:duplicate 99:fresh"},
		{viewRules{consistencyDelay: 24 * time.Hour}, "1:fresh 2:fresh 3:fresh 4:fresh 99:fresh"},
	} {
		if got := text(test.rules); got != test.want {
			t.Errorf("%+v: %s, want %s", test.rules, got, test.want)
		}
	}
}

func BenchmarkDuplicates(b *testing.B) {
	var metas []*Meta
	for i := range 10_000 {
		m := testMeta(i)
		var id ulid.ULID
		id[0], id[1] = byte(i>>8), byte(i)
		m.ULID, m.Compaction.Sources = id, []ulid.ULID{id}
		m.Thanos.Labels = map[string]string{"a": "b"}
		metas = append(metas, m)
	}
	for b.Loop() {
		Duplicates(metas)
	}
}
