package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	"golang.org/x/sync/errgroup"

	"github.com/varve-tsdb/varve/internal/readcost"
	"github.com/varve-tsdb/varve/internal/upto"
	"github.com/varve-tsdb/varve/objstore"
)

// blockObject is an object of a block, as it is read from.
type blockObject struct {
	name    string
	version string
	size    int64 // in bytes, 0 if unknown
}

// bridge is how many unwanted bytes between two spans are handed over with
// them rather than skipped.
const bridge = 4 << 10

// memory is what readSpans takes for the wanted spans.
func (s *source) memory(wanted []span) (n int64) {
	if s.ranges == nil {
		return memoryOf(coalesce(wanted, bridge, math.MaxInt64))
	}
	end, page := int64(0), s.ranges.PageSize()
	for _, w := range wanted {
		from, to := w.from/page*page, (w.to+page-1)/page*page
		n += max(to-max(from, end), 0)
		end = max(end, to)
	}
	return n
}

// memoryOf is what the bytes of parts take.
func memoryOf(parts []part) (n int64) {
	for _, p := range parts {
		n += p.len()
	}
	return n
}

// readSpans reads the wanted spans of an object, which must be sorted by their
// start, in few requests, and hands them to use in parts, each with its bytes.
// use may be called concurrently, and again for a part that it refused. Where
// the object ends early the bytes are fewer. They must not be changed. It returns
// soon after ctx has ended, whatever the bucket does.
func (s *source) readSpans(ctx context.Context, data string, object blockObject, wanted []span, use func(part, []byte) error) error {
	for _, w := range wanted {
		if w.from < 0 || w.len() <= 0 {
			return corrupt("the bytes from %d to %d are referred to", w.from, w.to)
		}
	}
	parts := coalesce(wanted, gapLimit, partLimit)
	cost := readcost.From(ctx)
	if data != dataHeader { // headers are for all queries, whatever one may read
		if err := cost.Fetch(memoryOf(parts)); err != nil {
			return err
		}
	}
	computed := func(p part, b []byte) error {
		if err := cost.Begin(ctx); err != nil {
			return err
		}
		defer cost.End()
		return use(p, b)
	}
	if s.ranges != nil {
		return s.readRanges(ctx, data, object, wanted, computed)
	}
	return s.readParts(ctx, data, object.name, wanted, parts, computed)
}

// readRanges is readSpans for a bucket that remembers. It decides itself what to
// read: it knows which of the wanted bytes are missing, and does not read gaps
// between what it has.
func (s *source) readRanges(ctx context.Context, data string, object blockObject, wanted []span, use func(part, []byte) error) error {
	ranges := make([]objstore.Range, len(wanted))
	for i, w := range wanted {
		ranges[i] = objstore.Range{From: w.from, To: w.to}
	}
	// Only what this read finds in the cache counts as its kind of data.
	ctx, found := objstore.WithSubaccount(ctx)
	defer func() {
		readcost.From(ctx).Hits(kindOf(data), found.CacheHits(), found.CacheBytes())
	}()
	return s.ranges.ReadRanges(ctx, objstore.RangesRequest{
		Name: object.name, Version: object.version, Size: object.size, Kind: data,
		Ranges: ranges, Gap: gapLimit, Most: partLimit,
		Open: func(ctx context.Context, off, length int64) (io.ReadCloser, error) {
			return s.open(ctx, data, object.name, span{off, off + length})
		},
	}, func(first, last int, b []byte) error {
		from := wanted[first].from
		return use(part{span: span{from, from + int64(len(b))}, first: first, last: last}, b)
	})
}

// readParts reads parts of an object side by side, and hands what is wanted of
// each to use.
func (s *source) readParts(ctx context.Context, data, object string, wanted []span, parts []part, use func(part, []byte) error) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, p := range parts {
		group.Go(func() error {
			pieces := coalesce(wanted[p.first:p.last], bridge, math.MaxInt64)
			contents, err := abandonable(ctx, func() ([][]byte, error) { return s.readPieces(ctx, data, object, p.span, pieces) })
			if err != nil {
				return err
			}
			for i, piece := range pieces {
				piece.first, piece.last = piece.first+p.first, piece.last+p.first
				if err := use(piece, contents[i]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// readPieces reads a range, of which it returns what is in the pieces, which are
// sorted.
//
// What lies between is read over without being kept: a count over a scattered
// job reads fifty megabytes to use a few hundred kilobytes.
func (s *source) readPieces(ctx context.Context, data, object string, sp span, pieces []part) ([][]byte, error) {
	r, err := s.open(ctx, data, object, sp)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	contents := make([][]byte, len(pieces))
	at := sp.from
	for i, piece := range pieces {
		if skip := piece.from - at; skip > 0 {
			if _, err := io.CopyN(io.Discard, r, skip); err != nil && !errors.Is(err, io.EOF) {
				return nil, fmt.Errorf("at %d: %w", at, err)
			}
		}
		if contents[i], err = upto.Read(r, piece.len()); err != nil {
			return nil, err
		}
		at = piece.to
	}
	return contents, nil
}
