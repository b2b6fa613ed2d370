package storeapi

import (
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
)

// streamsOf returns what a server says it holds, each set of external labels once.
func streamsOf(i *info) []stream {
	switch {
	case i == nil:
		return []stream{{mint: math.MinInt64, maxt: math.MaxInt64}}
	case i.store == nil:
		return nil
	}
	var streams []stream
	add := func(s stream) {
		if s.mint > s.maxt {
			return
		}
		at := slices.IndexFunc(streams, func(other stream) bool { return labels.Equal(other.external, s.external) })
		if at < 0 {
			streams = append(streams, s)
			return
		}
		streams[at].mint, streams[at].maxt = min(streams[at].mint, s.mint), max(streams[at].maxt, s.maxt)
	}
	for _, s := range i.store.streams {
		add(s)
	}
	if len(i.store.streams) == 0 {
		for _, external := range i.labelSets {
			add(stream{external, i.store.mint, i.store.maxt})
		}
	}
	if len(i.store.streams)+len(i.labelSets) == 0 {
		add(stream{labels.EmptyLabels(), i.store.mint, i.store.maxt})
	}
	return streams
}

// onlyExternal tells whether there is a stream with external labels of the names of
// all matchers. Thanos' stores drop those, and refuse a request with no others.
func onlyExternal(i *info, matchers []*labels.Matcher) bool {
	return slices.ContainsFunc(streamsOf(i), func(s stream) bool {
		return !slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !s.external.Has(m.Name) })
	})
}
