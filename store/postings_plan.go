package store

import (
	"cmp"
	"slices"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-tsdb/varve/internal/indexheader"
	"github.com/varve-tsdb/varve/internal/readcost"
)

// postingsIndex is what a plan is made from: an index header.
type postingsIndex interface {
	LabelValues(name string, yield func(value string, list indexheader.Range) bool) error
	ValueCount(name string) int
	Postings(name string, values []string) ([]indexheader.Range, error)
	AllPostings() indexheader.Range
	PostingsEnd() int64
}

// postingsPlan says which postings lists answer a set of matchers: those
// series that are in some list of each group of intersect, and in no list of
// subtract, and whose labels satisfy what was postponed.
type postingsPlan struct {
	intersect [][]indexheader.Range
	subtract  []indexheader.Range
	// postponed are matchers whose lists cost more than to look at the labels of
	// the series that the others leave.
	postponed []*labels.Matcher
	// empty says that no series can match, and nothing need be read.
	empty bool
}

// matcherPlan is what decides about one matcher.
type matcherPlan struct {
	matcher *labels.Matcher
	lists   []indexheader.Range
	size    int64 // of the lists, in bytes
}

// planPostings decides which lists to read. It reads only the header. The memory
// of the lists, content not included, is in hold.
//
// A matcher that the empty string fails selects series by the values they
// have. One that the empty string satisfies also selects all series without
// the label, of which there is no list: it takes away the series whose values
// fail it.
func planPostings(index postingsIndex, matchers []*labels.Matcher, costs planCosts, hold *readcost.Charge) (postingsPlan, error) {
	p := planner{index: index, costs: costs, hold: hold, left: refCount([]indexheader.Range{index.AllPostings()})}
	// First those that name their values, since they tell how many series are
	// left at most; then those for which all values of a label are tried, unless
	// there are more of these than series.
	for _, naming := range []bool{true, false} {
		for _, m := range matchers {
			if _, ok := decidingValues(m, m.Matches("")); ok != naming {
				continue
			}
			if err := p.add(m); err != nil {
				return postingsPlan{}, err
			}
			if p.plan.empty {
				return p.plan, nil
			}
		}
	}
	return p.finish(), nil
}

// planCosts are what a plan weighs.
type planCosts struct {
	// look is what it costs to look at one series, in bytes: the average size of
	// its entry. 0 means that nobody looks, and nothing is postponed.
	look int64
	// free is how large lists may be without being weighed: less than a gap is
	// read over anyway.
	free int64
	// values is how many values of a label are tried without being weighed.
	values int64
}

// planner makes a plan.
type planner struct {
	index    postingsIndex
	costs    planCosts
	hold     *readcost.Charge
	left     int64 // how many series there are at most by what was required
	required []matcherPlan
	excluded []matcherPlan
	plan     postingsPlan
}

// add decides about one more matcher.
func (p *planner) add(m *labels.Matcher) error {
	takesEmpty := m.Matches("")
	if _, named := decidingValues(m, takesEmpty); !named && p.costs.look > 0 && m.Name != "" {
		if n := int64(p.index.ValueCount(m.Name)); n > p.costs.values && n > p.left {
			p.plan.postponed = append(p.plan.postponed, m)
			return nil
		}
	}
	lists, err := matcherLists(p.index, m, p.hold)
	if err != nil {
		return err
	}
	one := matcherPlan{m, lists, size(lists)}
	switch {
	case takesEmpty:
		p.excluded = append(p.excluded, one)
	case len(lists) == 0:
		p.plan = postingsPlan{empty: true}
	case p.hasAll(lists):
	default:
		p.required = append(p.required, one)
		p.left = min(p.left, refCount(lists))
	}
	return nil
}

// tooDear says whether reading lists costs more than looking at the series that
// are left.
func (p *planner) tooDear(m matcherPlan) bool {
	return p.costs.look > 0 && m.size > p.costs.free && m.size > p.left*p.costs.look
}

// finish chooses among the lists.
func (p *planner) finish() postingsPlan {
	// The smaller first: intersecting then touches the least of the others.
	slices.SortStableFunc(p.required, func(a, b matcherPlan) int { return cmp.Compare(a.size, b.size) })
	all := p.index.AllPostings()
	for i, m := range p.required {
		// Of a name that nearly all series have the lists are larger than that of
		// all, and ten thousand of them take longer to merge than to read.
		first := i == 0 && p.costs.look > 0 && m.size > p.costs.free && m.size >= all.Len()
		if first || i > 0 && p.tooDear(m) {
			p.plan.postponed = append(p.plan.postponed, m.matcher)
		} else {
			p.plan.intersect = append(p.plan.intersect, m.lists)
		}
	}
	for _, m := range p.excluded {
		if p.tooDear(m) {
			p.plan.postponed = append(p.plan.postponed, m.matcher)
		} else {
			p.plan.subtract = append(p.plan.subtract, m.lists...)
		}
	}
	if len(p.plan.intersect) == 0 {
		if all.IsZero() {
			return postingsPlan{empty: true}
		}
		p.plan.intersect = [][]indexheader.Range{{all}}
	}
	return p.plan
}

// hasAll tells whether every series is in one of the lists, by their sizes alone:
// the lists of one label have no series in common. Such a group, as that of
// __name__=~".+" usually is, restricts nothing, and is the dearest of all. A list
// whose size may be more than its content proves nothing.
func (p *planner) hasAll(group []indexheader.Range) bool {
	all := p.index.AllPostings()
	unsure := func(l indexheader.Range) bool { return l.End >= p.index.PostingsEnd() }
	return !all.IsZero() && refCount(group) == refCount([]indexheader.Range{all}) && !slices.ContainsFunc(group, unsure)
}

func size(lists []indexheader.Range) (n int64) {
	for _, l := range lists {
		n += l.Len()
	}
	return n
}

// matcherLists returns the lists of the values that decide about m: those it
// matches, or, if it matches the empty string, those it does not.
func matcherLists(index postingsIndex, m *labels.Matcher, hold *readcost.Charge) ([]indexheader.Range, error) {
	if m.Name == "" {
		return nil, nil // no series has a label without a name
	}
	takesEmpty := m.Matches("")
	if values, ok := decidingValues(m, takesEmpty); ok {
		if err := hold.Take(listMemory * int64(len(values))); err != nil {
			return nil, err
		}
		lists, err := index.Postings(m.Name, values)
		return slices.DeleteFunc(lists, indexheader.Range.IsZero), err
	}
	var lists []indexheader.Range
	var refused error
	err := index.LabelValues(m.Name, func(value string, list indexheader.Range) bool {
		if m.Matches(value) == takesEmpty {
			return true
		}
		if len(lists)%listsStep == 0 {
			refused = hold.Take(listMemory * listsStep)
		}
		lists = append(lists, list)
		return refused == nil
	})
	return lists, cmp.Or(err, refused)
}

const (
	// listMemory is what a list takes besides its content: where it is, in the
	// plan and when it is fetched, and a cursor for it.
	listMemory = 256
	// listsStep is for how many lists memory is asked at a time.
	listsStep = 64
)

// decidingValues returns the sorted values of matcherLists where the matcher
// itself names them, so that the values of the label need not be looked
// through.
func decidingValues(m *labels.Matcher, takesEmpty bool) (values []string, ok bool) {
	switch {
	case m.Type == labels.MatchEqual && !takesEmpty, m.Type == labels.MatchNotEqual && takesEmpty:
		return []string{m.Value}, true
	case m.Type == labels.MatchRegexp && !takesEmpty, m.Type == labels.MatchNotRegexp && takesEmpty:
		values = slices.Clone(m.SetMatches())
		slices.Sort(values)
		return slices.Compact(values), len(values) > 0
	case m.Value == ".*" && (m.Type == labels.MatchRegexp || m.Type == labels.MatchNotRegexp):
		return nil, true // every value satisfies the one, none the other
	}
	return nil, false
}
