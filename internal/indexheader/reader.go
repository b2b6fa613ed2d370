package indexheader

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"
	"sort"
	"time"
)

// Range is a range of bytes [Start, End) in the index that the header was made
// from. The zero Range stands for nothing.
type Range struct {
	Start, End int64
}

// Len is the length of the range in bytes.
func (r Range) Len() int64 { return r.End - r.Start }

// IsZero tells whether the range stands for nothing.
func (r Range) IsZero() bool { return r == Range{} }

// Reader answers from one header. It may be used by several goroutines at
// once, until Close. What has changed in the file since Open is a *CorruptError.
type Reader struct {
	file   io.ReaderAt
	size   int64 // of the file when it was opened
	made   time.Time
	closer io.Closer
	sums   int64 // of pages, in memory
	toc    toc

	// symbols has the file's position of every 32nd symbol.
	symbols     []int64
	symbolCount uint32
	symbolsEnd  int64

	names    []string // of labels, sorted, without the empty one
	postings map[string]*labelEntries
	all      Range
	// postingsEnd is where the last postings list ends in the index at the latest.
	postingsEnd int64
	tableEnd    int64 // position in the file where the table's entries end
}

// labelEntries says where the table's entries of one label name are.
type labelEntries struct {
	// values has every 32nd value, and the last.
	values []tableEntry
	// lastEnd is where the last value's postings list ends in the index.
	lastEnd int64
}

type tableEntry struct {
	value    string
	position int64 // in the file
}

// Open opens the header at path and checks it. An error that is a
// *CorruptError or *UnsupportedError means that the header is to be built
// anew.
func Open(path string) (*Reader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open index header: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open index header: %w", err)
	}
	r, err := openPages(f, info.Size())
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open index header %s: %w", path, err)
	}
	r.closer, r.made = f, info.ModTime()
	return r, nil
}

// openPages returns a reader that notices if the file changes from now on.
func openPages(file io.ReaderAt, size int64) (*Reader, error) {
	p, err := sumPages(file, size)
	if err != nil {
		return nil, err
	}
	// What changes meanwhile either fails the checksums that are read here, or is
	// noticed later.
	r, err := newReader(file, size)
	if err != nil {
		return nil, err
	}
	r.file, r.sums = p, int64(len(p.sums))
	return r, nil
}

// newReader checks the header of the given size in file and indexes it.
func newReader(file io.ReaderAt, size int64) (*Reader, error) {
	if size < preludeSize+12+12+indexTOCSize+trailerSize {
		return nil, corrupt("the index header has only %d bytes", size)
	}
	prelude := make([]byte, preludeSize)
	if _, err := file.ReadAt(prelude, 0); err != nil {
		return nil, fmt.Errorf("read index header: %w", err)
	}
	if binary.BigEndian.Uint32(prelude) != magic {
		return nil, corrupt("the index header does not start with its magic number")
	}
	if prelude[4] != formatVersion {
		return nil, corrupt("the index header has format version %d, not %d", prelude[4], formatVersion)
	}
	if prelude[5] != 2 {
		return nil, &UnsupportedError{Version: int(prelude[5])}
	}
	end := make([]byte, indexTOCSize+trailerSize)
	if _, err := file.ReadAt(end, size-int64(len(end))); err != nil {
		return nil, fmt.Errorf("read index header: %w", err)
	}
	r := &Reader{file: file, size: size, postings: map[string]*labelEntries{}}
	if err := r.checkEnds(prelude, end, size); err != nil {
		return nil, err
	}
	if err := r.loadSymbols(); err != nil {
		return nil, err
	}
	if err := r.loadPostings(size - trailerSize - indexTOCSize); err != nil {
		return nil, err
	}
	return r, nil
}

// checkEnds holds the header's first and last bytes against each other.
func (r *Reader) checkEnds(prelude, end []byte, size int64) error {
	// The index's TOC speaks of an index whose size follows from where its
	// last section starts and how much of it is here.
	tableOffset := int64(binary.BigEndian.Uint64(prelude[6:]))
	tablePosition := int64(binary.BigEndian.Uint64(end[indexTOCSize+8:]))
	if tablePosition < preludeSize || tablePosition > size-trailerSize-indexTOCSize || tableOffset < 0 {
		return corrupt("the index header puts its tables out of its %d bytes", size)
	}
	t, err := parseTOC(end[:indexTOCSize], tableOffset+size-trailerSize-tablePosition)
	if err != nil {
		return err
	}
	if t.postingsTable != tableOffset || t.tablePosition() != tablePosition ||
		!slices.Equal(end[indexTOCSize:], t.trailer()) {
		return corrupt("the index header's tables are not where the index's table of contents says")
	}
	r.toc = t
	return nil
}

// IndexSize is the size in bytes of the index that the header was made from.
func (r *Reader) IndexSize() int64 {
	// The table of contents follows the postings offset table's CRC.
	return r.toc.postingsTable + r.tableEnd + 4 - r.toc.tablePosition() + indexTOCSize
}

// Made is the modification time of the header's file.
func (r *Reader) Made() time.Time { return r.made }

// Size of the header's file in bytes.
func (r *Reader) Size() int64 { return r.size }

// Memory is about how many bytes of memory the Reader takes.
func (r *Reader) Memory() int64 {
	const fixed, perName, perEntry = 512, 128, 24
	n := fixed + 8*int64(cap(r.symbols)) + crc32.Size*r.sums
	for name, entries := range r.postings {
		n += perName + int64(len(name))
		for _, e := range entries.values {
			n += perEntry + int64(len(e.value))
		}
	}
	return n
}

// Series is where the series section lies in the index. Every series entry
// does.
func (r *Reader) Series() Range { return Range{Start: r.toc.series, End: r.toc.seriesEnd()} }

// LabelNames returns the names of all labels in order. The caller must not
// change the slice.
func (r *Reader) LabelNames() []string { return r.names }

// AllPostings is where the list of all series lies in the index.
func (r *Reader) AllPostings() Range { return r.all }

// PostingsEnd is where the postings lists end in the index. The range of a list that
// ends there may be longer than the list, since sections may be padded; those of all
// others are exact.
func (r *Reader) PostingsEnd() int64 { return r.postingsEnd }

// Check reads the whole file again and holds it against its checksums, for a
// caller that has reason to doubt it: between Open and now the file may have
// been damaged, which ends the reads of what was. An error means that
// the header is to be built anew.
func (r *Reader) Check() error {
	again, err := newReader(r.file, r.size)
	if err == nil && again.toc != r.toc {
		err = corrupt("the index header was overwritten by one of another index")
	}
	return err
}

// Close closes the file. No other method may be running or be called later.
func (r *Reader) Close() error {
	if r.closer == nil {
		return nil
	}
	return r.closer.Close()
}

// ValueCount is about how many values the label name has, give or take 31. It
// reads nothing.
func (r *Reader) ValueCount(name string) int {
	entries, ok := r.postings[name]
	if !ok {
		return 0
	}
	return max((len(entries.values)-1)*sparse, 1)
}

// LabelValues calls yield for each value of the label name in order, with the
// range in the index that its postings list takes, length and CRC included,
// until yield returns false.
func (r *Reader) LabelValues(name string, yield func(value string, list Range) bool) error {
	entries, ok := r.postings[name]
	if !ok {
		return nil
	}
	return r.walk(name, entries, 0, "", func(value []byte, list Range) bool { return yield(string(value), list) })
}

// Postings returns for each of values, which must be sorted, the range in the
// index that the postings list of name=value takes, length and CRC included.
// A value that no series has gets the zero Range.
func (r *Reader) Postings(name string, values []string) ([]Range, error) {
	lists := make([]Range, len(values))
	entries, ok := r.postings[name]
	if !ok {
		return lists, nil
	}
	for i := 0; i < len(values); {
		// The last sampled value not above the wanted one.
		at := sort.Search(len(entries.values), func(j int) bool { return entries.values[j].value > values[i] }) - 1
		if at < 0 {
			i++
			continue
		}
		// One walk serves all wanted values up to the next sampled one.
		stop, bounded := "", at+1 < len(entries.values)
		if bounded {
			stop = entries.values[at+1].value
		}
		last := i + 1
		for last < len(values) && (!bounded || values[last] < stop) {
			last++
		}
		if err := r.find(name, entries, at, values[i:last], lists[i:last]); err != nil {
			return nil, err
		}
		i = last
	}
	return lists, nil
}

// find looks for values among the entries from the sampled one at on.
func (r *Reader) find(name string, entries *labelEntries, at int, values []string, lists []Range) error {
	next := 0
	return r.walk(name, entries, at, values[len(values)-1], func(value []byte, list Range) bool {
		for next < len(values) && values[next] < string(value) {
			next++
		}
		for next < len(values) && values[next] == string(value) {
			lists[next] = list
			next++
		}
		return next < len(values)
	})
}

// walk calls yield for the entries of name from the sampled one at on, until
// it returns false or the name ends. An entry's list ends where the next one
// starts, so that one entry more is read.
func (r *Reader) walk(name string, entries *labelEntries, at int, upTo string, yield func(value []byte, list Range) bool) error {
	start := entries.values[at].position
	last := entries.values[len(entries.values)-1]
	w := newWindow(r.file, start, r.tableEnd, walkSize(entries, at, upTo))
	var value []byte
	var from int64
	for first := true; ; first = false {
		position := w.position()
		entry, err := w.tableEntry()
		if err != nil {
			return err
		}
		if string(entry.name) != name {
			return corrupt("an entry of the label %q is missing in the postings offset table", name)
		}
		if entry.offset <= from || entry.offset >= r.toc.postingsTable {
			return corrupt("the postings list of %q=%q is said to be at %d, out of order or bounds", name, entry.value, entry.offset)
		}
		if !first && !yield(value, Range{Start: from, End: entry.offset}) {
			return nil
		}
		if position >= last.position {
			yield(entry.value, Range{Start: entry.offset, End: entries.lastEnd})
			return nil
		}
		value, from = append(value[:0], entry.value...), entry.offset
	}
}

// walkSize is how many bytes a walk from the sampled value at up to the value
// upTo, or to the end if that is empty, will read, as a hint.
func walkSize(entries *labelEntries, at int, upTo string) int64 {
	end := len(entries.values) - 1
	if upTo != "" {
		end = min(end, at+1)
	}
	// The entry after the last is needed too.
	return entries.values[end].position - entries.values[at].position + 256
}
