package block

import (
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/model/labels"
)

// Source names the local directories that a Shipper ships from.
type Source interface {
	// BlockDirs calls yield for each directory that holds finished blocks in
	// subdirectories named by their ULIDs, with the external labels of all of
	// them, until yield returns false. What is not named by a ULID is left
	// alone, and so are blocks that Prometheus is still writing or deleting,
	// since those have other names.
	//
	// A Source may also have a method
	//
	//	BlockLabels(dir string, id ulid.ULID) (external labels.Labels, ready bool)
	//
	// which is asked about each block after it was seen in a directory. It
	// returns the external labels of that block, should they differ from those
	// of its directory; and false if the block is to be left alone until the
	// next pass, because whoever made it may still take it back.
	//
	// Blocks may be deleted at any time. The Shipper keeps its own files
	// beside the blocks: ShipperFilename and StageDirname. Two Shippers must
	// not share a directory.
	BlockDirs(yield func(dir string, external labels.Labels) bool)
}

// blockLabeler is what a Source may also be; see there.
type blockLabeler interface {
	BlockLabels(dir string, id ulid.ULID) (external labels.Labels, ready bool)
}

// Dirs is a fixed Source: external labels by directory.
type Dirs map[string]labels.Labels

var _ Source = Dirs{}

// BlockDirs implements Source.
func (d Dirs) BlockDirs(yield func(dir string, external labels.Labels) bool) {
	for dir, external := range d {
		if !yield(dir, external) {
			return
		}
	}
}
