package store

import (
	"cmp"
	"slices"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-tsdb/varve/internal/extlabels"
)

// blockSet is the blocks of a view, by stream. It does not change.
type blockSet struct {
	streams []blockStream // sorted by external labels
	// unreadable are blocks of which neither labels nor time are known, so
	// that every answer may lack them.
	unreadable []*BlockError
}

// blockStream is the blocks with the same external labels, of all resolutions.
type blockStream struct {
	external labels.Labels
	blocks   []*openBlock // sorted by time
	minTime  int64        // inclusive
	maxTime  int64        // exclusive
}

// newBlockSet orders blocks by stream and time.
func newBlockSet(blocks []*openBlock) *blockSet {
	byLabels := map[string]*blockStream{}
	for _, b := range blocks {
		key := string(b.external.Bytes(nil))
		s := byLabels[key]
		if s == nil {
			s = &blockStream{external: b.external, minTime: b.minTime, maxTime: b.maxTime}
			byLabels[key] = s
		}
		s.blocks = append(s.blocks, b)
		s.minTime, s.maxTime = min(s.minTime, b.minTime), max(s.maxTime, b.maxTime)
	}
	set := &blockSet{}
	for _, s := range byLabels {
		slices.SortFunc(s.blocks, func(a, b *openBlock) int {
			if a.minTime != b.minTime {
				return cmp.Compare(a.minTime, b.minTime)
			}
			return a.id.Compare(b.id)
		})
		set.streams = append(set.streams, *s)
	}
	slices.SortFunc(set.streams, func(a, b blockStream) int { return labels.Compare(a.external, b.external) })
	return set
}

// between returns the streams with those of their blocks that may have samples
// in [mint, maxt].
func (s *blockSet) between(mint, maxt int64) []blockStream {
	var found []blockStream
	if mint > maxt {
		return nil
	}
	for _, stream := range s.streams {
		if stream.minTime > maxt || stream.maxTime <= mint {
			continue
		}
		some := stream
		some.blocks = nil
		for _, b := range stream.blocks {
			if b.overlaps(mint, maxt) {
				some.blocks = append(some.blocks, b)
			}
		}
		if len(some.blocks) > 0 {
			found = append(found, some)
		}
	}
	return found
}

// blocks is how many there are.
func (s *blockSet) blocks() (n int) {
	for _, stream := range s.streams {
		n += len(stream.blocks)
	}
	return n
}

// mayMatch tells whether series of the stream can satisfy the matchers, as far
// as its external labels tell.
func (s *blockStream) mayMatch(matchers []*labels.Matcher) bool {
	_, ok := extlabels.Consume(s.external, matchers)
	return ok
}
