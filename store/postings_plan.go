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
	Postings(name string, values []string) ([]indexheader.Range, error)
	AllPostings() indexheader.Range
}

// postingsPlan says which postings lists answer a set of matchers: those
// series that are in some list of each group of intersect, and in no list of
// subtract.
type postingsPlan struct {
	intersect [][]indexheader.Range
	subtract  []indexheader.Range
	// empty says that no series can match, and nothing need be read.
	empty bool
}

// planPostings decides which lists to read. It reads only the header. The memory
// of the lists, content not included, is in hold.
//
// A matcher that the empty string fails selects series by the values they
// have. One that the empty string satisfies also selects all series without
// the label, of which there is no list: it takes away the series whose values
// fail it.
func planPostings(index postingsIndex, matchers []*labels.Matcher, hold *readcost.Charge) (postingsPlan, error) {
	var plan postingsPlan
	for _, m := range matchers {
		lists, err := matcherLists(index, m, hold)
		switch {
		case err != nil:
			return plan, err
		case m.Matches(""):
			plan.subtract = append(plan.subtract, lists...)
		case len(lists) == 0:
			return postingsPlan{empty: true}, nil
		default:
			plan.intersect = append(plan.intersect, lists)
		}
	}
	all := index.AllPostings()
	plan.intersect = slices.DeleteFunc(plan.intersect, func(group []indexheader.Range) bool { return hasAll(group, all) })
	if len(plan.intersect) == 0 {
		if all.IsZero() {
			return postingsPlan{empty: true}, nil
		}
		plan.intersect = [][]indexheader.Range{{all}}
	}
	// The smaller first: intersecting then touches the least of the others.
	slices.SortStableFunc(plan.intersect, func(a, b []indexheader.Range) int {
		return cmp.Compare(size(a), size(b))
	})
	return plan, nil
}

// hasAll tells whether every series is in one of the lists, by their sizes alone:
// the lists of one label have no series in common. Such a group, as that of
// __name__=~".+" usually is, restricts nothing, and is the dearest of all.
func hasAll(group []indexheader.Range, all indexheader.Range) bool {
	return !all.IsZero() && entries(group) == entries([]indexheader.Range{all})
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
