package dedup

import (
	"cmp"
	"math"
	"slices"
	"sort"
	"testing"
)

// What others do, in so far as the tests named after their issues need it: a test
// that one of these passes would show nothing.

// naive makes one series of replicas.
type naive func(replicas ...[]point) []point

// onlyFirst is to choose a replica and stay with it.
func onlyFirst(replicas ...[]point) []point { return replicas[0] }

// everySample is to take whatever there is, in order of time.
func everySample(replicas ...[]point) []point {
	list := slices.Concat(replicas...)
	slices.SortStableFunc(list, func(a, b point) int { return cmp.Compare(a.t, b.t) })
	return slices.CompactFunc(list, func(a, b point) bool { return a.t == b.t })
}

// penalties is how Thanos does it: the replica that was not taken is not looked
// at for twice the time between the last two samples, at first for 5 s.
// See pkg/dedup/iter.go there.
func penalties(replicas ...[]point) []point {
	merged := replicas[0]
	for _, other := range replicas[1:] {
		merged = penaltyPair(merged, other)
	}
	return merged
}

func penaltyPair(a, b []point) (list []point) {
	const first = 5000 // ms
	lists := [2][]point{a, b}
	var held [2]int64 // how long each replica is not looked at
	last := int64(math.MinInt64 / 2)
	for {
		for i, points := range lists {
			from := sort.Search(len(points), func(j int) bool { return points[j].t > last+held[i] })
			lists[i] = points[from:]
		}
		take := 0
		switch {
		case len(lists[0])+len(lists[1]) == 0:
			return list
		case len(lists[0]) == 0, len(lists[1]) > 0 && lists[1][0].t < lists[0][0].t:
			take = 1
		}
		p := lists[take][0]
		held[take] = 0
		if len(lists[1-take]) > 0 {
			held[1-take] = first
			if len(list) > 0 {
				held[1-take] = 2 * (p.t - last)
			}
		}
		last = p.t
		list = append(list, p)
	}
}

// issue is what is checked by the test of one, of Merge or of another way to
// make one series of replicas.
type issue struct {
	t      *testing.T
	merge  naive
	errors int
	report func(format string, args ...any)
}

func (c *issue) errorf(format string, args ...any) {
	c.t.Helper()
	c.errors++
	c.report(format, args...)
}

// testIssue checks that Merge passes and that others fail.
func testIssue(t *testing.T, check func(*issue), others ...naive) {
	t.Helper()
	check(&issue{t: t, report: t.Errorf, merge: func(replicas ...[]point) []point { return merged(t, replicas...) }})
	for i, other := range others {
		c := &issue{t: t, merge: other, report: func(string, ...any) {}}
		if check(c); c.errors == 0 {
			t.Errorf("the test would not notice other way %d", i)
		}
	}
}
