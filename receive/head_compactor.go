package receive

import (
	"errors"
	"sync/atomic"

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
//
// A TSDB looks at its blocks, and deletes those that may go, only after it has
// compacted something. When blocks may go, reload makes the plan name one
// compaction, which does nothing; and hold refuses to cut blocks meanwhile.
type blockCutter struct {
	// writer returns a compactor that writes chunk files of a size.
	writer func(segmentSize int64) (tsdb.Compactor, error)
	reload atomic.Bool
	hold   atomic.Bool
	cut    func(blocks int)
}

// segmentSize returns the size of the chunk files for a number of series.
func segmentSize(series uint64) int64 {
	size := int64(leastSegmentSize)
	for size < mostSegmentSize && uint64(size) < series*segmentPerSeries {
		size *= 2
	}
	return size
}

// errCutHeld says that a block was due, but not to be cut just then.
var errCutHeld = errors.New("blocks are cut by another step")

// Write cuts a block.
func (c *blockCutter) Write(dest string, b tsdb.BlockReader, mint, maxt int64, base *tsdb.BlockMeta) ([]ulid.ULID, error) {
	if c.hold.Load() {
		return nil, errCutHeld
	}
	w, err := c.writer(segmentSize(b.Meta().Stats.NumSeries))
	if err != nil {
		return nil, err
	}
	ids, err := w.Write(dest, b, mint, maxt, base)
	c.cut(len(ids))
	return ids, err
}

// Plan names nothing to compact, save for the reload that was asked for.
func (c *blockCutter) Plan(string) ([]string, error) {
	if c.reload.Swap(false) {
		return []string{"reload"}, nil
	}
	return nil, nil
}

// Compact does nothing: what follows it is what was wanted.
func (c *blockCutter) Compact(string, []string, []*tsdb.Block) ([]ulid.ULID, error) {
	return nil, nil
}
