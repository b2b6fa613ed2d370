package store

import (
	"encoding/binary"
	"math"

	"github.com/prometheus/prometheus/tsdb/chunks"
)

// seriesAlign is what offsets of series entries are multiples of: a reference
// is an offset divided by it.
const seriesAlign = 16

// seriesEntry is a series as the index has it: labels by symbol reference, and
// where its chunks are.
type seriesEntry struct {
	symbols []uint32 // name, value, name, value, ...
	chunks  []chunks.Meta
}

// entryBody finds the entry at the start of b, which may be followed by other
// bytes, and returns its body after checking its CRC. If b is too short for
// the entry, body is nil and need is the length that would do.
func entryBody(b []byte) (body []byte, need int64, err error) {
	length, n := binary.Uvarint(b)
	switch {
	case n == 0:
		return nil, int64(len(b)) + binary.MaxVarintLen64, nil
	case n < 0 || length > math.MaxUint32:
		return nil, 0, corrupt("a series entry has no sensible length")
	}
	if need = int64(n) + int64(length) + 4; need > int64(len(b)) {
		return nil, need, nil
	}
	body = b[n : n+int(length)]
	if castagnoli(body) != binary.BigEndian.Uint32(b[n+int(length):]) {
		return nil, 0, corrupt("a series entry fails its checksum")
	}
	return body, need, nil
}

// decode replaces e by the entry with the given body. It reuses e's memory.
func (e *seriesEntry) decode(body []byte) error {
	e.symbols, e.chunks = e.symbols[:0], e.chunks[:0]
	d := varints{b: body}
	for left := d.uvarint(); left > 0 && d.ok(); left-- {
		e.symbols = append(e.symbols, d.uvarint32(), d.uvarint32())
	}
	left := d.uvarint()
	var last chunks.Meta
	for first := true; left > 0 && d.ok(); left-- {
		m := chunks.Meta{}
		if first {
			m.MinTime = d.varint()
			m.MaxTime = m.MinTime + int64(d.uvarint())
			m.Ref = chunks.ChunkRef(d.uvarint())
		} else {
			m.MinTime = last.MaxTime + int64(d.uvarint())
			m.MaxTime = m.MinTime + int64(d.uvarint())
			m.Ref = last.Ref + chunks.ChunkRef(d.varint())
		}
		if m.MaxTime < m.MinTime || !first && m.MinTime < last.MaxTime {
			return corrupt("a series entry has its chunks out of order")
		}
		first, last = false, m
		e.chunks = append(e.chunks, m)
	}
	if !d.ok() {
		return corrupt("a series entry ends too early")
	}
	return nil
}

// varints decodes numbers. After an error it returns zeros.
type varints struct {
	b   []byte
	bad bool
}

func (d *varints) ok() bool { return !d.bad }

func (d *varints) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.b, d.bad = nil, true
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *varints) uvarint32() uint32 {
	v := d.uvarint()
	if v > math.MaxUint32 {
		d.bad = true
		return 0
	}
	return uint32(v)
}

func (d *varints) varint() int64 {
	u := d.uvarint()
	v := int64(u >> 1)
	if u&1 != 0 {
		v = ^v
	}
	return v
}
