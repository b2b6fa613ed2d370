package store

import (
	"cmp"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestCoalesce(t *testing.T) {
	for name, c := range map[string]struct {
		wanted []span
		want   []part
	}{
		"nothing":            {nil, nil},
		"one":                {[]span{{5, 9}}, []part{{span{5, 9}, 0, 1}}},
		"adjacent":           {[]span{{0, 5}, {5, 9}}, []part{{span{0, 9}, 0, 2}}},
		"gap as wide as may": {[]span{{0, 5}, {15, 20}}, []part{{span{0, 20}, 0, 2}}},
		"gap too wide":       {[]span{{0, 5}, {16, 20}}, []part{{span{0, 5}, 0, 1}, {span{16, 20}, 1, 2}}},
		"too long together":  {[]span{{0, 60}, {60, 101}}, []part{{span{0, 60}, 0, 1}, {span{60, 101}, 1, 2}}},
		"too long alone":     {[]span{{0, 500}, {500, 501}}, []part{{span{0, 500}, 0, 1}, {span{500, 501}, 1, 2}}},
		"one in another":     {[]span{{0, 50}, {10, 20}, {30, 60}}, []part{{span{0, 60}, 0, 3}}},
	} {
		got := coalesce(c.wanted, 10, 100)
		if diff := gocmp.Diff(c.want, got, gocmp.AllowUnexported(part{}, span{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestCoalesceCoversAllWithFewReads(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		wanted := rapid.SliceOf(rapid.Custom(func(t *rapid.T) span {
			from := rapid.Int64Range(0, 10_000).Draw(t, "from")
			return span{from, from + rapid.Int64Range(1, 300).Draw(t, "length")}
		})).Draw(t, "wanted")
		slices.SortFunc(wanted, func(a, b span) int { return cmp.Compare(a.from, b.from) })
		gap, limit := rapid.Int64Range(0, 200).Draw(t, "gap"), rapid.Int64Range(1, 1000).Draw(t, "limit")
		parts := coalesce(wanted, gap, limit)
		next := 0
		for i, p := range parts {
			if p.first != next || p.last <= p.first {
				t.Fatalf("part %d has the spans [%d,%d), want them from %d on", i, p.first, p.last, next)
			}
			next = p.last
			for _, w := range wanted[p.first:p.last] {
				if w.from < p.from || w.to > p.to {
					t.Fatalf("part %v lacks %v", p, w)
				}
			}
			if p.last-p.first > 1 && p.len() > limit {
				t.Fatalf("part %v is longer than %d", p, limit)
			}
			if i > 0 && p.from <= parts[i-1].to+gap && max(p.to, parts[i-1].to)-parts[i-1].from <= limit {
				t.Fatalf("parts %v and %v could be one", parts[i-1], p)
			}
		}
		if next != len(wanted) {
			t.Fatalf("%d of %d spans are read", next, len(wanted))
		}
	})
}
