package store

// span is a range of bytes [from, to) in an object.
type span struct {
	from, to int64
}

func (s span) len() int64 { return s.to - s.from }

// part is one read: the spans wanted[first:last], which lie within it.
type part struct {
	span
	first, last int
}

const (
	// gapLimit is how many unwanted bytes are read rather than making one more
	// request. At 30 ms to the first byte and 100 MB/s a request costs as much
	// time as 3 MB; less is chosen because requests run side by side, while
	// bytes share a line and take memory.
	gapLimit = 512 << 10
	// partLimit is where a read ends although what follows is wanted too, so
	// that large ranges are read in several parts at once. Its bytes take about
	// as long as waiting for the first of them: with parts of half the size
	// twice the requests would save a quarter of the time, with parts of twice
	// the size half of them cost half as much time again.
	partLimit = 4 << 20
)

// coalesce makes few reads of the wanted spans, which must be sorted by their
// start and may overlap: neighbours are read together if the gap between them
// is not larger than gap, and the read not larger than limit. A single larger
// span is a read of its own.
func coalesce(wanted []span, gap, limit int64) []part {
	var parts []part
	for i, w := range wanted {
		if n := len(parts) - 1; n >= 0 {
			if p := &parts[n]; w.from <= p.to+gap && max(p.to, w.to)-p.from <= limit {
				p.to, p.last = max(p.to, w.to), i+1
				continue
			}
		}
		parts = append(parts, part{span: w, first: i, last: i + 1})
	}
	return parts
}
