package storeapi

import (
	"cmp"
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
)

// anything is what a server may hold that has not said what it holds.
var anything = []stream{{mint: math.MinInt64, maxt: math.MaxInt64}}

// streams returns what a server says it holds. It may be asked of nil.
func (i *info) streams() []stream {
	if i == nil {
		return anything
	}
	return i.held
}

// streamsOf works out what a server says it holds, each set of external labels once,
// in their order.
func streamsOf(i *info) []stream {
	if i.store == nil {
		return nil
	}
	all := slices.Clone(i.store.streams)
	if len(all) == 0 {
		for _, external := range i.labelSets {
			all = append(all, stream{external, i.store.mint, i.store.maxt})
		}
	}
	if len(all) == 0 {
		all = append(all, stream{labels.EmptyLabels(), i.store.mint, i.store.maxt})
	}
	all = slices.DeleteFunc(all, func(s stream) bool { return s.mint > s.maxt })
	slices.SortStableFunc(all, func(a, b stream) int {
		return cmp.Or(labels.Compare(a.external, b.external), cmp.Compare(a.mint, b.mint))
	})
	once := all[:0]
	for _, s := range all {
		if n := len(once); n > 0 && labels.Equal(once[n-1].external, s.external) {
			once[n-1].maxt = max(once[n-1].maxt, s.maxt)
			continue
		}
		once = append(once, s)
	}
	return once
}

// onlyExternal tells whether there is a stream with external labels of the names of
// all matchers. Thanos' stores drop those, and refuse a request with no others.
func onlyExternal(i *info, matchers []*labels.Matcher) bool {
	return slices.ContainsFunc(i.streams(), func(s stream) bool {
		return !slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !s.external.Has(m.Name) })
	})
}
