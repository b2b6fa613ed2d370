package store

import (
	"cmp"
	"context"
	"encoding/binary"
	"hash/crc32"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/encoding"
	"github.com/prometheus/prometheus/tsdb/index"

	"github.com/varve-tsdb/varve/internal/indexheader"
	"github.com/varve-tsdb/varve/internal/readcost"
)

// castagnoli is the polynomial of every checksum in a block.
func castagnoli(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// postings returns the references of the series that match, in ascending
// order, which is that of their labels. Their memory is in hold.
func (r *blockReader) postings(ctx context.Context, matchers []*labels.Matcher, hold *readcost.Charge) ([]seriesRef, error) {
	header, err := r.header(ctx)
	if err != nil {
		return nil, err
	}
	lists := readcost.Charge{Cost: readcost.From(ctx), Use: readcost.PostingsInFlight}
	defer lists.Free()
	plan, err := planPostings(header, matchers, planCosts{}, &lists)
	if err != nil {
		return nil, r.block.indexFault(ctx, header, err)
	}
	return r.planned(ctx, header, plan, hold)
}

// planned returns the references that a plan leads to.
func (r *blockReader) planned(ctx context.Context, header *indexheader.Reader, plan postingsPlan, hold *readcost.Charge) ([]seriesRef, error) {
	if plan.empty {
		return nil, nil
	}
	lists := newPostingsLists(plan)
	defer lists.free()
	if err := r.fetchPostings(ctx, header, lists); err != nil {
		return nil, err
	}
	cost := readcost.From(ctx)
	if err := cost.Begin(ctx); err != nil {
		return nil, err
	}
	began := time.Now()
	refs, err := lists.evaluate(ctx, plan, hold)
	if err == nil {
		err = checkRefs(refs, header.Series())
	}
	cost.End()
	cost.Took(readcost.Decode, time.Since(began))
	if err != nil {
		return nil, r.block.indexFault(ctx, header, err)
	}
	r.block.src.metrics.postponed.Add(float64(len(plan.postponed)))
	return refs, nil
}

// checkRefs makes sure that following the references leads to series.
func checkRefs(refs []seriesRef, series indexheader.Range) error {
	for i, ref := range refs {
		if offset := int64(ref) * seriesAlign; offset < series.Start || offset >= series.End || i > 0 && ref <= refs[i-1] {
			return corrupt("a postings list refers to a series at %d, which is out of order or out of [%d,%d)", offset, series.Start, series.End)
		}
	}
	return nil
}

// postingsLists are the lists a plan needs, each once.
type postingsLists struct {
	ranges  []indexheader.Range // sorted by start
	content [][]byte            // of each: the number of references, and these
	hold    readcost.Charge
}

// free gives back the memory of the lists.
func (l *postingsLists) free() { l.hold.Free() }

func newPostingsLists(plan postingsPlan) *postingsLists {
	ranges := slices.Concat(slices.Concat(plan.intersect...), plan.subtract)
	slices.SortFunc(ranges, func(a, b indexheader.Range) int { return cmp.Compare(a.Start, b.Start) })
	ranges = slices.Compact(ranges)
	return &postingsLists{ranges: ranges, content: make([][]byte, len(ranges))}
}

// fetchPostings reads the lists.
func (r *blockReader) fetchPostings(ctx context.Context, header *indexheader.Reader, lists *postingsLists) error {
	wanted := make([]span, len(lists.ranges))
	for i, rng := range lists.ranges {
		wanted[i] = span{rng.Start, rng.End}
	}
	if err := r.block.src.quarantine.known(r.block, r.block.indexObject(), wanted); err != nil {
		return err
	}
	cost := readcost.From(ctx)
	lists.hold = readcost.Charge{Cost: cost, Use: readcost.PostingsInFlight}
	if err := lists.hold.Take(r.block.src.memory(wanted)); err != nil {
		return err
	}
	began := time.Now()
	err := r.block.src.readSpans(ctx, dataPostings, r.block.index(), wanted, func(p part, b []byte) error {
		for i := p.first; i < p.last; i++ {
			list := cut(b, p.span, wanted[i])
			if int64(len(list)) < wanted[i].len() {
				return postingsFault(wanted[i].from, ErrTruncated)
			}
			content, err := decodePostings(list)
			if err != nil {
				return postingsFault(wanted[i].from, err)
			}
			lists.content[i] = content
		}
		return nil
	})
	cost.Took(readcost.FetchPostings, time.Since(began))
	return r.block.indexFault(ctx, header, err)
}

// cut returns the wanted bytes of those that were read from a part on, fewer
// if the object ended.
func cut(b []byte, read, wanted span) []byte {
	from := min(wanted.from-read.from, int64(len(b)))
	to := min(wanted.to-read.from, int64(len(b)))
	return b[from:to]
}

// decodePostings checks a list and returns what is between its length and its
// checksum.
func decodePostings(b []byte) ([]byte, error) {
	if len(b) < 12 {
		return nil, corrupt("a postings list has only %d bytes", len(b))
	}
	length := int64(binary.BigEndian.Uint32(b))
	if length+8 > int64(len(b)) || length < 4 {
		return nil, corrupt("a postings list claims %d bytes in %d", length, len(b))
	}
	content, sum := b[4:4+length], b[4+length:]
	if castagnoli(content) != binary.BigEndian.Uint32(sum) {
		return nil, corrupt("a postings list fails its checksum")
	}
	if n := int64(binary.BigEndian.Uint32(content)); 4*n != length-4 {
		return nil, corrupt("a postings list claims %d references in %d bytes", n, length-4)
	}
	return content, nil
}

func (l *postingsLists) get(rng indexheader.Range) index.Postings {
	i, _ := slices.BinarySearchFunc(l.ranges, rng, func(a, b indexheader.Range) int { return cmp.Compare(a.Start, b.Start) })
	_, list, err := index.DecodePostingsRaw(encoding.Decbuf{B: l.content[i]})
	if err != nil {
		return index.ErrPostings(err)
	}
	return list
}

func (l *postingsLists) union(ctx context.Context, ranges []indexheader.Range) index.Postings {
	all := make([]index.Postings, len(ranges))
	for i, rng := range ranges {
		all[i] = l.get(rng)
	}
	return index.Merge(ctx, all...)
}

// only returns the content of the one list that is the answer, if that is so.
func (l *postingsLists) only(plan postingsPlan) []byte {
	if len(plan.intersect) == 1 && len(plan.intersect[0]) == 1 && len(plan.subtract) == 0 {
		return l.content[0]
	}
	return nil
}

// evaluate does the plan's set operations. The memory of the result is in hold.
func (l *postingsLists) evaluate(ctx context.Context, plan postingsPlan, hold *readcost.Charge) ([]seriesRef, error) {
	groups := make([]index.Postings, len(plan.intersect))
	for i, group := range plan.intersect {
		groups[i] = l.union(ctx, group)
	}
	result := index.Intersect(groups...)
	if len(plan.subtract) > 0 {
		result = index.Without(result, l.union(ctx, plan.subtract))
	}
	if list := l.only(plan); list != nil {
		return decodeRefs(list, hold)
	}
	known := 0
	if len(plan.intersect) == 1 && len(plan.subtract) == 0 {
		known = int(refCount(plan.intersect[0]))
	}
	return expand(ctx, result, known, hold)
}
