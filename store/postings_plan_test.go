package store

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-tsdb/varve/internal/blocktest"
	"github.com/varve-tsdb/varve/internal/indexheader"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

// planIndex is an index as a plan sees it: of each label how many values it has,
// and how many series each of them.
type planIndex struct {
	series int64
	labels map[string]struct{ values, series int64 }
}

func (x planIndex) AllPostings() indexheader.Range {
	return indexheader.Range{Start: 1, End: 1 + 12 + refBytes*x.series}
}

func (x planIndex) PostingsEnd() int64 { return 1 << 40 }

func (x planIndex) ValueCount(name string) int { return int(x.labels[name].values) }

// list of the n-th value. Those of different labels may be the same range: sizes
// are what matters.
func (x planIndex) list(name string, n int64) indexheader.Range {
	size := 12 + refBytes*x.labels[name].series
	return indexheader.Range{Start: 1000 + n*size, End: 1000 + (n+1)*size}
}

func (x planIndex) LabelValues(name string, yield func(string, indexheader.Range) bool) error {
	for n := range x.labels[name].values {
		if !yield(fmt.Sprintf("v%07d", n), x.list(name, n)) {
			return nil
		}
	}
	return nil
}

func (x planIndex) Postings(name string, values []string) ([]indexheader.Range, error) {
	lists := make([]indexheader.Range, len(values))
	for i, v := range values {
		var n int64
		if _, err := fmt.Sscanf(v, "v%07d", &n); err == nil && n < x.labels[name].values {
			lists[i] = x.list(name, n)
		}
	}
	return lists, nil
}

// text is what a plan reads and what it puts off.
func (p postingsPlan) text() string {
	if p.empty {
		return "nothing"
	}
	var parts []string
	for _, group := range p.intersect {
		parts = append(parts, fmt.Sprintf("%d lists", len(group)))
	}
	if len(p.subtract) > 0 {
		parts = append(parts, fmt.Sprintf("without %d", len(p.subtract)))
	}
	for _, m := range p.postponed {
		parts = append(parts, "then "+m.String())
	}
	return strings.Join(parts, ", ")
}

func TestPlanReadsTheCheapAndLooksAtTheRest(t *testing.T) {
	// A million series in a hundred jobs, of a thousand names, each in a pod of
	// its own, and all in one of two clusters.
	index := planIndex{series: 1_000_000, labels: map[string]struct{ values, series int64 }{
		"job": {100, 10_000}, "name": {1000, 1000}, "pod": {1_000_000, 1}, "cluster": {2, 500_000}, "code": {50, 200},
		"zone": {1000, 999},
	}}
	costs := planCosts{look: 100, free: gapLimit, values: valuesTried}
	for _, c := range []struct {
		matchers []*labels.Matcher
		want     string
	}{
		{[]*labels.Matcher{equal("job", "v0000001")}, "1 lists"},
		{[]*labels.Matcher{equal("job", "v0000001"), equal("name", "v0000003")}, "1 lists, 1 lists"},
		// Two megabytes tell of a thousand series what is in a hundred kilobytes.
		{[]*labels.Matcher{equal("name", "v0000003"), equal("cluster", "v0000001")}, `1 lists, then cluster="v0000001"`},
		// A hundred thousand pods need not be tried for a thousand series.
		{[]*labels.Matcher{like("pod", "v.*7"), equal("name", "v0000003")}, `1 lists, then pod=~"v.*7"`},
		{[]*labels.Matcher{equal("name", "v0000003"), labels.MustNewMatcher(labels.MatchNotRegexp, "pod", "v.*7")}, `1 lists, then pod!~"v.*7"`},
		// Among all series they are.
		{[]*labels.Matcher{equal("job", "v0000001"), like("code", "v.*7")}, "5 lists, 1 lists"},
		{[]*labels.Matcher{equal("job", "v0000001"), labels.MustNewMatcher(labels.MatchNotEqual, "code", "v0000007")}, "1 lists, without 1"},
		{[]*labels.Matcher{equal("name", "v0000003"), labels.MustNewMatcher(labels.MatchNotEqual, "cluster", "v0000001")}, `1 lists, then cluster!="v0000001"`},
		// The lists of all names are as long as that of all series, and a thousand.
		{[]*labels.Matcher{like("zone", ".+")}, `1 lists, then zone=~".+"`},
		// Where all have the name it says nothing.
		{[]*labels.Matcher{like("name", ".+")}, "1 lists"},
		{[]*labels.Matcher{like("name", ".*")}, "1 lists"},
		{[]*labels.Matcher{like("name", "v0000001|v0000002")}, "2 lists"},
		{[]*labels.Matcher{equal("name", "none"), like("pod", ".*7")}, "nothing"},
		{[]*labels.Matcher{like("code", "none.+"), equal("job", "v0000001")}, "nothing"},
	} {
		for range 2 { // in either order
			plan, err := planPostings(index, c.matchers, costs, nil)
			if err != nil || plan.text() != c.want {
				t.Errorf("%v: %s, %v; want %s", c.matchers, plan.text(), err, c.want)
			}
			exact, err := planPostings(index, c.matchers, planCosts{}, nil)
			if err != nil || len(exact.postponed) > 0 {
				t.Errorf("%v: %s, %v; the caller does not look at series", c.matchers, exact.text(), err)
			}
			slices.Reverse(c.matchers)
		}
	}
}

// TestPostponedMatchersAreCheckedOnLabels selects by a label of three thousand
// values among three hundred series.
func TestPostponedMatchersAreCheckedOnLabels(t *testing.T) {
	memory := objstoretest.NewMemory()
	blocktest.Put(t, memory, wideBlock(3000, 3))
	b := openOver(t, memory, t.TempDir(), Options{})
	want := 0
	for i := range 3000 {
		if i%10 == 7 && (i/10%10 == 1 || i/10%10 == 3) {
			want++
		}
	}
	for _, m := range []*labels.Matcher{like("i", ".*[13]7"), labels.MustNewMatcher(labels.MatchNotRegexp, "i", ".*[^13]7")} {
		got := mustRead(t, b, 0, 1000, equal("__name__", "m7"), m)
		if n := strings.Count(got, "\n"); n != want || n != strings.Count(got, `__name__="m7"`) {
			t.Errorf("%s: %d series, want %d", m, n, want)
		}
	}
	if n := testutil.ToFloat64(b.metrics.postponed); n != 2 {
		t.Errorf("%v matchers were postponed, want both", n)
	}
}

// Older writers put tables between the last postings list and the offsets of all. A
// list that is taken to reach to the latter seems to have as many references more as
// fit into these, and to be of all series where just so many lack its label.
func TestLastLabelOfAnOldIndex(t *testing.T) {
	for lacking := 1; lacking < 30; lacking++ {
		b := blocktest.Block{External: labels.FromStrings("cluster", "eu")}
		for i := range 40 + lacking {
			zone := ""
			if i < 40 {
				zone = "z" + fmt.Sprint(i%3)
			}
			b.Series = append(b.Series, blocktest.Series{
				Labels:  labels.FromStrings("__name__", "m", "instance", fmt.Sprintf("%03d", i), "job", "j", "zone", zone),
				Samples: blocktest.Floats(0, 100, 50, 1),
			})
		}
		bkt := objstoretest.NewMemory()
		id := blocktest.Put(t, bkt, b)
		object := id.String() + "/index"
		old := blocktest.OldIndex(t, bkt.Objects()[object])
		bkt.Put(object, old)
		withMeta(t, bkt, id, func(_, thanos map[string]any) { delete(thanos, "files") })
		store := openOver(t, bkt, t.TempDir(), Options{})
		for _, m := range []*labels.Matcher{like("zone", ".+"), like("zone", "z0|z1|z2"), labels.MustNewMatcher(labels.MatchNotEqual, "zone", "")} {
			if got := strings.Count(mustRead(t, store, 0, 100, m), "\n"); got != 40 {
				t.Errorf("%d of %d series have a zone, %s returns %d", 40, 40+lacking, m, got)
			}
		}
	}
}

// Padding before the next section is no part of the last list, whatever that is.
func TestListThatMayBePaddedIsNotOfAll(t *testing.T) {
	index := paddedIndex{planIndex{series: 1000, labels: map[string]struct{ values, series int64 }{"zone": {10, 100}}}}
	for m, want := range map[*labels.Matcher]string{like("zone", ".+"): "10 lists", like("zone", "v.*[0-8]"): "9 lists"} {
		plan, err := planPostings(index, []*labels.Matcher{m}, planCosts{}, nil)
		if err != nil || plan.text() != want {
			t.Errorf("%s: %s, %v; want %s", m, plan.text(), err, want)
		}
	}
}

// paddedIndex has the last list of zone at the end of its lists.
type paddedIndex struct{ planIndex }

func (x paddedIndex) PostingsEnd() int64 {
	return x.list("zone", x.labels["zone"].values-1).End
}
