package receive

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"

	"github.com/prometheus/prometheus/util/compression"
)

// The parts of a log's segment, as Prometheus documents them in
// tsdb/docs/format/wal.md: pages, in which records lie, whole or in fragments,
// each behind a header of its type and compression, length and checksum.
const (
	logPageSize   = 32 << 10
	logHeaderSize = 1 + 2 + 4

	logTypeMask   = 1<<3 - 1
	logSnappyFlag = 1 << 3
	logZstdFlag   = 1 << 4
)

// The types of fragments.
const (
	logPadding = iota // the rest of the page is zero
	logWhole
	logFirst
	logMiddle
	logLast
)

// logGap is a stretch of a log from which no record can be had.
type logGap struct {
	bytes int64 // in the file, without padding
	// torn is set if the segment ends with it and nothing is there but the
	// beginning of a record, as a process leaves that dies while it writes. A
	// segment that lost its end looks the same.
	torn bool
	// missing is set if the file of the segment is not there.
	missing bool
}

// logScan reads the records of one segment. Other than the TSDB's reader, which
// ends at the first damage, it goes on with the next record that can be found.
type logScan struct {
	valid  func(rec []byte) bool
	record func(rec []byte) error // the bytes are valid until it returns
	gap    func(logGap) error     // called before the record that follows the gap

	partial []byte // of a record whose end has not come yet, if inside
	inside  bool
	lost    int64 // bytes since the last record
	notTorn bool  // of what was lost
	// zeros are bytes since the last that was not one, and emptyPages those of
	// them that make up whole pages.
	zeros, emptyPages int
	checksums         *crc32.Table
	decoded           compression.DecodeBuffer
}

// scanSegment hands the whole records of a segment that are valid, and the gaps
// between them, to the functions, whose errors end it, as do those of r.
func scanSegment(r io.Reader, valid func(rec []byte) bool, record func(rec []byte) error, gap func(logGap) error) error {
	s := &logScan{valid: valid, record: record, gap: gap, checksums: crc32.MakeTable(crc32.Castagnoli), decoded: compression.NewSyncDecodeBuffer()}
	page := make([]byte, logPageSize)
	for {
		n, err := io.ReadFull(r, page)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		clear(page[n:])
		if err := s.page(page, n); err != nil {
			return err
		}
		if err != nil {
			return s.end()
		}
	}
}

// page reads a page, of which the file has the first size bytes.
func (s *logScan) page(page []byte, size int) error {
	for at := 0; at < len(page); {
		rest := page[at:]
		kind := int(rest[0] & logTypeMask)
		if kind == logPadding {
			s.padding(rest, size-at)
			return nil
		}
		if s.zeros > 0 {
			s.drop(s.zeros, false)
			s.zeros, s.emptyPages = 0, 0
		}
		part, ok := s.fragment(kind, rest)
		end := at + s.lengthOf(rest)
		// None goes on in the next page, so a length that says so is damaged.
		if cutOff := end > size && end <= len(page); cutOff || !ok {
			// Where the next fragment begins cannot be told, save for the next page.
			s.drop(len(bytes.TrimRight(rest, "\x00")), cutOff)
			return nil
		}
		if err := s.add(kind, rest[0], part); err != nil {
			return err
		}
		at += logHeaderSize + len(part)
	}
	return nil
}

// padding takes in the rest of a page, which begins with a zero, and of which the
// file has the first size bytes.
//
// A page is left with more than a header's room only at the end of a segment, and
// never without anything in it, save by the TSDB's own repair. So zeros with
// something behind them, and pages of zeros, stand where something was.
func (s *logScan) padding(rest []byte, size int) {
	if left := bytes.TrimRight(rest, "\x00"); len(left) > 0 {
		s.drop(s.zeros+len(left), false)
		s.zeros, s.emptyPages = 0, 0
		return
	}
	if s.inside {
		s.drop(0, true)
	}
	if len(rest) >= logHeaderSize {
		s.zeros += max(size, 0)
	}
	if len(rest) == logPageSize {
		s.emptyPages += size
	}
}

// lengthOf returns how long the fragment at the beginning of rest says it is.
func (*logScan) lengthOf(rest []byte) int {
	if len(rest) < logHeaderSize {
		return len(rest)
	}
	return logHeaderSize + int(binary.BigEndian.Uint16(rest[1:]))
}

// fragment returns what the fragment at the beginning of rest holds.
func (s *logScan) fragment(kind int, rest []byte) (part []byte, ok bool) {
	if kind > logLast || len(rest) < logHeaderSize || s.lengthOf(rest) > len(rest) {
		return nil, false
	}
	part = rest[logHeaderSize:s.lengthOf(rest)]
	return part, crc32.Checksum(part, s.checksums) == binary.BigEndian.Uint32(rest[3:])
}

// add takes a good fragment in.
func (s *logScan) add(kind int, flags byte, part []byte) error {
	if kind == logWhole || kind == logFirst {
		if s.inside {
			s.drop(0, true)
		}
		s.partial, s.inside = append(s.partial[:0], part...), true
	} else if s.inside {
		s.partial = append(s.partial, part...)
	} else {
		s.drop(len(part)+logHeaderSize, false) // Its beginning was lost.
		return nil
	}
	if kind == logFirst || kind == logMiddle {
		return nil
	}
	compressed := compression.None
	switch {
	case flags&logSnappyFlag != 0:
		compressed = compression.Snappy
	case flags&logZstdFlag != 0:
		compressed = compression.Zstd
	}
	rec, err := compression.Decode(compressed, s.partial, s.decoded)
	if err != nil || !s.valid(rec) {
		s.drop(0, false)
		return nil
	}
	s.inside = false
	if err := s.closeGap(false); err != nil {
		return err
	}
	return s.record(rec)
}

// drop gives up what there is of a record, and more bytes.
func (s *logScan) drop(more int, torn bool) {
	if s.inside {
		s.lost += int64(len(s.partial) + logHeaderSize)
	}
	s.inside = false
	s.lost += int64(more)
	s.notTorn = s.notTorn || !torn
}

// closeGap tells of what was lost since the last record. At the end no record
// follows.
func (s *logScan) closeGap(atEnd bool) error {
	if s.lost == 0 {
		return nil
	}
	g := logGap{bytes: s.lost, torn: atEnd && !s.notTorn}
	s.lost, s.notTorn = 0, false
	return s.gap(g)
}

func (s *logScan) end() error {
	if s.inside || s.emptyPages > 0 {
		s.drop(s.emptyPages, true)
	}
	return s.closeGap(true)
}
