package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"sync"

	"github.com/varve-tsdb/varve/objstore"
)

// flights are the reads of the bucket that are under way: who wants a page that
// somebody else is fetching waits for that.
type flights struct {
	cache   *shared
	writing sync.WaitGroup // what is being written to disk

	mu     sync.Mutex // guards what follows, and waiters and outdated of flights
	byPage map[pageKey]*flight
	live   map[*flight]struct{} // those that fetch or are being written to disk
	closed bool                 // nothing more is written
	// forgets counts how often pages were taken off the disk so as to be forgotten.
	forgets int
}

// flight is one read of the bucket.
type flight struct {
	object  objectID
	req     objstore.RangesRequest
	numbers []int64 // of the pages that somebody wants, ascending
	waiters int
	// outdated: what is remembered of the object was forgotten since this began, so
	// that it may bring what was to be forgotten. Only those that wait get it.
	outdated bool
	cancel   context.CancelFunc

	done chan struct{} // closed when what follows is set
	err  error
	// contents has of each page what there was of it. It is not remembered
	// unless whole says that nothing is missing.
	contents [][]byte
	whole    []bool
}

func newFlights(c *shared) *flights {
	return &flights{cache: c, byPage: map[pageKey]*flight{}, live: map[*flight]struct{}{}}
}

// close ends what is being fetched and waits for what is being written. A bucket
// that ignores contexts is not waited for: what it still brings is not kept.
func (f *flights) close() {
	f.mu.Lock()
	f.closed = true
	for one := range f.live {
		one.cancel()
	}
	f.mu.Unlock()
	f.writing.Wait()
}

// join finds or starts a flight for each page that r lacks, and returns those
// that r now waits for.
func (f *flights) join(ctx context.Context, r *read) []*flight {
	if !slices.ContainsFunc(r.pages, func(p wantedPage) bool { return !p.found }) {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var joined []*flight
	order := map[*flight]int{}
	var lacking []int
	for i := range r.pages {
		p := &r.pages[i]
		if p.found {
			continue
		}
		// One that reads past what is remembered does not wait for a read that
		// others have begun before, and these wait for it from now on.
		if other := f.byPage[r.key(i)]; other != nil && !r.past {
			if _, known := order[other]; !known {
				other.waiters++
				order[other] = len(joined)
				joined = append(joined, other)
				f.cache.metrics.shared.Inc()
			}
			p.flight, p.order = other, order[other]
			continue
		}
		// A flight that ended since this read looked has left its pages there.
		if !r.past {
			p.content, p.found = f.cache.memory.get(r.key(i))
		}
		if !p.found {
			lacking = append(lacking, i)
		}
	}
	for len(lacking) > 0 {
		n := r.reach(lacking)
		started := f.start(ctx, r, lacking[:n])
		for _, i := range lacking[:n] {
			r.pages[i].flight, r.pages[i].order = started, len(joined)
		}
		joined, lacking = append(joined, started), lacking[n:]
	}
	return joined
}

// reach returns how many of the lacking pages to read in one request.
func (r *read) reach(lacking []int) int {
	number := func(i int) int64 { return r.pages[lacking[i]].number }
	n := 1
	for n < len(lacking) &&
		(number(n)-number(n-1)-1)*pageSize <= r.req.Gap && (number(n)+1-number(0))*pageSize <= max(r.req.Most, pageSize) {
		n++
	}
	return n
}

// start begins a flight for pages of r. f.mu is held.
func (f *flights) start(ctx context.Context, r *read, pages []int) *flight {
	// It outlives the reader that began it if others wait for it too.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	req := r.req
	req.Ranges = nil
	one := &flight{object: r.object, req: req, waiters: 1, cancel: cancel, done: make(chan struct{})}
	for _, i := range pages {
		one.numbers = append(one.numbers, r.pages[i].number)
		f.byPage[r.key(i)] = one
	}
	f.live[one] = struct{}{}
	go func() {
		defer cancel()
		one.err = one.fetch(ctx)
		kept := one.kept()
		// Who has heard of the pages and then calls Close finds them on disk.
		if write := f.landed(one, kept); write {
			defer f.writing.Done()
			close(one.done)
			f.cache.disk.write(one.object, kept)
			f.written(one, kept)
			return
		}
		close(one.done)
	}()
	return one
}

// remove lets nobody join any more. f.mu is held.
func (f *flights) remove(one *flight) {
	for _, number := range one.numbers {
		if key := (pageKey{one.object, number}); f.byPage[key] == one {
			delete(f.byPage, key)
		}
	}
}

// leave says that a reader no longer waits. With the last one a flight ends.
func (f *flights) leave(joined []*flight) {
	if len(joined) == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, one := range joined {
		if one.waiters--; one.waiters == 0 {
			f.remove(one)
			one.cancel()
		}
	}
}

// wait returns when the pages are there.
func (f *flight) wait(ctx context.Context) error {
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// content returns a page of a flight that has ended well.
func (f *flight) content(number int64) []byte {
	i := sort.Search(len(f.numbers), func(i int) bool { return f.numbers[i] >= number })
	return f.contents[i]
}

// fetch reads the pages. What lies between them is read over, through a buffer
// that is used again: a count over a scattered job reads fifty megabytes to use
// a few hundred kilobytes, and setting aside memory for all of it took longer
// than reading it.
func (f *flight) fetch(ctx context.Context) error {
	from, to := f.numbers[0]*pageSize, (f.numbers[len(f.numbers)-1]+1)*pageSize
	if f.req.Size > 0 {
		to = min(to, f.req.Size)
	}
	f.contents, f.whole = make([][]byte, len(f.numbers)), make([]bool, len(f.numbers))
	body, err := f.req.Open(ctx, from, to-from)
	if err != nil {
		return err
	}
	defer body.Close()
	announced := int64(-1)
	if n, err := objstore.ObjectSize(body); err == nil {
		announced = n
	}
	at, gap := from, []byte(nil)
	for i, number := range f.numbers {
		if skip := number*pageSize - at; skip > 0 {
			if gap == nil {
				gap = make([]byte, 4*pageSize)
			}
			n, err := discard(body, skip, gap)
			if at += n; err != nil {
				return f.failed(at, err)
			}
			if n < skip {
				return nil
			}
		}
		content := make([]byte, min(pageSize, to-at))
		n, err := io.ReadFull(body, content)
		at += int64(n)
		f.contents[i] = content[:n:n]
		// A page that is short ends the object only if somebody knows: else it
		// may be that the answer was cut off.
		f.whole[i] = n == pageSize || n > 0 && (at == f.req.Size || f.req.Size == 0 && at-from == announced)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return f.failed(at, err)
		}
	}
	return nil
}

func (f *flight) failed(at int64, err error) error {
	return fmt.Errorf("read %s at %d: %w", f.req.Name, at, err)
}

// discard reads n bytes, fewer if r ends.
func discard(r io.Reader, n int64, buffer []byte) (read int64, err error) {
	for read < n && err == nil {
		var m int
		m, err = r.Read(buffer[:min(n-read, int64(len(buffer)))])
		read += int64(m)
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return read, err
}
