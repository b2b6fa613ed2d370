package objstoretest

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/internal/around"
)

// ErrCrashed is what everything fails with after the crash.
var ErrCrashed = errors.New("the process has crashed")

// Crashing is a Bucket for a process that is killed in the middle of its work.
// The first n operations reach the bucket below; the one after that, the cut
// one, and all later ones fail with ErrCrashed and change nothing, and bodies
// opened before end with ErrCrashed. Only a cut upload may leave something
// behind: see TearUpload.
//
// A test runs the work with n from 0 upwards until it finishes uncut, and
// looks at the bucket below each time.
type Crashing struct {
	around.Bucket

	mu         sync.Mutex // all below
	left       int
	operations int
	crashed    bool
	tear       bool
}

var _ objstore.InstrumentedBucket = (*Crashing)(nil)

// NewCrashing returns a Bucket that crashes after that many operations on b;
// never, if after is negative.
func NewCrashing(b objstore.Bucket, after int) *Crashing {
	c := &Crashing{Bucket: around.Bucket{Bucket: b}, left: after}
	c.Start = c.start
	return c
}

// TearUpload lets a cut upload leave the first half of its object in the
// bucket, as a store without atomic uploads would. It returns c.
func (c *Crashing) TearUpload() *Crashing {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tear = true
	return c
}

// Crash crashes now.
func (c *Crashing) Crash() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.crashed = true
}

// Crashed says whether the crash has happened.
func (c *Crashing) Crashed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.crashed
}

// Operations returns how many operations reached the bucket below uncut.
func (c *Crashing) Operations() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.operations
}

func (c *Crashing) start(_ context.Context, call around.Call) (around.Pass, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.crashed {
		return nil, ErrCrashed
	}
	if c.left == 0 {
		c.crashed = true
		if c.tear && call.Op == objstore.OpUpload {
			return tearing{}, nil
		}
		return nil, ErrCrashed
	}
	c.left--
	c.operations++
	return living{c: c}, nil
}

// living is a call from before the crash. A dead process learns no outcome,
// and its transfers stop.
type living struct {
	around.Plain
	c *Crashing
}

func (p living) unlessCrashed(err error) error {
	if p.c.Crashed() {
		return ErrCrashed
	}
	return err
}

func (p living) Source(r io.Reader) io.Reader {
	return around.Tap(r, func(_ int, err error) error { return p.unlessCrashed(err) })
}

func (p living) Body(rc io.ReadCloser) io.ReadCloser {
	return around.TapBody(rc, func(_ int, err error) error { return p.unlessCrashed(err) }, nil)
}

func (p living) Entry(next func() error) error {
	if err := p.unlessCrashed(nil); err != nil {
		return err
	}
	return next()
}

func (p living) End(err error) error { return p.unlessCrashed(err) }

// tearing is an upload cut half way.
type tearing struct{ around.Plain }

func (tearing) Source(r io.Reader) io.Reader {
	n, known := around.Size(r)
	if !known {
		n = 2
	}
	return io.LimitReader(r, n/2)
}

func (tearing) End(error) error { return ErrCrashed }
