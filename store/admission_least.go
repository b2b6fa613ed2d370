package store

import (
	"slices"

	"github.com/varve-tsdb/varve/internal/indexheader"
	"github.com/varve-tsdb/varve/internal/readcost"
)

// leastOfBlock is the least that the selection of a block takes.
type leastOfBlock struct {
	readcost.Least // what adds up over blocks
	once           perSeries
}

// perSeries is what a reader gets, and keeps, once for each series.
type perSeries struct{ series, kept int64 }

const (
	// leastSeries and leastChunk are what a reader that keeps what it gets has of
	// a series and of a chunk at least, besides the bytes of the chunk.
	leastSeries, leastChunk = 128, 72
	// leastChunkData is the shortest chunk that has a sample.
	leastChunkData = 16
)

// least is the least that a selection of the block takes, as far as the header
// tells. without are labels that its series lose, which may make them one.
func (b *openBlock) least(header *indexheader.Reader, plan postingsPlan, want selection, without []string) (least leastOfBlock) {
	if plan.empty {
		return least
	}
	for _, group := range plan.intersect {
		least.Postings += size(group)
	}
	least.Postings += size(plan.subtract)
	least.Fetched = least.Postings
	// Only where the block as a whole is asked for has each series a chunk that is
	// wanted.
	if want.limit > 0 || want.mint > b.minTime || want.maxt < b.maxTime-1 {
		return least
	}
	// What postponed matchers leave is not known: it may be nothing.
	if len(plan.postponed) > 0 {
		return least
	}
	stored := header.LabelNames()
	merges := slices.ContainsFunc(without, func(name string) bool { return slices.Contains(stored, name) })
	all := refCount([]indexheader.Range{header.AllPostings()})
	series := leastMatches(plan, all)
	if !merges {
		least.once = perSeries{series: series, kept: series * leastSeries}
	}
	if want.noChunks {
		return least
	}
	data := series * leastChunkData
	if series == all {
		data = max(data, b.chunkBytes())
	}
	least.Fetched += data
	if b.resolution > 0 && !want.form.stored {
		data = series * leastChunkData // One of the aggregates is kept.
	}
	if !merges {
		least.Kept = series*leastChunk + data
	}
	return least
}

// leastMatches is how many of all series are in every group at least, and in no
// list that is subtracted. The lists of a group, which are of one label, have no
// series in common.
func leastMatches(plan postingsPlan, all int64) int64 {
	n := all
	for _, group := range plan.intersect {
		n -= all - refCount(group)
	}
	return max(n-refCount(plan.subtract), 0)
}

// chunkBytes is how many bytes the chunks of the block have without what they are
// framed with, or less, as far as meta.json tells.
func (b *openBlock) chunkBytes() (n int64) {
	for _, size := range b.segments {
		n += max(size-segmentStart, 0)
	}
	return max(n-b.chunkCount*chunkOverhead, 0)
}
