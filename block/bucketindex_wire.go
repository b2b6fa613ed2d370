package block

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"unsafe"

	"github.com/oklog/ulid/v2"
)

// indexWire writes the values it is shown, or reads them, so that one
// description of a record serves both ways. What it writes it does not change,
// for it may be shared. The first error while reading
// stays in err, and from then on nothing is read.
//
// Integers are varints, signed ones in zigzag, as in encoding/binary. A string
// is written where it occurs first and by number after that, and so are sets of
// labels: what is equal is in memory once after reading.
type indexWire struct {
	b       []byte // what was written, or what is left to be read
	reading bool
	err     error

	room      int      // when reading, the bytes of memory that may yet be set aside
	strings   []string // when reading, by number
	stringIDs map[string]uint64
	sets      []map[string]string
	setIDs    map[string]uint64
	segments  []string // when reading, the usual names of segments
}

func newIndexWriter() *indexWire {
	return &indexWire{stringIDs: map[string]uint64{}, setIDs: map[string]uint64{}}
}

// newIndexReader reads b, and keeps no part of it.
func newIndexReader(b []byte) *indexWire {
	return &indexWire{b: b, reading: true, room: indexMemory*len(b) + 1<<16}
}

// indexMemory is how many bytes of memory a byte of content may become. It is six
// for blocks as they are shipped, and ten for some that have neither files nor
// labels; a list of empty texts would be 24.
const indexMemory = 12

var (
	errIndexShort = errors.New("content ends early")
	errIndexRoom  = errors.New("content would take too much memory for its size")
)

// memory is asked for before n things of size bytes each are made.
func (w *indexWire) memory(n, size int) {
	if w.room -= n * size; w.room < 0 {
		w.fail(errIndexRoom)
	}
}

func (w *indexWire) fail(err error) {
	if w.err == nil {
		w.err = err
	}
	w.b = nil
}

func (w *indexWire) uint(v *uint64) {
	if !w.reading {
		w.b = binary.AppendUvarint(w.b, *v)
		return
	}
	got, n := binary.Uvarint(w.b)
	if n <= 0 {
		w.fail(errIndexShort)
		return
	}
	*v, w.b = got, w.b[n:]
}

func (w *indexWire) int(v *int64) {
	u := uint64(*v)<<1 ^ uint64(*v>>63)
	w.uint(&u)
	if w.reading {
		*v = int64(u>>1) ^ -int64(u&1)
	}
}

// small is an integer of another type.
func small[T ~int | ~int64 | ~uint8](w *indexWire, v *T) {
	n := int64(*v)
	w.int(&n)
	if w.reading {
		*v = T(n)
	}
}

// count is a number of things of at least size bytes each that follow.
func (w *indexWire) count(n, size int) int {
	v := uint64(n)
	w.uint(&v)
	if w.reading && v > uint64(len(w.b)/size) {
		w.fail(errIndexShort)
	}
	if w.err != nil {
		return 0
	}
	return int(v)
}

// take returns the next n bytes, which are still part of the content.
func (w *indexWire) take(n int) []byte {
	if w.err != nil || n > len(w.b) {
		w.fail(errIndexShort)
		return nil
	}
	b := w.b[:n]
	w.b = w.b[n:]
	return b
}

func (w *indexWire) id(id *ulid.ULID) {
	if !w.reading {
		w.b = append(w.b, id[:]...)
		return
	}
	copy(id[:], w.take(len(id)))
}

// bytes is a text that is not expected to come again. An empty one is nil.
func (w *indexWire) bytes(b *[]byte) {
	n := w.count(len(*b), 1)
	if !w.reading {
		w.b = append(w.b, *b...)
		return
	}
	*b = slices.Clone(w.take(n))
	if n == 0 {
		*b = nil
	}
}

// text is bytes as a string.
func (w *indexWire) text(s *string) {
	b := []byte(*s)
	w.bytes(&b)
	if w.reading {
		*s = string(b)
	}
}

// string is a text that may come again.
func (w *indexWire) string(s *string) {
	if !w.reading {
		n, known := w.stringIDs[*s]
		w.uint(&n) // 0 for a new one
		if !known {
			w.text(s)
			w.stringIDs[*s] = uint64(len(w.stringIDs) + 1)
		}
		return
	}
	var n uint64
	w.uint(&n)
	switch {
	case w.err != nil:
	case n == 0:
		w.memory(1, int(unsafe.Sizeof(*s)))
		w.text(s)
		w.strings = append(w.strings, *s)
	case n <= uint64(len(w.strings)):
		*s = w.strings[n-1]
	default:
		w.fail(fmt.Errorf("string %d of %d", n, len(w.strings)))
	}
}

// set is a set of labels. An empty one is not nil after reading.
func (w *indexWire) set(set *map[string]string) {
	if !w.reading {
		names := slices.Sorted(maps.Keys(*set))
		pairs := make([]string, 0, 2*len(names))
		for _, name := range names {
			pairs = append(pairs, name, (*set)[name])
		}
		key := fmt.Sprintf("%q", pairs)
		n, known := w.setIDs[key]
		w.uint(&n) // 0 for a new one
		if !known {
			w.count(len(names), 1)
			for i := range pairs {
				w.string(&pairs[i])
			}
			w.setIDs[key] = uint64(len(w.setIDs) + 1)
		}
		return
	}
	var n uint64
	w.uint(&n)
	switch {
	case w.err != nil:
	case n == 0:
		*set = w.readSet()
		w.sets = append(w.sets, *set)
	case n <= uint64(len(w.sets)):
		*set = w.sets[n-1]
	default:
		w.fail(fmt.Errorf("set of labels %d of %d", n, len(w.sets)))
	}
}

func (w *indexWire) readSet() map[string]string {
	n := w.count(0, 2)
	w.memory(1+n, mapEntrySize)
	if w.err != nil {
		return nil
	}
	set := make(map[string]string, n)
	for range n {
		var name, value string
		w.string(&name)
		w.string(&value)
		set[name] = value
	}
	return set
}

// mapEntrySize is about what an entry of a map takes whose key is a string, and its
// value another, or a slice.
const mapEntrySize = 64

// wireSlice is a slice of things of at least size bytes each. An empty one is
// nil after reading.
func wireSlice[T any](w *indexWire, s *[]T, size int, each func(*T)) {
	n := w.count(len(*s), size)
	if w.reading {
		*s = nil
		if w.memory(n, int(unsafe.Sizeof(*new(T)))); n > 0 && w.err == nil {
			*s = make([]T, n)
		}
	}
	for i := range *s {
		each(&(*s)[i])
	}
}

// flags packs booleans into one number, the first into the lowest bit.
func (w *indexWire) flags(flags ...*bool) {
	var v uint64
	for i, f := range flags {
		if *f {
			v |= 1 << i
		}
	}
	w.uint(&v)
	if !w.reading {
		return
	}
	if v >= 1<<len(flags) {
		w.fail(fmt.Errorf("flags %x are unknown", v))
	}
	for i, f := range flags {
		*f = v&(1<<i) != 0
	}
}

// flag is one of flags by itself, for what is no variable.
func (w *indexWire) flag(v bool) bool {
	w.flags(&v)
	return v
}
