package store

import (
	"cmp"
	"slices"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-tsdb/varve/internal/indexheader"
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

// planPostings decides which lists to read. It reads only the header.
//
// A matcher that the empty string fails selects series by the values they
// have. One that the empty string satisfies also selects all series without
// the label, of which there is no list: it takes away the series whose values
// fail it.
func planPostings(index postingsIndex, matchers []*labels.Matcher) (postingsPlan, error) {
	var plan postingsPlan
	for _, m := range matchers {
		lists, err := matcherLists(index, m)
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
	if len(plan.intersect) == 0 {
		all := index.AllPostings()
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

func size(lists []indexheader.Range) (n int64) {
	for _, l := range lists {
		n += l.Len()
	}
	return n
}

// matcherLists returns the lists of the values that decide about m: those it
// matches, or, if it matches the empty string, those it does not.
func matcherLists(index postingsIndex, m *labels.Matcher) ([]indexheader.Range, error) {
	if m.Name == "" {
		return nil, nil // no series has a label without a name
	}
	takesEmpty := m.Matches("")
	if values, ok := decidingValues(m, takesEmpty); ok {
		lists, err := index.Postings(m.Name, values)
		return slices.DeleteFunc(lists, indexheader.Range.IsZero), err
	}
	var lists []indexheader.Range
	err := index.LabelValues(m.Name, func(value string, list indexheader.Range) bool {
		if m.Matches(value) != takesEmpty {
			lists = append(lists, list)
		}
		return true
	})
	return lists, err
}

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
