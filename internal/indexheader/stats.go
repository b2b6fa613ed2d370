package indexheader

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

// Stats says what the largest parts of a block take, in bytes, 0 if that is not
// known. Readers that know it need not guess where the last of what they want ends.
type Stats struct {
	// SeriesMaxSize is of a series entry, with its length, checksum and padding.
	SeriesMaxSize int64
	// ChunkMaxSize is of a chunk's record in its segment, with its length, encoding
	// and checksum.
	ChunkMaxSize int64
}

// ReadStats reads all series entries of an index of the given size, whose chunks
// are in segments of those sizes. Errors are those of r, a *CorruptError or an
// *UnsupportedError. It does not look at checksums: what it returns is a hint.
func ReadStats(r io.ReaderAt, size int64, segments []int64) (Stats, error) {
	t, err := readTOC(r, size)
	if err != nil {
		return Stats{}, err
	}
	chunks := chunkSizes{segments: segments}
	entries := entryReader{
		at: t.series, end: t.seriesEnd(),
		r: bufio.NewReaderSize(io.NewSectionReader(r, t.series, t.seriesEnd()-t.series), windowSize),
	}
	var stats Stats
	for {
		body, size, err := entries.next()
		if err != nil {
			return Stats{}, err
		}
		if body == nil {
			chunks.end()
			stats.ChunkMaxSize = chunks.most()
			return stats, nil
		}
		stats.SeriesMaxSize = max(stats.SeriesMaxSize, size)
		if !chunks.series(body) {
			return Stats{}, corrupt("the index has a series entry before %d that ends too early", entries.at)
		}
	}
}

// entryAlign is what the offsets of series entries are multiples of.
const entryAlign = 16

// entryReader reads series entries one after the other.
type entryReader struct {
	r       *bufio.Reader
	at, end int64 // of what is left
	buf     []byte
}

// next returns the body of the next entry, valid until the next call, and what the
// entry takes; or nil behind the last.
func (e *entryReader) next() (body []byte, size int64, err error) {
	if err := e.skip(-e.at & (entryAlign - 1)); err != nil || e.at >= e.end {
		return nil, 0, err
	}
	head, err := e.r.Peek(int(min(binary.MaxVarintLen64, e.end-e.at)))
	if err != nil {
		return nil, 0, corruptRead("index", err)
	}
	length, n := binary.Uvarint(head)
	if n <= 0 || length == 0 || length > uint64(e.end-e.at) {
		return nil, 0, corrupt("the index has no series entry at %d", e.at)
	}
	begin := e.at
	if err := e.skip(int64(n)); err != nil {
		return nil, 0, err
	}
	if uint64(cap(e.buf)) < length {
		e.buf = make([]byte, length)
	}
	body = e.buf[:length]
	if _, err := io.ReadFull(e.r, body); err != nil {
		return nil, 0, corruptRead("index", err)
	}
	e.at += int64(length)
	err = e.skip(4)
	return body, (e.at - begin + entryAlign - 1) &^ (entryAlign - 1), err
}

// skip leaves n bytes out, or all there are.
func (e *entryReader) skip(n int64) error {
	n = min(n, e.end-e.at)
	e.at += n
	if _, err := e.r.Discard(int(n)); err != nil {
		return fmt.Errorf("read index: %w", err)
	}
	return nil
}

// chunkSizes finds the largest chunk: each ends where the next begins, or its
// segment ends. That holds as long as the series have their chunks in the order in
// which they are in the segments, as every writer puts them.
type chunkSizes struct {
	segments []int64
	any, mad bool
	last     uint64 // reference
	largest  int64
}

// series takes the chunks of a series entry, and says whether it is one.
func (c *chunkSizes) series(body []byte) bool {
	d := numbers{b: body}
	for left := d.next(); left > 0 && !d.bad; left-- {
		d.next()
		d.next()
	}
	ref := uint64(0)
	for left, first := d.next(), true; left > 0 && !d.bad; left-- {
		d.next()
		d.next()
		if v := d.next(); first {
			ref = v
		} else {
			ref += v>>1 ^ -(v & 1)
		}
		first = false
		c.chunk(ref)
	}
	return !d.bad
}

func (c *chunkSizes) chunk(ref uint64) {
	switch {
	case !c.any:
	case ref <= c.last:
		c.mad = true
	case ref>>32 == c.last>>32:
		c.largest = max(c.largest, int64(ref-c.last))
	default:
		c.end()
	}
	c.any, c.last = true, ref
}

// end notes that the last chunk was that of its segment.
func (c *chunkSizes) end() {
	if !c.any {
		return
	}
	segment, offset := c.last>>32, int64(c.last&math.MaxUint32)
	if segment >= uint64(len(c.segments)) || c.segments[segment] <= offset {
		c.mad = true
		return
	}
	c.largest = max(c.largest, c.segments[segment]-offset)
}

// most is the size of the largest chunk, if it can be told.
func (c *chunkSizes) most() int64 {
	if c.mad {
		return 0
	}
	return c.largest
}

// numbers decodes varints. After the end it returns zeros. The Decbuf of Prometheus does
// so too, and would make each shipper link a module more.
type numbers struct {
	b   []byte
	bad bool
}

func (d *numbers) next() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.b, d.bad = nil, true
		return 0
	}
	d.b = d.b[n:]
	return v
}
