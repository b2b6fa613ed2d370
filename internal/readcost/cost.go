package readcost

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Cost is what one read has cost so far, and what it holds of a Budget. Make one
// with Budget.Open. All methods may run at once, and do nothing on a nil Cost. None
// allocates but Report and those that refuse, for what they return.
type Cost struct {
	budget    *Budget
	computing chan struct{} // one element for each goroutine that does

	fetched    [kinds]fetched
	considered atomic.Int64
	skipped    [skips]atomic.Int64
	read       seen
	returned   seen
	took       [steps]atomic.Int64 // nanoseconds
	touched    atomic.Bool         // by a store
	keeps      atomic.Bool

	mu       sync.Mutex // guards what follows
	inUse    [uses]int64
	used     int64 // sum of inUse
	peak     int64
	promised int64
	blocks   int64
	asked    int64 // bytes to fetch
	refused  *LimitError
	closed   bool
}

type fetched struct {
	requests, bytes    atomic.Int64
	hits, bytesFromHit atomic.Int64
}

type seen struct{ series, chunks, samples atomic.Int64 }

type key struct{}

// With returns a context that carries c.
func With(ctx context.Context, c *Cost) context.Context {
	return context.WithValue(ctx, key{}, c)
}

// From returns the Cost that ctx carries, or nil.
func From(ctx context.Context) *Cost {
	c, _ := ctx.Value(key{}).(*Cost)
	return c
}

// Requests notes n requests of a bucket, none if that is not positive.
func (c *Cost) Requests(k Kind, n int64) {
	if c != nil && n > 0 {
		c.fetched[k].requests.Add(n)
		c.touched.Store(true)
	}
}

// Bytes notes what came of requests.
func (c *Cost) Bytes(k Kind, n int64) {
	if c != nil {
		c.fetched[k].bytes.Add(n)
	}
}

// Hits notes pieces of objects that were found in a cache, and their size
// together.
func (c *Cost) Hits(k Kind, pieces, bytes int64) {
	if c != nil && pieces > 0 {
		c.fetched[k].hits.Add(pieces)
		c.fetched[k].bytesFromHit.Add(bytes)
		c.touched.Store(true)
	}
}

// Considered notes n blocks among which a selector looked for those to read.
func (c *Cost) Considered(n int) {
	if c != nil {
		c.considered.Add(int64(n))
		c.touched.Store(true)
	}
}

// Skipped notes n blocks that were considered and not read.
func (c *Cost) Skipped(why Skip, n int) {
	if c != nil {
		c.skipped[why].Add(int64(n))
	}
}

// Read notes series and chunks that were read from blocks.
func (c *Cost) Read(series, chunks int) {
	if c != nil {
		c.read.series.Add(int64(series))
		c.read.chunks.Add(int64(chunks))
	}
}

// Took notes time spent on a step. Steps of several blocks run side by side, so
// that their sum may exceed the time of the read.
func (c *Cost) Took(s Step, d time.Duration) {
	if c != nil {
		c.took[s].Add(int64(d))
	}
}

// Keep says that the reader will keep all series and chunks until the query
// ends, as a PromQL engine does, so that what cannot fit is refused before it is
// fetched.
func (c *Cost) Keep() {
	if c != nil {
		c.keeps.Store(true)
	}
}

// Keeps tells whether Keep was called.
func (c *Cost) Keeps() bool { return c != nil && c.keeps.Load() }
