package cache

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	// diskVersion is the directory of the files' format.
	diskVersion = "ranges-v1"
	// segmentPages is how many pages of an object share a file, and
	// segmentBytes how much such a file takes at most.
	segmentPages = 512
	segmentBytes = segmentData + segmentPages*pageSize

	segmentMagic = 0x56615201 // "VaR" and the version of the format
	// segmentHead is magic, page size, object, number and their CRC.
	segmentHead  = 4 + 4 + 16 + 8 + 4
	segmentEntry = 8 // length and CRC of a page
	segmentTable = segmentHead + segmentPages*segmentEntry
	// segmentData is where the first page is: a multiple of a disk's blocks.
	segmentData = 8 << 10
)

// segmentKey names a file: pages [number*segmentPages, (number+1)*segmentPages)
// of an object.
type segmentKey struct {
	object objectID
	number int64
}

// segmentOf is the number of the segment that has a page.
func segmentOf(page int64) int64 { return page / segmentPages }

// path of the file. One directory for all would be slow to list.
func (k segmentKey) path(dir string) string {
	name := hex.EncodeToString(k.object[:])
	return filepath.Join(dir, name[:2], name+"-"+strconv.FormatInt(k.number, 10))
}

// parseSegmentName is the inverse of path.
func parseSegmentName(name string) (k segmentKey, ok bool) {
	object, number, ok := strings.Cut(name, "-")
	if n, err := hex.Decode(k.object[:], []byte(object[:min(len(object), 32)])); !ok || err != nil || n != 16 || len(object) != 32 {
		return k, false
	}
	var err error
	k.number, err = strconv.ParseInt(number, 10, 64)
	return k, err == nil && k.number >= 0 && strconv.FormatInt(k.number, 10) == number
}

// segment is an open file. It may be written by several at once, of other
// processes too: a page has the same bytes whoever writes it, and is there once
// its entry in the table and its content agree.
type segment struct {
	file  *os.File
	key   segmentKey
	table []byte
}

// brokenError is damage of a file, which is cured by removing it.
type brokenError struct{ what string }

func (e brokenError) Error() string { return e.what }

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// openSegment opens a file, and checks that it is what its name says. With
// os.O_CREATE it is made if need be.
func openSegment(dir string, key segmentKey, flag int) (*segment, error) {
	path := key.path(dir)
	file, err := os.OpenFile(path, flag, 0o666)
	if errors.Is(err, os.ErrNotExist) && flag&os.O_CREATE != 0 {
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			return nil, err
		}
		file, err = os.OpenFile(path, flag, 0o666)
	}
	if err != nil {
		return nil, err
	}
	s := &segment{file: file, key: key, table: make([]byte, segmentTable)}
	if err := s.load(flag&os.O_CREATE != 0); err != nil {
		file.Close()
		return nil, err
	}
	return s, nil
}

func (s *segment) load(create bool) error {
	n, err := s.file.ReadAt(s.table, 0)
	head := s.head()
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return err
	case n == 0:
		copy(s.table, head)
		if !create {
			return nil // It is just being made.
		}
		// Two may get here at once. They write the same.
		_, err := s.file.WriteAt(head, 0)
		return err
	case n < segmentHead || string(s.table[:segmentHead]) != string(head):
		return brokenError{fmt.Sprintf("%s does not begin as such a file does", s.file.Name())}
	}
	clear(s.table[n:]) // A file that has no page yet may end in its table.
	return nil
}

// head makes the first bytes of the file.
func (s *segment) head() []byte {
	b := make([]byte, 0, segmentHead)
	b = binary.BigEndian.AppendUint32(b, segmentMagic)
	b = binary.BigEndian.AppendUint32(b, pageSize)
	b = append(b, s.key.object[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(s.key.number))
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli()))
}

// checksum of a page's content, and of where it belongs.
func (s *segment) checksum(slot int64, content []byte) uint32 {
	where := append(s.table[:segmentHead:segmentHead], byte(slot>>8), byte(slot))
	return crc32.Update(crc32.Checksum(where, castagnoli()), castagnoli(), content)
}

// page returns a page's content, nil if it is not there.
func (s *segment) page(number int64) ([]byte, error) {
	slot := number % segmentPages
	entry := s.table[segmentHead+slot*segmentEntry:]
	length := binary.BigEndian.Uint32(entry)
	switch {
	case length == 0:
		return nil, nil
	case length > pageSize:
		return nil, brokenError{fmt.Sprintf("%s claims %d bytes for page %d", s.file.Name(), length, number)}
	}
	content := make([]byte, length)
	if _, err := s.file.ReadAt(content, segmentData+slot*pageSize); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, brokenError{fmt.Sprintf("%s ends before page %d does", s.file.Name(), number)}
		}
		return nil, err
	}
	if s.checksum(slot, content) != binary.BigEndian.Uint32(entry[4:]) {
		return nil, brokenError{fmt.Sprintf("page %d of %s fails its checksum", number, s.file.Name())}
	}
	return content, nil
}

// put writes pages, which are sorted: their content first, since a reader that
// finds an entry expects it.
func (s *segment) put(pages []page) error {
	for _, p := range pages {
		if _, err := s.file.WriteAt(p.content, segmentData+p.number%segmentPages*pageSize); err != nil {
			return err
		}
	}
	for len(pages) > 0 {
		// The entries of neighbours go together.
		first := pages[0].number % segmentPages
		var entries []byte
		n := 0
		for n < len(pages) && pages[n].number%segmentPages == first+int64(n) {
			content := pages[n].content
			entries = binary.BigEndian.AppendUint32(entries, uint32(len(content)))
			entries = binary.BigEndian.AppendUint32(entries, s.checksum(first+int64(n), content))
			n++
		}
		if _, err := s.file.WriteAt(entries, segmentHead+first*segmentEntry); err != nil {
			return err
		}
		pages = pages[n:]
	}
	return nil
}

// usage is how much the file takes.
func (s *segment) usage() (int64, error) {
	info, err := s.file.Stat()
	if err != nil {
		return 0, err
	}
	return usage(info), nil
}

// close gives the file back. What it may say is of no consequence: the content
// is checked when it is read.
func (s *segment) close() { _ = s.file.Close() }
