package indexheader

import (
	"encoding/binary"
	"hash/crc32"
	"math"
)

const (
	magic         = 0xBAAAD792
	formatVersion = 1
	indexMagic    = 0xBAAAD700

	preludeSize  = 14 // magic, both versions, offset of the postings offset table
	trailerSize  = 20 // positions of the two tables and their CRC
	indexTOCSize = 52 // six offsets and their CRC
	indexStart   = 5  // magic and version of an index; the symbol table follows

	// sparse is how many symbols or values share one entry in memory.
	sparse = 32
)

// castagnoli returns the polynomial's table; crc32 builds it once.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// toc is the table of contents at the end of an index: where its sections
// start, zero for those it lacks.
type toc struct {
	symbols, series, labelIndices, labelOffsets, postings, postingsTable int64
}

// parseTOC reads the TOC of an index of the given size from its last 52 bytes,
// and checks that the sections this package relies on are in order.
func parseTOC(b []byte, size int64) (toc, error) {
	if len(b) != indexTOCSize {
		return toc{}, corrupt("the index's table of contents has %d bytes, not %d", len(b), indexTOCSize)
	}
	if crc32.Checksum(b[:48], castagnoli()) != binary.BigEndian.Uint32(b[48:]) {
		return toc{}, corrupt("the index's table of contents fails its checksum")
	}
	var t toc
	for i, p := range []*int64{&t.symbols, &t.series, &t.labelIndices, &t.labelOffsets, &t.postings, &t.postingsTable} {
		v := binary.BigEndian.Uint64(b[8*i:])
		if v > math.MaxInt64 {
			return toc{}, corrupt("the index's table of contents has the offset %d", v)
		}
		*p = int64(v)
	}
	// Each table has at least a length, a count and a CRC.
	ordered := t.symbols >= indexStart && t.symbols <= preludeSize && t.series >= t.symbols+12 && t.postings >= t.series &&
		t.postingsTable >= t.postings && t.postingsTable <= size-indexTOCSize-12 &&
		(t.labelIndices == 0 || t.labelIndices >= t.series && t.labelIndices <= t.postingsTable)
	if !ordered {
		return toc{}, corrupt("the index's sections %+v are out of order in %d bytes", t, size)
	}
	return t, nil
}

// seriesEnd is where the series section ends.
func (t toc) seriesEnd() int64 {
	if t.labelIndices != 0 {
		return min(t.labelIndices, t.postings)
	}
	return t.postings
}

// postingsEnd is where the last postings list, which begins at last, ends at the
// latest: where the next section begins. That is the label offset table in what
// Prometheus wrote up to v0.303, and the postings offset table since it leaves the
// other out. By the format any padding may come before it.
func (t toc) postingsEnd(last int64) int64 {
	end := t.postingsTable
	for _, at := range []int64{t.labelIndices, t.labelOffsets} {
		if last < at && at < end {
			end = at
		}
	}
	return end
}

// prelude makes the bytes before the symbol table.
func (t toc) prelude(indexVersion byte) []byte {
	b := make([]byte, 0, preludeSize)
	b = binary.BigEndian.AppendUint32(b, magic)
	b = append(b, formatVersion, indexVersion)
	return binary.BigEndian.AppendUint64(b, uint64(t.postingsTable))
}

// trailer makes the bytes after the index's last part.
func (t toc) trailer() []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, trailerSize), preludeSize)
	b = binary.BigEndian.AppendUint64(b, uint64(t.tablePosition()))
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli()))
}

// tablePosition is where the postings offset table starts in the header.
func (t toc) tablePosition() int64 { return preludeSize + t.series - t.symbols }
