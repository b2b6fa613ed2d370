package cache

import (
	"bytes"
	"context"
	"slices"
	"sort"

	"golang.org/x/sync/errgroup"

	"github.com/varve-tsdb/varve/internal/upto"
	"github.com/varve-tsdb/varve/objstore"
)

// read is one call of ReadRanges.
type read struct {
	cache  *shared
	req    objstore.RangesRequest
	object objectID
	use    func(first, last int, b []byte) error
	pages  []wantedPage // each once, by number
	groups []group
	past   bool // what is remembered, see objstore.WithoutCache
}

// wantedPage is a page that holds some of what is asked for.
type wantedPage struct {
	page
	found  bool
	recall bool    // found in memory or on disk rather than just fetched
	flight *flight // what fetches it, if it was not found
	order  int     // of that among the flights of the read
}

// group is ranges that are handed to the reader together: neighbours within one
// page, or one range that reaches over several.
type group struct {
	first, last int // of the ranges
	from, to    int // of read.pages
	bytes       objstore.Range
}

// newRead finds out which pages hold the ranges.
func newRead(c *shared, req objstore.RangesRequest, use func(first, last int, b []byte) error) *read {
	r := &read{cache: c, req: req, object: newObjectID(req.Name, req.Version), use: use}
	for i, rng := range req.Ranges {
		if req.Size > 0 {
			rng.To = min(rng.To, req.Size)
		}
		g := group{first: i, last: i + 1, bytes: rng}
		if rng.Len() > 0 {
			g.from, g.to = r.want(rng.From/pageSize, (rng.To-1)/pageSize)
		}
		if n := len(r.groups) - 1; n >= 0 && g.to-g.from == 1 {
			// Decoding page by page rather than range by range is what makes
			// ten thousand chunks cheap.
			if before := &r.groups[n]; before.from == g.from && before.to == g.to {
				before.last, before.bytes.To = g.last, max(before.bytes.To, g.bytes.To)
				continue
			}
		}
		r.groups = append(r.groups, g)
	}
	return r
}

// want adds the pages from first to last, and returns where they are.
func (r *read) want(first, last int64) (from, to int) {
	next := first
	if n := len(r.pages); n > 0 {
		next = max(next, r.pages[n-1].number+1)
	}
	for ; next <= last; next++ {
		r.pages = append(r.pages, wantedPage{page: page{number: next}})
	}
	from = sort.Search(len(r.pages), func(i int) bool { return r.pages[i].number >= first })
	return from, from + int(last-first) + 1
}

func (r *read) key(i int) pageKey { return pageKey{r.object, r.pages[i].number} }

// recall looks for the pages in memory, then on disk.
func (r *read) recall(ctx context.Context) {
	hits := hits{metrics: r.cache.metrics, kind: r.req.Kind, account: objstore.AccountFrom(ctx)}
	var missing []*wantedPage
	for i := range r.pages {
		p := &r.pages[i]
		if p.content, p.found = r.cache.memory.get(r.key(i)); p.found {
			p.recall = true
			hits.add(tierMemory, len(p.content))
		} else {
			missing = append(missing, p)
		}
	}
	lacking := len(missing)
	if lacking > 0 {
		since := r.cache.flights.since()
		r.cache.disk.read(r.object, missing)
		var found []page
		for _, p := range missing {
			if p.found {
				p.recall = true
				hits.add(tierDisk, len(p.content))
				found = append(found, p.page)
			}
		}
		lacking -= len(found)
		r.cache.flights.remember(since, r.object, found)
	}
	hits.report(lacking)
}

// run does the whole of it.
func (r *read) run(ctx context.Context) error {
	if r.past = objstore.IsWithoutCache(ctx); r.past {
		r.forget(0, len(r.pages))
		r.cache.metrics.misses.WithLabelValues(r.req.Kind).Add(float64(len(r.pages)))
	} else {
		r.recall(ctx)
	}
	flights := r.cache.flights.join(ctx, r)
	defer r.cache.flights.leave(flights)

	// What is there is handed over while the rest is on its way, and that part
	// by part as it arrives: behind the last flight that a group needs.
	behind := make([][]group, len(flights)+1)
	for _, g := range r.groups {
		n := 0
		for _, p := range r.pages[g.from:g.to] {
			if p.flight != nil {
				n = max(n, p.order+1)
			}
		}
		behind[n] = append(behind[n], g)
	}
	if len(flights) == 0 {
		return r.deliver(ctx, behind[0])
	}
	all, ctx := errgroup.WithContext(ctx)
	for n, groups := range behind {
		all.Go(func() error {
			if n > 0 {
				if err := flights[n-1].wait(ctx); err != nil {
					return err
				}
			}
			return r.deliver(ctx, groups)
		})
	}
	return all.Wait()
}

// deliver hands groups to the reader. Of the flights that they need at most the
// last may be known to have ended.
func (r *read) deliver(ctx context.Context, groups []group) error {
	for _, g := range groups {
		b, recalled, err := r.bytes(ctx, g)
		if err != nil {
			return err
		}
		if err := r.use(g.first, g.last, b); err != nil {
			if !recalled || ctx.Err() != nil {
				return err
			}
			if err := r.again(ctx, g, err); err != nil {
				return err
			}
		}
	}
	return nil
}

// bytes returns what a group asks for, and whether some of it was remembered.
func (r *read) bytes(ctx context.Context, g group) (b []byte, recalled bool, err error) {
	var parts [][]byte
	for i, p := range r.pages[g.from:g.to] {
		if p.flight != nil {
			if err := p.flight.wait(ctx); err != nil {
				return nil, false, err
			}
			p.content = p.flight.content(p.number)
		}
		recalled = recalled || p.recall
		from := max(g.bytes.From-p.number*pageSize, 0)
		to := min(g.bytes.To-p.number*pageSize, int64(len(p.content)))
		part := p.content[min(from, to):to:to]
		if g.to-g.from == 1 {
			if 8*len(part) < 7*len(p.content) {
				// The reader may keep a chunk for long. It shall not keep a
				// page that is forgotten meanwhile.
				part = bytes.Clone(part)
			}
			return part, recalled, nil
		}
		parts = append(parts, part)
		if len(p.content) < pageSize && i < g.to-g.from-1 {
			break // the object ends
		}
	}
	return slices.Concat(parts...), recalled, nil
}

// again forgets pages that made no sense to the reader, and reads once past the
// memory: it may be that what is remembered is broken, or that somebody replaced
// the object without a new version.
func (r *read) again(ctx context.Context, g group, cause error) error {
	r.cache.contradicted(r.req, cause)
	r.forget(g.from, g.to)
	b, err := r.open(ctx, g.bytes)
	if err != nil {
		return err
	}
	return r.use(g.first, g.last, b)
}

// forget pages of the read, from the first to before the last.
func (r *read) forget(first, last int) {
	if first == last {
		return
	}
	r.cache.flights.outdate(r.object)
	var numbers []int64
	for _, p := range r.pages[first:last] {
		numbers = append(numbers, p.number)
	}
	for first < last {
		n := first + 1
		for n < last && segmentOf(r.pages[n].number) == segmentOf(r.pages[first].number) {
			n++
		}
		r.cache.disk.forget(r.object, r.pages[first].number, r.pages[n-1].number)
		first = n
	}
	r.cache.flights.forgotten(r.object, numbers)
}

// open reads a range of the bucket, and waits for it no longer than ctx lasts,
// though the bucket may not heed that.
func (r *read) open(ctx context.Context, rng objstore.Range) ([]byte, error) {
	type answer struct {
		b   []byte
		err error
	}
	answers := make(chan answer, 1)
	go func() {
		body, err := r.req.Open(ctx, rng.From, rng.Len())
		if err != nil {
			answers <- answer{err: err}
			return
		}
		defer body.Close()
		b, err := upto.Read(body, rng.Len())
		answers <- answer{b, err}
	}()
	select {
	case a := <-answers:
		return a.b, a.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
