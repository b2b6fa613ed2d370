package objstoretest

import (
	"context"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/internal/around"
)

// Rule says which operations meet with which fault.
type Rule struct {
	// Op is one of the Op constants of package objstore. Empty means all.
	Op string
	// Name is a piece of text that the name of the object, or of the directory
	// of a list, must contain. Empty fits all.
	Name string
	// Match, unless nil, must hold as well.
	Match func(op, name string) bool
	// Skip is how many fitting operations pass before the fault strikes.
	Skip int
	// Times is how often the fault strikes before the rule is spent. Zero means
	// always.
	Times int
	// Fault is what happens.
	Fault Fault
}

// Fault is something that goes wrong with an operation. Make one with Fail,
// Lose, Stall, Hold, Delay, Truncate, Break, StallAfter or Flip.
type Fault struct {
	before func(ctx context.Context) error
	after  error
	bytes  func(ctx context.Context, r io.Reader) io.Reader
}

// Fail fails the operation with err; nothing reaches the bucket below.
func Fail(err error) Fault {
	return Fault{before: func(context.Context) error { return err }}
}

// Lose carries the operation out and then fails with err, like an answer that
// gets lost on its way.
func Lose(err error) Fault { return Fault{after: err} }

// Stall blocks until the context of the operation is done.
func Stall() Fault { return Hold(nil) }

// Hold blocks until ch is closed, and then lets the operation pass, or until
// the context of the operation is done.
func Hold(ch <-chan struct{}) Fault {
	return Fault{before: func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ch:
			return nil
		}
	}}
}

// Delay lets the operation pass after d.
func Delay(d time.Duration) Fault {
	return Fault{before: func(ctx context.Context) error { return around.Pause(ctx, d) }}
}

// Truncate ends the body of a get or get_range after n bytes as if it were
// whole, though it still announces its full size. An upload stores the first n
// bytes and succeeds.
func Truncate(n int64) Fault {
	return Fault{bytes: func(_ context.Context, r io.Reader) io.Reader { return io.LimitReader(r, n) }}
}

// Break fails the body of a get or get_range, or the reader of an upload, with
// err after n bytes.
func Break(n int64, err error) Fault {
	return Fault{bytes: func(_ context.Context, r io.Reader) io.Reader {
		return io.MultiReader(io.LimitReader(r, n), failingReader{err})
	}}
}

// StallAfter blocks the body of a get or get_range, or the reader of an upload,
// after n bytes until the context of the operation is done.
func StallAfter(n int64) Fault {
	return Fault{bytes: func(ctx context.Context, r io.Reader) io.Reader {
		return io.MultiReader(io.LimitReader(r, n), stallingReader{ctx})
	}}
}

// Flip inverts the lowest bit of the byte at offset off, counted from the
// first byte of the body or of the upload.
func Flip(off int64) Fault {
	return Fault{bytes: func(_ context.Context, r io.Reader) io.Reader { return &flippingReader{r: r, left: off} }}
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }

// A context in a struct is the price of io.Reader having none.
type stallingReader struct{ ctx context.Context }

func (r stallingReader) Read([]byte) (int, error) {
	<-r.ctx.Done()
	return 0, r.ctx.Err()
}

type flippingReader struct {
	r    io.Reader
	left int64
}

func (r *flippingReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if r.left >= 0 && r.left < int64(n) {
		p[r.left] ^= 1
	}
	r.left -= int64(n)
	return n, err
}

// Faulty is a Bucket on which operations go wrong by rule. Without rules it is
// the bucket below.
type Faulty struct {
	around.Bucket

	mu    sync.Mutex // rules
	rules []*activeRule

	struck atomic.Int64
}

type activeRule struct {
	Rule
	seen int
}

var _ objstore.InstrumentedBucket = (*Faulty)(nil)

// NewFaulty returns a Bucket around b that has no rules yet.
func NewFaulty(b objstore.Bucket) *Faulty {
	f := &Faulty{Bucket: around.Bucket{Bucket: b}}
	f.Start = f.start
	return f
}

// Set replaces all rules and starts their counts afresh. The first rule that
// fits an operation and is not spent decides about it. Set() heals the bucket.
func (f *Faulty) Set(rules ...Rule) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = nil
	for _, r := range rules {
		f.rules = append(f.rules, &activeRule{Rule: r})
	}
}

// Struck returns how many operations met with a fault since the beginning.
func (f *Faulty) Struck() int { return int(f.struck.Load()) }

func (f *Faulty) start(ctx context.Context, call around.Call) (around.Pass, error) {
	fault, ok := f.find(call)
	if !ok {
		return around.Plain{}, nil
	}
	f.struck.Add(1)
	if fault.before != nil {
		if err := fault.before(ctx); err != nil {
			return nil, err
		}
	}
	return faultyPass{fault: fault, ctx: ctx}, nil
}

func (f *Faulty) find(call around.Call) (Fault, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.rules {
		if r.Times > 0 && r.seen >= r.Skip+r.Times || !r.fits(call) {
			continue
		}
		r.seen++
		if r.seen > r.Skip {
			return r.Fault, true
		}
	}
	return Fault{}, false
}

func (r *activeRule) fits(call around.Call) bool {
	return (r.Op == "" || r.Op == call.Op) &&
		strings.Contains(call.Name, r.Name) &&
		(r.Match == nil || r.Match(call.Op, call.Name))
}

type faultyPass struct {
	around.Plain
	fault Fault
	ctx   context.Context
}

func (p faultyPass) Source(r io.Reader) io.Reader {
	if p.fault.bytes == nil {
		return r
	}
	return p.fault.bytes(p.ctx, r)
}

func (p faultyPass) Body(rc io.ReadCloser) io.ReadCloser {
	if p.fault.bytes == nil {
		return rc
	}
	return objstore.ObjectSizerReadCloser{
		ReadCloser: struct {
			io.Reader
			io.Closer
		}{p.fault.bytes(p.ctx, rc), rc},
		Size: func() (int64, error) { return objstore.ObjectSize(rc) },
	}
}

func (p faultyPass) End(err error) error {
	if err == nil {
		err = p.fault.after
	}
	return err
}
