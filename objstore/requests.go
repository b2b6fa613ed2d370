package objstore

import (
	"context"
	"io"
	"slices"
	"sync/atomic"

	"github.com/varve-tsdb/varve/objstore/internal/around"
)

// operations are all values of Op, in the order in which accounts keep them.
var operations = [...]string{OpIter, OpGet, OpGetRange, OpExists, OpAttributes, OpUpload, OpDelete}

// Account counts what is asked of buckets on behalf of one context: usually of
// one query. Its zero value is empty and ready. All methods may run at once,
// and those that read a nil Account find nothing in it.
type Account struct {
	above *Account // that counts the same, see WithSubaccount

	requests      [len(operations)]atomic.Int64
	read, written atomic.Int64

	cacheHits, cacheBytes atomic.Int64
}

// Requests returns how many operations were begun: all, or those of the given
// Op constants. A list is one operation though it may take several pages.
func (a *Account) Requests(ops ...string) int64 {
	if a == nil {
		return 0
	}
	var n int64
	for i, op := range operations {
		if len(ops) == 0 || slices.Contains(ops, op) {
			n += a.requests[i].Load()
		}
	}
	return n
}

// BytesRead returns how many bytes of bodies have been read.
func (a *Account) BytesRead() int64 {
	if a == nil {
		return 0
	}
	return a.read.Load()
}

// BytesWritten returns how many bytes of their readers the uploads that have
// ended, well or not, had taken.
func (a *Account) BytesWritten() int64 {
	if a == nil {
		return 0
	}
	return a.written.Load()
}

// CacheHits returns how many pieces of objects, of whatever size the cache keeps
// them in, were found in a cache rather than read from a bucket.
func (a *Account) CacheHits() int64 {
	if a == nil {
		return 0
	}
	return a.cacheHits.Load()
}

// CacheBytes returns how many bytes the pieces of CacheHits have.
func (a *Account) CacheBytes() int64 {
	if a == nil {
		return 0
	}
	return a.cacheBytes.Load()
}

// AddCacheHits is for caches: it counts pieces that were found, and their bytes.
// On a nil Account it does nothing.
func (a *Account) AddCacheHits(pieces, bytes int64) {
	for ; a != nil; a = a.above {
		a.cacheHits.Add(pieces)
		a.cacheBytes.Add(bytes)
	}
}

// begun counts an operation, by its place in operations.
func (a *Account) begun(operation int) {
	for ; a != nil; a = a.above {
		a.requests[operation].Add(1)
	}
}

// moved counts bytes of bodies and of uploads.
func (a *Account) moved(read, written int64) {
	for ; a != nil; a = a.above {
		a.read.Add(read)
		a.written.Add(written)
	}
}

type accountKey struct{}

// WithAccount returns a context whose operations on buckets made by
// WithRequests are counted in a. It takes the place of an account that ctx had
// before.
func WithAccount(ctx context.Context, a *Account) context.Context {
	return context.WithValue(ctx, accountKey{}, a)
}

// WithSubaccount returns a context whose operations are counted in a new account
// and, as before, in that of ctx if it has one: for whoever wants to know what a
// part of what is asked for came to.
func WithSubaccount(ctx context.Context) (context.Context, *Account) {
	a := &Account{above: AccountFrom(ctx)}
	return WithAccount(ctx, a), a
}

// AccountFrom returns the account of ctx, nil if it has none.
func AccountFrom(ctx context.Context) *Account {
	a, _ := ctx.Value(accountKey{}).(*Account)
	return a
}

// WithRequests returns b with its operations counted in the account of their
// context, if it has one. Put it below WithRetry and caches, so that it sees
// what really reaches the bucket.
func WithRequests(b Bucket) InstrumentedBucket {
	return &around.Bucket{Bucket: b, Start: func(ctx context.Context, call around.Call) (around.Pass, error) {
		a := AccountFrom(ctx)
		if a == nil {
			return around.Plain{}, nil
		}
		if i := slices.Index(operations[:], call.Op); i >= 0 {
			a.begun(i)
		}
		return &accounting{a: a}, nil
	}}
}

type accounting struct {
	around.Plain
	a     *Account
	taken func() int64 // of an upload
}

func (p *accounting) Source(r io.Reader) io.Reader {
	r, p.taken = around.Count(r)
	return r
}

func (p *accounting) End(err error) error {
	if p.taken != nil {
		p.a.moved(0, p.taken())
	}
	return err
}

func (p *accounting) Body(rc io.ReadCloser) io.ReadCloser {
	return around.TapBody(rc, func(n int, err error) error {
		p.a.moved(int64(n), 0)
		return err
	}, nil)
}
