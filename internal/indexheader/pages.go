package indexheader

import (
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"sync"
)

// pageSize is how much of a header's file has a checksum of its own in memory: little
// beside what most reads take, and a thousand times as much as its checksum.
const pageSize = 4 << 10

// pages is a file of a fixed size that is to stay what it was when it was opened. The
// checksums in a header are of whole tables, which nobody reads for a few entries of
// them; and a symbol that loses a bit while the header is in use is another symbol.
type pages struct {
	file io.ReaderAt
	size int64
	sums []uint32

	buffers sync.Pool // of *[]byte for reads, each as large as a window and two pages
}

// sumPages reads all of a file, and takes it for what it is to be.
func sumPages(file io.ReaderAt, size int64) (*pages, error) {
	p := &pages{file: file, size: size, sums: make([]uint32, 0, (size+pageSize-1)/pageSize)}
	buf := make([]byte, min(windowSize, size))
	for at := int64(0); at < size; at += windowSize {
		some := buf[:min(windowSize, size-at)]
		if _, err := file.ReadAt(some, at); err != nil {
			return nil, corruptRead("index header", err)
		}
		for ; len(some) > 0; some = some[min(pageSize, len(some)):] {
			p.sums = append(p.sums, sumPage(some))
		}
	}
	return p, nil
}

func sumPage(b []byte) uint32 { return crc32.Checksum(b[:min(pageSize, len(b))], castagnoli()) }

// ReadAt reads what lies within the file, or fails with a *CorruptError if the file has
// changed there.
func (p *pages) ReadAt(b []byte, off int64) (int, error) {
	if off < 0 || off > p.size || int64(len(b)) > p.size-off {
		return 0, io.EOF
	}
	if len(b) == 0 {
		return 0, nil
	}
	first := off / pageSize
	buf, _ := p.buffers.Get().(*[]byte)
	if buf == nil {
		buf = new([]byte)
	}
	defer p.buffers.Put(buf)
	length := min((off+int64(len(b))+pageSize-1)/pageSize*pageSize, p.size) - first*pageSize
	*buf = slices.Grow((*buf)[:0], int(length))
	whole := (*buf)[:length]
	if _, err := p.file.ReadAt(whole, first*pageSize); err != nil {
		return 0, err
	}
	for i, rest := first, whole; len(rest) > 0; i, rest = i+1, rest[min(pageSize, len(rest)):] {
		if sumPage(rest) != p.sums[i] {
			return 0, &CorruptError{What: fmt.Sprintf("the index header has changed at %d since it was opened", i*pageSize)}
		}
	}
	return copy(b, whole[off-first*pageSize:]), nil
}
