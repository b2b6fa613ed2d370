package store

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/varve-tsdb/varve/internal/chunkcheck"
)

// chunkOverhead is how many bytes a chunk record has besides its data, at
// most: length, encoding and CRC.
const chunkOverhead = binary.MaxVarintLen32 + 1 + 4

// checkRecord finds the chunk record at the start of b, which may be followed
// by other bytes, checks its CRC and returns its length. If b is too short for
// the record, that is a length that would do, or at least show more.
func checkRecord(b []byte) (need int64, err error) {
	length, n := binary.Uvarint(b)
	switch {
	case n == 0 && len(b) < binary.MaxVarintLen32:
		return int64(len(b)) + chunkOverhead, nil
	case n <= 0 || n > binary.MaxVarintLen32 || length > math.MaxUint32:
		return 0, corrupt("a chunk has no sensible length")
	}
	end := int64(n) + 1 + int64(length)
	if end+4 > int64(len(b)) {
		return end + 4, nil
	}
	if castagnoli(b[n:end]) != binary.BigEndian.Uint32(b[end:]) {
		return 0, corrupt("a chunk fails its checksum")
	}
	return end + 4, nil
}

// recordContent takes a record apart that was checked. The data is not copied.
func recordContent(record []byte) (chunkenc.Encoding, []byte) {
	_, n := binary.Uvarint(record)
	end := len(record) - 4
	return chunkenc.Encoding(record[n]), record[n+1 : end : end]
}

// newChunk makes a chunk of a record's data, which it keeps.
func newChunk(enc chunkenc.Encoding, data []byte) (chunkenc.Chunk, error) {
	if !chunkenc.IsValidEncoding(enc) {
		return nil, fmt.Errorf("%w: chunk encoding %d", ErrUnsupported, enc)
	}
	if err := chunkcheck.Check(enc, data); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return chunkenc.FromData(enc, data)
}

// Where a chunk is, of what its reference packs together.
func segmentOf(ref chunks.ChunkRef) uint32 { return uint32(ref >> 32) }
func offsetOf(ref chunks.ChunkRef) int64   { return int64(ref & math.MaxUint32) }
