package indexheader

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// windowSize is how much of the file a window holds at most, unless a single
// item is larger.
const windowSize = 64 << 10

// window decodes a part of a file in ascending order through a buffer.
type window struct {
	file  io.ReaderAt
	end   int64 // of the part
	at    int64 // position in the file of buf[0]
	buf   []byte
	off   int // of what comes next in buf
	chunk int64
}

// newWindow starts at start. hint is how many bytes will probably be read, so
// that the buffer gets no larger than useful.
func newWindow(file io.ReaderAt, start, end, hint int64) *window {
	return &window{file: file, end: end, at: start, chunk: min(max(hint, 64), windowSize)}
}

// position in the file of what comes next.
func (w *window) position() int64 { return w.at + int64(w.off) }

// seek moves to a later position.
func (w *window) seek(position int64) {
	if off := position - w.at; off <= int64(len(w.buf)) {
		w.off = int(off)
		return
	}
	w.at, w.buf, w.off = position, w.buf[:0], 0
}

// fill makes n bytes available behind off, or all up to the end of the part if
// there are fewer.
func (w *window) fill(n int64) error {
	n = min(n, w.end-w.position())
	if int64(len(w.buf)-w.off) >= n {
		return nil
	}
	size := min(max(n, w.chunk), w.end-w.position())
	rest := copy(w.buf, w.buf[w.off:])
	w.at, w.off = w.at+int64(w.off), 0
	if int64(cap(w.buf)) < size {
		w.buf = append(make([]byte, 0, size), w.buf[:rest]...)
	}
	w.buf = w.buf[:size]
	if _, err := w.file.ReadAt(w.buf[rest:], w.at+int64(rest)); err != nil {
		w.buf = w.buf[:rest]
		return corruptRead("index header", err)
	}
	return nil
}

// corruptRead tells a file that is too short from one that cannot be read.
func corruptRead(what string, err error) error {
	if errors.Is(err, io.EOF) {
		return corrupt("the %s is cut off", what)
	}
	return fmt.Errorf("read %s: %w", what, err)
}

// take returns the next n bytes. They are valid until the next call.
func (w *window) take(n int64) ([]byte, error) {
	if n > w.end-w.position() {
		return nil, corrupt("the index header needs %d bytes at %d where its table ends at %d", n, w.position(), w.end)
	}
	if err := w.fill(n); err != nil {
		return nil, err
	}
	b := w.buf[w.off : w.off+int(n)]
	w.off += int(n)
	return b, nil
}

func (w *window) uvarint() (uint64, error) {
	if err := w.fill(binary.MaxVarintLen64); err != nil {
		return 0, err
	}
	v, n := binary.Uvarint(w.buf[w.off:])
	if n <= 0 {
		return 0, corrupt("the index header has a broken number at %d", w.position())
	}
	w.off += n
	return v, nil
}

// string returns the next string. It is valid until the next call.
func (w *window) string() ([]byte, error) {
	n, err := w.uvarint()
	if err != nil {
		return nil, err
	}
	if n > uint64(w.end-w.position()) {
		return nil, corrupt("the index header has a string of %d bytes at %d where its table ends at %d", n, w.position(), w.end)
	}
	return w.take(int64(n))
}

func (w *window) skipString() error {
	n, err := w.uvarint()
	if err != nil {
		return err
	}
	if n > uint64(w.end-w.position()) {
		return corrupt("the index header has a string of %d bytes at %d where its table ends at %d", n, w.position(), w.end)
	}
	w.seek(w.position() + int64(n))
	return nil
}

// windowEntry is an entry of the postings offset table. The bytes are valid
// until the window moves on.
type windowEntry struct {
	name, value []byte
	offset      int64
}

// tableEntry returns the next entry of the postings offset table.
func (w *window) tableEntry() (windowEntry, error) {
	// The parts must be available at once, or reading one would move another.
	for need := int64(512); ; need *= 2 {
		if err := w.fill(need); err != nil {
			return windowEntry{}, err
		}
		b := w.buf[w.off:]
		entry, n := decodeTableEntry(b)
		switch {
		case n > 0:
			w.off += n
			return entry, nil
		case n < 0 || int64(len(b)) >= w.end-w.position():
			return windowEntry{}, corrupt("the postings offset table has a broken entry at %d", w.position())
		}
	}
}

// decodeTableEntry decodes the entry at the start of b and returns its length,
// 0 if b is too short, and a negative number if no more bytes could help.
func decodeTableEntry(b []byte) (entry windowEntry, n int) {
	keys, k := binary.Uvarint(b)
	if k <= 0 {
		return entry, k
	}
	if keys != 2 {
		return entry, -1
	}
	n = k
	for _, s := range []*[]byte{&entry.name, &entry.value} {
		length, k := binary.Uvarint(b[n:])
		if k <= 0 {
			return entry, k
		}
		n += k
		if length > uint64(len(b)-n) {
			return entry, 0
		}
		*s = b[n : n+int(length)]
		n += int(length)
	}
	offset, k := binary.Uvarint(b[n:])
	if k <= 0 {
		return entry, k
	}
	if offset > 1<<62 {
		return entry, -1
	}
	entry.offset = int64(offset)
	return entry, n + k
}
