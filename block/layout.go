package block

import (
	"fmt"
	"path"
	"strings"

	"github.com/oklog/ulid/v2"

	"github.com/varve-tsdb/varve/internal/shipped"
)

// Names of the files of a block, the same in a local directory and below
// "<ULID>/" in a bucket.
const (
	MetaFilename             = "meta.json"
	IndexFilename            = "index"
	ChunksDirname            = "chunks"
	DeletionMarkFilename     = "deletion-mark.json"
	NoCompactMarkFilename    = "no-compact-mark.json"
	NoDownsampleMarkFilename = "no-downsample-mark.json"
)

// VarveDirname is the directory at the root of a bucket that holds what Varve
// keeps beside the blocks. Other readers of the bucket ignore it.
const VarveDirname = "varve"

// Names of what a Shipper keeps below each local directory it ships from.
const (
	// ShipperFilename lists the blocks that need no further upload.
	ShipperFilename = shipped.Filename
	// StageDirname holds hard links of the blocks that are being uploaded.
	StageDirname = "thanos/upload"
)

// MetaObject is the name of a block's meta.json, whose presence means that the
// block is complete.
func MetaObject(id ulid.ULID) string { return object(id, MetaFilename) }

// IndexObject is the name of a block's index.
func IndexObject(id ulid.ULID) string { return object(id, IndexFilename) }

// ChunksObject is the name of a block's chunk segment file, counted from 1 as
// in the files' own names. A chunk reference's upper half counts from 0: its
// segment n is ChunksObject(id, n+1).
func ChunksObject(id ulid.ULID, segment int) string {
	return object(id, ChunksDirname+"/"+SegmentName(segment))
}

// SegmentName is the file name of a chunk segment, counted from 1.
func SegmentName(segment int) string { return fmt.Sprintf("%06d", segment) }

// MarkObject is the name of a block's marker of the given kind.
func MarkObject(id ulid.ULID, kind MarkKind) string { return object(id, kind.Filename()) }

func object(id ulid.ULID, rel string) string { return id.String() + "/" + rel }

// prefix is the directory of a block as the Iter method of a bucket wants it.
func prefix(id ulid.ULID) string { return id.String() + "/" }

// ParseRootEntry tells which block a name found at the root of a bucket stands
// for. Only a directory (its name ends in "/") can be a block, and only if its
// name is a ULID in its canonical upper-case form.
func ParseRootEntry(name string) (ulid.ULID, bool) {
	dir, ok := strings.CutSuffix(name, "/")
	if !ok {
		return ulid.ULID{}, false
	}
	return parseULID(path.Base(dir))
}

// ParseObject splits the name of an object below a block's directory into the
// block and the rest, such as "meta.json" or "chunks/000001".
func ParseObject(name string) (id ulid.ULID, rel string, ok bool) {
	dir, rel, ok := strings.Cut(name, "/")
	if !ok || rel == "" {
		return ulid.ULID{}, "", false
	}
	id, ok = parseULID(dir)
	return id, rel, ok
}

// parseULID accepts the canonical form only: object names are case sensitive,
// and a block must be found again under the name its ULID prints as.
func parseULID(s string) (ulid.ULID, bool) {
	id, err := ulid.ParseStrict(s)
	if err != nil || id.String() != s {
		return ulid.ULID{}, false
	}
	return id, true
}
