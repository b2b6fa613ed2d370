package writepb

import "google.golang.org/protobuf/encoding/protowire"

// MaxLabels bounds the labels of one series or exemplar. One with more is that
// of a mistake, and is refused by itself.
const MaxLabels = 4096

// fewBytes is a message so short that its elements need not be counted before
// there is room for them.
const fewBytes = 4 << 10

// The least that an element takes in earnest, in bytes, with its tag and
// length. The tables that elements go into are several times the size of an
// empty one, so a message that is full of empty ones is refused before there is
// room for them. A sample, exemplar or histogram of any year after 1970 has a
// time of six bytes, a series has a sample and a name.
const (
	leastSeries = 8
	leastPoint  = 8
	leastText   = 4 // symbols, of which no two are the same, and metadata
)

// fieldCounts counts the fields of a message by number, those up to 5.
type fieldCounts [6]int

// countFields counts the fields of at that have a length. It stops at what is
// malformed, for which there are errors when it is read.
func countFields(body []byte, at span, message string) (n fieldCounts) {
	rd := newReader(body, at, message)
	for {
		num, typ, ok := rd.next()
		if !ok {
			return n
		}
		if typ == protowire.BytesType && num < len(n) {
			n[num]++
		}
		rd.skip(typ)
	}
}

// NumSamples returns how many floats and histograms the request holds, without
// decoding them. Of a malformed series it counts what comes before.
func (r *Request) NumSamples() (floats, histograms int) {
	field := 4
	if r.version == V2 {
		field = 3
	}
	for _, at := range r.series {
		n := countFields(r.body, at, "TimeSeries")
		floats += n[2]
		histograms += n[field]
	}
	return floats, histograms
}

// limit returns an error if there are more elements of a field in at than its
// bytes can hold in earnest.
func (n fieldCounts) limit(num, least int, at span, message string) error {
	if n[num] > mostElements(at, least) {
		return &SyntaxError{Message: message, Field: num, Offset: int(at.off), Reason: tooManyElements}
	}
	return nil
}

// mostElements is how many elements, each of which takes some bytes at least, a
// message may have. Short ones are not worth counting.
func mostElements(at span, least int) int {
	size := int(at.end - at.off)
	if size <= fewBytes {
		return size
	}
	return size / least
}

// tooManyElements is the reason of a SyntaxError.
const tooManyElements = "more elements than so few bytes can hold in earnest"

// room returns the empty table with room for n elements, allocated at once.
func room[T any](table []T, n int) []T {
	if cap(table) < n {
		return make([]T, 0, n)
	}
	return table[:0]
}
