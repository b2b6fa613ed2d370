package objstore_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

// paced answers the n-th ranged read after pace(n), counted from zero, or with
// its error. It counts open bodies.
type paced struct {
	*objstoretest.Memory
	pace func(n int64) (time.Duration, error)
	n    atomic.Int64
	open atomic.Int64
	lazy bool // waits in the body
}

func (p *paced) GetRange(ctx context.Context, name string, off, length int64) (io.ReadCloser, error) {
	wait, err := p.pace(p.n.Add(1) - 1)
	pause := func() error {
		select {
		case <-time.After(wait):
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if !p.lazy {
		if err := pause(); err != nil {
			return nil, err
		}
	}
	rc, openErr := p.Memory.GetRange(ctx, name, off, length)
	if openErr != nil {
		return nil, openErr
	}
	p.open.Add(1)
	body := &pacedBody{ReadCloser: rc, p: p}
	if p.lazy {
		body.first = pause
	}
	return body, nil
}

type pacedBody struct {
	io.ReadCloser
	p     *paced
	first func() error
}

func (b *pacedBody) Read(p []byte) (int, error) {
	if b.first != nil {
		if err := b.first(); err != nil {
			return 0, err
		}
		b.first = nil
	}
	return b.ReadCloser.Read(p)
}

func (b *pacedBody) Close() error {
	b.p.open.Add(-1)
	return b.ReadCloser.Close()
}

func newPaced(pace func(n int64) (time.Duration, error)) *paced {
	p := &paced{Memory: objstoretest.NewMemory(), pace: pace}
	p.Put("object", []byte(strings.Repeat("0123456789", 2000)))
	return p
}

func rangeOf(t *testing.T, ctx context.Context, b objstore.Bucket) error {
	t.Helper()
	rc, err := b.GetRange(ctx, "object", 3, 15_000)
	if err != nil {
		return err
	}
	got, err := io.ReadAll(rc)
	if err == nil && string(got) != strings.Repeat("3456789012", 1500) {
		t.Errorf("got %d other bytes", len(got))
	}
	return errors.Join(err, rc.Close())
}

func TestSlowReadsAreHedged(t *testing.T) {
	for name, lazy := range map[string]bool{"slow to answer": false, "slow to the first byte": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				// Every hundredth takes ten seconds, the others 30 to 40 ms.
				p := newPaced(func(n int64) (time.Duration, error) {
					if n%100 == 99 {
						return 10 * time.Second, nil
					}
					return time.Duration(30_000+n*7919%10_000) * time.Microsecond, nil
				})
				p.lazy = lazy
				reg := prometheus.NewRegistry()
				b := hedged(t, p, objstore.HedgeOptions{Registerer: reg})
				var longest time.Duration
				const reads = 1000
				for range reads {
					began := time.Now()
					if err := rangeOf(t, t.Context(), b); err != nil {
						t.Fatal(err)
					}
					longest = max(longest, time.Since(began))
				}
				if longest > 200*time.Millisecond {
					t.Errorf("the longest read took %s", longest)
				}
				if extra := p.n.Load() - reads; extra < 10 || extra > reads/20+10 {
					t.Errorf("%d second requests for %d reads", extra, reads)
				}
				if n, err := testutil.GatherAndCount(reg, "varve_objstore_hedges_total"); n != 3 || err != nil {
					t.Errorf("%d, %v", n, err)
				}
				if err := b.Close(); err != nil || p.open.Load() != 0 {
					t.Errorf("%d bodies were left open, %v", p.open.Load(), err)
				}
			})
		})
	}
}

// When everything has become slow, second requests must not double the load.
func TestHedgesAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPaced(func(n int64) (time.Duration, error) {
			if n < 40 {
				return 10 * time.Millisecond, nil
			}
			return time.Duration(n) * time.Second, nil // ever slower than it was
		})
		b := hedged(t, p, objstore.HedgeOptions{MaxShare: 0.1})
		for range 40 + 200 {
			if err := rangeOf(t, t.Context(), b); err != nil {
				t.Fatal(err)
			}
		}
		if extra := p.n.Load() - 240; extra > 24 {
			t.Errorf("%d second requests for 240 reads", extra)
		}
		b.Close()
	})
}

func TestHedgedFailures(t *testing.T) {
	failed := errors.New("failed")
	for name, c := range map[string]struct {
		first, second time.Duration
		firstErr      error
		secondErr     error
		want          error
	}{
		"the first fails before there is a second": {first: time.Millisecond, firstErr: failed, want: failed},
		"the first fails, the second does not":     {first: time.Second, firstErr: failed, second: 2 * time.Second},
		"the second fails, the first does not":     {first: 2 * time.Second, second: time.Second, secondErr: failed},
		"both fail":                                {first: time.Second, firstErr: failed, second: time.Second, secondErr: failed, want: failed},
		"the caller gives up":                      {first: time.Hour, second: time.Hour, want: context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPaced(func(n int64) (time.Duration, error) {
					switch n {
					case 40:
						return c.first, c.firstErr
					case 41:
						return c.second, c.secondErr
					}
					if n < 32 {
						return 30 * time.Millisecond, nil
					}
					return 10 * time.Millisecond, nil
				})
				b := hedged(t, p, objstore.HedgeOptions{MaxShare: 1})
				for range 40 {
					if err := rangeOf(t, t.Context(), b); err != nil {
						t.Fatal(err)
					}
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if err := rangeOf(t, ctx, b); !errors.Is(err, c.want) || c.want == nil && err != nil {
					t.Errorf("got %v, want %v", err, c.want)
				}
				if err := b.Close(); err != nil || p.open.Load() != 0 {
					t.Errorf("%d bodies were left open, %v", p.open.Load(), err)
				}
			})
		})
	}
}

// deafBucket does not heed the end of a context.
type deafBucket struct {
	*objstoretest.Memory
	release chan struct{}
}

func (b deafBucket) GetRange(context.Context, string, int64, int64) (io.ReadCloser, error) {
	<-b.release
	return nil, errors.New("released")
}

// A request that hangs, whatever becomes of its context, does not hold up Close.
func TestCloseWithARequestThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		deaf := deafBucket{objstoretest.NewMemory(), make(chan struct{})}
		b, err := objstore.WithHedging(deaf, objstore.HedgeOptions{})
		if err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = b.GetRange(t.Context(), "object", 0, 1) }()
		synctest.Wait()
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		}()
		time.Sleep(time.Minute)
		select {
		case <-closed:
		default:
			t.Error("Close waits for the bucket")
		}
		close(deaf.release)
	})
}
