package dedup

import (
	"sync/atomic"

	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/varve-tsdb/varve/internal/chunkread"
)

// What is handed on is decoded at once by who reads it, too: that wins back what
// it took to choose. What was decoded for choosing is not decoded again if it is
// read before the next chunk is asked for, as most readers do.

// floatsChunk is a chunk that was handed on undecoded.
type floatsChunk struct{ *chunkenc.XORChunk }

// Iterator returns one over the samples that are there now.
func (c floatsChunk) Iterator(it chunkenc.Iterator) chunkenc.Iterator {
	f := floatsIteratorOf(it)
	f.reset(c.Bytes())
	return f
}

func floatsIteratorOf(it chunkenc.Iterator) *floatsIterator {
	if f, ok := it.(*floatsIterator); ok {
		return f
	}
	return &floatsIterator{}
}

// floats are the decoded samples of a chunk. They have one owner at a time.
type floats struct {
	of  chunkenc.Chunk // whose, if they are on loan
	all []chunkread.Sample
}

// loan is a place for samples that another iterator may take, and leave its own
// memory in exchange, at any time and on any goroutine.
type loan struct{ atomic.Pointer[floats] }

// lentChunk is a chunk that was decoded to the end and handed on.
type lentChunk struct {
	chunkenc.Chunk
	from *loan
}

// lend gives the samples of chunk, all of which f has come past, to whoever reads
// the returned chunk before f is reset.
func (f *floatsIterator) lend(chunk chunkenc.Chunk) chunkenc.Chunk {
	if f.lent == nil {
		f.lent = &loan{}
	}
	f.own.of = chunk
	f.lent.Store(f.own)
	f.all, f.next, f.own = nil, 0, nil
	if len(f.block) == cap(f.block) {
		f.block = make([]lentChunk, 0, min(2*cap(f.block)+1, 16))
	}
	f.block = append(f.block, lentChunk{chunk, f.lent})
	return &f.block[len(f.block)-1]
}

// endLoan takes back what was lent, or what was left for it.
func (f *floatsIterator) endLoan() {
	if f.own == nil && f.lent != nil {
		f.own = f.lent.Swap(nil)
	}
}

// endLoans takes back what was lent, for the next series: those who keep chunks
// would keep it, too.
func (m *merger) endLoans() {
	for _, list := range [][]*lane{m.lanes, m.spare} {
		for _, l := range list {
			l.samples.floats.endLoan()
		}
	}
}

// Iterator returns one over the samples that are there now.
func (c *lentChunk) Iterator(it chunkenc.Iterator) chunkenc.Iterator {
	f := floatsIteratorOf(it)
	if !f.take(c) {
		f.reset(c.Bytes())
	}
	return f
}

// take exchanges the memory of f for the samples of c, if they still are there.
func (f *floatsIterator) take(c *lentChunk) bool {
	lent := c.from.Swap(nil)
	if lent == nil {
		return false
	}
	if lent.of != c.Chunk || len(lent.all) != c.NumSamples() {
		c.from.CompareAndSwap(nil, lent)
		return false
	}
	if lent.of = nil; f.own != nil {
		c.from.CompareAndSwap(nil, f.own)
	}
	f.own = lent
	f.all, f.next, f.err = lent.all, 0, nil
	return true
}
