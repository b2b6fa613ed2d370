package indexheader

import (
	"encoding/binary"
	"hash/crc32"
	"slices"
)

// table opens a window over the section at position, which has a length, a
// count, and after its entries a CRC, and checks the latter. limit is where
// the section must have ended. It returns the window behind the count, and
// where the entries end.
func (r *Reader) table(what string, position, limit int64) (w *window, count uint32, end int64, err error) {
	head := make([]byte, 4)
	if _, err := r.file.ReadAt(head, position); err != nil {
		return nil, 0, 0, corruptRead(what, err)
	}
	length := int64(binary.BigEndian.Uint32(head))
	end = position + 4 + length
	if length < 4 || end+4 > limit {
		return nil, 0, 0, corrupt("the %s has %d bytes in a section of %d", what, length, limit-position)
	}
	w = newWindow(r.file, position+4, end+4, length+4)
	sum := uint32(0)
	for left := length; left > 0; {
		b, err := w.take(min(left, windowSize))
		if err != nil {
			return nil, 0, 0, err
		}
		sum = crc32.Update(sum, castagnoli(), b)
		left -= int64(len(b))
	}
	b, err := w.take(4)
	if err != nil {
		return nil, 0, 0, err
	}
	if sum != binary.BigEndian.Uint32(b) {
		return nil, 0, 0, corrupt("the %s fails its checksum", what)
	}
	w = newWindow(r.file, position+4, end, length)
	b, err = w.take(4)
	if err != nil {
		return nil, 0, 0, err
	}
	return w, binary.BigEndian.Uint32(b), end, nil
}

// loadSymbols notes where every 32nd symbol is.
func (r *Reader) loadSymbols() error {
	w, count, end, err := r.table("symbol table", preludeSize, r.toc.tablePosition())
	if err != nil {
		return err
	}
	for i := range count {
		if i%sparse == 0 {
			r.symbols = append(r.symbols, w.position())
		}
		if err := w.skipString(); err != nil {
			return err
		}
	}
	if w.position() != end {
		return corrupt("the symbol table has more than its %d symbols", count)
	}
	r.symbolCount, r.symbolsEnd = count, end
	return nil
}

// loadPostings notes every 32nd entry of each name, its first and its last,
// and checks the order of names, values and lists, on which the ends of the
// lists depend.
func (r *Reader) loadPostings(limit int64) error {
	w, count, end, err := r.table("postings offset table", r.toc.tablePosition(), limit)
	if err != nil {
		return err
	}
	r.tableEnd = end
	if end+4 != limit {
		return corrupt("the postings offset table ends at %d instead of %d", end+4, limit)
	}
	l := postingsLoader{r: r, lastOffset: r.toc.postings}
	for range count {
		position := w.position()
		entry, err := w.tableEntry()
		if err != nil {
			return err
		}
		if err := l.add(entry, position); err != nil {
			return err
		}
	}
	if w.position() != end {
		return corrupt("the postings offset table has more than its %d entries", count)
	}
	if l.lastOffset > r.toc.postingsTable {
		return corrupt("a postings list lies behind its section")
	}
	r.postingsEnd = r.toc.postingsEnd(l.lastOffset)
	l.finish(r.postingsEnd)
	return nil
}

type postingsLoader struct {
	r          *Reader
	entries    *labelEntries
	name       []byte
	value      []byte
	position   int64 // of the entry before
	inName     int   // entries of the name so far
	started    bool
	lastOffset int64
}

func (l *postingsLoader) add(entry windowEntry, position int64) error {
	// The first list may start after padding, every other follows its
	// predecessor, of which it is the end.
	if entry.offset < l.lastOffset || l.started && entry.offset == l.lastOffset {
		return corrupt("the postings lists are out of order at %q=%q", entry.name, entry.value)
	}
	newName := !l.started || string(entry.name) != string(l.name)
	switch {
	case l.started && newName && string(entry.name) < string(l.name),
		l.started && !newName && string(entry.value) <= string(l.value):
		return corrupt("the postings offset table is out of order at %q=%q", entry.name, entry.value)
	}
	if newName {
		l.finish(entry.offset)
		l.entries, l.inName = &labelEntries{}, 0
		l.name = append(l.name[:0], entry.name...)
	}
	l.value = append(l.value[:0], entry.value...)
	if l.inName%sparse == 0 {
		l.sample(position)
	}
	l.inName++
	l.started, l.lastOffset, l.position = true, entry.offset, position
	return nil
}

func (l *postingsLoader) sample(position int64) {
	l.entries.values = append(l.entries.values, tableEntry{value: string(l.value), position: position})
}

// finish ends the name before, whose last list ends at end.
func (l *postingsLoader) finish(end int64) {
	if l.entries == nil {
		return
	}
	if l.entries.values[len(l.entries.values)-1].position != l.position {
		l.sample(l.position)
	}
	l.entries.lastEnd = end
	l.entries.values = slices.Clip(l.entries.values)
	if len(l.name) == 0 {
		// The empty name with the empty value is the list of all series, and
		// no label that anybody may ask for.
		if len(l.entries.values) == 1 && l.entries.values[0].value == "" {
			l.r.all = Range{Start: l.lastOffset, End: end}
		}
		return
	}
	name := string(l.name)
	l.r.postings[name] = l.entries
	l.r.names = append(l.r.names, name)
}
