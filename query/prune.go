package query

import (
	"cmp"
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/timestamp"
	"github.com/prometheus/prometheus/storage"

	"github.com/varve-tsdb/varve/internal/extlabels"
)

// streamer is the optional interface of a source that can tell what it holds:
// one call for each set of external labels, with the inclusive range of its
// samples in milliseconds. A source that yields nothing is empty.
type streamer interface {
	Streams(yield func(external labels.Labels, mint, maxt int64) bool)
}

// stream is one call of yield.
type stream struct {
	external   labels.Labels
	mint, maxt int64 // inclusive
}

// everything stands for a source that cannot tell: nothing is known of its
// labels, so no matcher rules it out.
var everything = []stream{{mint: math.MinInt64, maxt: math.MaxInt64}}

// streamsOf asks a source. It returns known false, and everything, if the
// source cannot tell.
func streamsOf(source storage.ChunkQueryable) (held []stream, known bool) {
	s, ok := source.(streamer)
	if !ok {
		return everything, false
	}
	s.Streams(func(external labels.Labels, mint, maxt int64) bool {
		held = append(held, stream{external: external, mint: mint, maxt: maxt})
		return true
	})
	return held, true
}

// prune returns the streams that may hold series that match within the
// inclusive range. A matcher speaks about the external labels only if they have
// its name; otherwise the series have the word.
func prune(held []stream, mint, maxt int64, matchers []*labels.Matcher) []stream {
	var kept []stream
	for _, s := range held {
		if mint > maxt || s.mint > maxt || mint > s.maxt {
			continue
		}
		if _, ok := extlabels.Consume(s.external, matchers); ok {
			kept = append(kept, s)
		}
	}
	return kept
}

// missing words streams, cut to the inclusive range, for a SourceError.
func missing(streams []stream, mint, maxt int64) []MissingStream {
	list := make([]MissingStream, 0, len(streams))
	for _, s := range streams {
		list = append(list, MissingStream{
			External: s.external,
			From:     timestamp.Time(max(mint, s.mint)),
			To:       timestamp.Time(min(maxt, s.maxt)),
		})
	}
	return list
}

// union merges the streams of several sources: one for each set of external
// labels, in their order, with the range that holds all ranges.
func union(all []stream) []stream {
	slices.SortStableFunc(all, func(a, b stream) int {
		return cmp.Or(labels.Compare(a.external, b.external), cmp.Compare(a.mint, b.mint))
	})
	var merged []stream
	for _, s := range all {
		if n := len(merged); n > 0 && labels.Equal(merged[n-1].external, s.external) {
			merged[n-1].mint = min(merged[n-1].mint, s.mint)
			merged[n-1].maxt = max(merged[n-1].maxt, s.maxt)
			continue
		}
		merged = append(merged, s)
	}
	return merged
}
