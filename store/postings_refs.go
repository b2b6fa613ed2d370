package store

import (
	"context"
	"encoding/binary"
	"runtime"
	"slices"

	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/index"

	"github.com/varve-tsdb/varve/internal/indexheader"
	"github.com/varve-tsdb/varve/internal/readcost"
)

// seriesRef is a reference to a series as postings lists have it: four bytes, of
// which a query over many blocks holds very many.
type seriesRef uint32

// offset is where the series' entry begins in the index.
func (r seriesRef) offset() int64 { return int64(r) * seriesAlign }

// refBytes is the size of a seriesRef.
const refBytes = 4

// expandStep is how many references are taken between looks at the context and
// the budget.
const expandStep = 1 << 13

// decodeRefs decodes the content of one list, whose memory is in hold.
func decodeRefs(content []byte, hold *readcost.Charge) ([]seriesRef, error) {
	content = content[4:] // the count, which was checked
	if err := hold.Take(int64(len(content))); err != nil {
		return nil, err
	}
	refs := make([]seriesRef, len(content)/refBytes)
	for i := range refs {
		refs[i] = seriesRef(binary.BigEndian.Uint32(content[refBytes*i:]))
		if i%expandStep == 0 {
			runtime.Gosched() // see readcost.Pace
		}
	}
	return refs, nil
}

// expand lists postings, whose memory is in hold. known is how many there are,
// 0 if nobody knows.
func expand(ctx context.Context, p index.Postings, known int, hold *readcost.Charge) ([]seriesRef, error) {
	if err := hold.Take(refBytes * int64(known)); err != nil {
		return nil, err
	}
	refs := make([]seriesRef, 0, known)
	for p.Next() {
		if len(refs) == cap(refs) {
			more := max(len(refs)/2, expandStep)
			if err := hold.Take(refBytes * int64(more)); err != nil {
				return nil, err
			}
			refs = slices.Grow(refs, more)
		}
		refs = append(refs, seriesRef(p.At()))
		if len(refs)%expandStep == 0 {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			runtime.Gosched() // see readcost.Pace
		}
	}
	if p.Err() != nil {
		return nil, p.Err()
	}
	return refs, ctx.Err()
}

// refCount is how many references the lists have, by their size. Each has length,
// count and checksum beside them.
func refCount(lists []indexheader.Range) (n int64) {
	for _, l := range lists {
		n += max(l.Len()-12, 0) / refBytes
	}
	return n
}

// refPostings shows references as postings.
type refPostings struct {
	refs    []seriesRef // the current one is the first
	started bool
}

// Next moves to the next reference.
func (p *refPostings) Next() bool {
	if p.started && len(p.refs) > 0 {
		p.refs = p.refs[1:]
	}
	p.started = true
	return len(p.refs) > 0
}

// Seek moves to the first reference from at on, if the current one is before it.
func (p *refPostings) Seek(at storage.SeriesRef) bool {
	p.started = true
	n, _ := slices.BinarySearchFunc(p.refs, at, func(r seriesRef, at storage.SeriesRef) int {
		switch {
		case storage.SeriesRef(r) < at:
			return -1
		case storage.SeriesRef(r) > at:
			return 1
		}
		return 0
	})
	p.refs = p.refs[n:]
	return len(p.refs) > 0
}

// At returns the current reference.
func (p *refPostings) At() storage.SeriesRef { return storage.SeriesRef(p.refs[0]) }

// Err returns nil.
func (p *refPostings) Err() error { return nil }
