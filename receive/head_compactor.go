package receive

import (
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/tsdb"
)

// Bounds of the chunk files of a block in bytes. A file is given its full size
// before it is written, so the TSDB's own size, the greater of these, would
// need that much free disk to cut the smallest block.
const (
	leastSegmentSize = 16 << 20
	mostSegmentSize  = 512 << 20
	// segmentPerSeries is more than the chunks of a series usually need for one
	// block.
	segmentPerSeries = 4 << 10
)

// blockCutter is the compactor of a head: it cuts blocks and never merges
// them, which is for the owner of the bucket to do.
type blockCutter struct {
	// writer returns a compactor that writes chunk files of a size.
	writer func(segmentSize int64) (tsdb.Compactor, error)
	cut    func(blocks int)
	// begun is called by the first Write, if it is not nil. It is for the one who
	// has the TSDB write.
	begun func()
}

// segmentSize returns the size of the chunk files for a number of series.
func segmentSize(series uint64) int64 {
	size := int64(leastSegmentSize)
	for size < mostSegmentSize && uint64(size) < series*segmentPerSeries {
		size *= 2
	}
	return size
}

// Write cuts a block from the samples from mint, inclusive, to maxt, exclusive.
// In an empty range there is nothing to cut; see dropBlocks.
func (c *blockCutter) Write(dest string, b tsdb.BlockReader, mint, maxt int64, base *tsdb.BlockMeta) ([]ulid.ULID, error) {
	if mint >= maxt {
		return nil, nil
	}
	if c.begun != nil {
		c.begun()
	}
	w, err := c.writer(segmentSize(b.Meta().Stats.NumSeries))
	if err != nil {
		return nil, err
	}
	ids, err := w.Write(dest, b, mint, maxt, base)
	c.cut(len(ids))
	return ids, err
}

// Plan names nothing to compact.
func (c *blockCutter) Plan(string) ([]string, error) { return nil, nil }

// Compact is never asked for, since nothing is planned.
func (c *blockCutter) Compact(string, []string, []*tsdb.Block) ([]ulid.ULID, error) {
	return nil, nil
}
