package objstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/varve-tsdb/varve/objstore/internal/around"
)

// HedgeOptions are the settings of WithHedging.
type HedgeOptions struct {
	// Quantile of the latest times to the first byte, between 0 and 1: who waits
	// longer asks a second time. The default is 0.98.
	Quantile float64
	// MinDelay is how long is waited before that at least. The default is 20 ms.
	MinDelay time.Duration
	// MaxShare is how many second requests there may be for each first one, over
	// time; ten may come in a row. The default is 0.05.
	MaxShare float64
	// Registerer gets the metrics, until Close of the bucket. Nil counts in
	// vain.
	Registerer prometheus.Registerer
}

func (o HedgeOptions) withDefaults() HedgeOptions {
	if o.Quantile == 0 {
		o.Quantile = 0.98
	}
	if o.MinDelay == 0 {
		o.MinDelay = 20 * time.Millisecond
	}
	if o.MaxShare == 0 {
		o.MaxShare = 0.05
	}
	return o
}

// Validate reports all settings that make no sense.
func (o HedgeOptions) Validate() error {
	var errs []error
	if !(o.Quantile >= 0 && o.Quantile < 1) {
		errs = append(errs, fmt.Errorf("HedgeOptions.Quantile is %v, must be at least 0 and below 1", o.Quantile))
	}
	if o.MinDelay < 0 {
		errs = append(errs, fmt.Errorf("HedgeOptions.MinDelay is %v, must not be negative", o.MinDelay))
	}
	if !(o.MaxShare >= 0 && o.MaxShare <= 1) {
		errs = append(errs, fmt.Errorf("HedgeOptions.MaxShare is %v, must be from 0 to 1", o.MaxShare))
	}
	return errors.Join(errs...)
}

// WithHedging returns b with ranged reads that are slow to begin asked for a
// second time: whichever answers first is read, the other is ended. It is for stores
// where few requests in a hundred take ten times as long as the others, and these few
// decide how long a query takes. It costs the share of requests that the options say at most.
//
// It belongs below WithRetry. Until 32 reads have been seen there is no second
// one. Nothing tells the two apart for what is below: decorators there count
// both.
func WithHedging(b Bucket, opts HedgeOptions) (InstrumentedBucket, error) {
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("objstore: %w", err)
	}
	m, err := newHedgeMetrics(opts.Registerer)
	if err != nil {
		return nil, err
	}
	opts = opts.withDefaults()
	return &hedging{Bucket: around.Bucket{Bucket: b, Start: unwatched}, state: &hedgeState{opts: opts, metrics: m}}, nil
}

func unwatched(context.Context, around.Call) (around.Pass, error) { return around.Plain{}, nil }

// hedging is the bucket of WithHedging.
type hedging struct {
	around.Bucket
	state *hedgeState
}

// hedgeState is what is known of the bucket.
type hedgeState struct {
	opts    HedgeOptions
	metrics *hedgeMetrics
	running sync.WaitGroup // attempts nobody waits for any more

	mu      sync.Mutex // guards what follows
	latest  [hedgeWindow]time.Duration
	seen    int
	delay   time.Duration // 0 if not known yet
	credits float64
}

const (
	// hedgeWindow is how many times to the first byte the quantile is of, and
	// hedgeRenew after how many new ones it is taken again.
	hedgeWindow, hedgeRenew = 256, 32
	// hedgeBurst is how many second requests may come in a row.
	hedgeBurst = 10
	// hedgeGrace is how long Close waits for a request that was given up.
	hedgeGrace = time.Second
)

// Close waits until no request is under way that was given up, unless the bucket
// does not heed that, and closes the bucket.
func (h *hedging) Close() error {
	ended := make(chan struct{})
	go func() {
		h.state.running.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(hedgeGrace):
	}
	h.state.metrics.registered.UnregisterAll()
	return h.Bucket.Close()
}

// WithExpectedErrs implements InstrumentedBucket.
func (h *hedging) WithExpectedErrs(expected IsOpFailureExpectedFunc) Bucket {
	inner, ok := h.Bucket.Bucket.(InstrumentedBucket)
	if !ok {
		return h
	}
	return &hedging{Bucket: around.Bucket{Bucket: inner.WithExpectedErrs(expected), Start: unwatched}, state: h.state}
}

// ReaderWithExpectedErrs implements InstrumentedBucket.
func (h *hedging) ReaderWithExpectedErrs(expected IsOpFailureExpectedFunc) BucketReader {
	return h.WithExpectedErrs(expected)
}

// attempt is one of two requests, up to its first byte.
type attempt struct {
	body   io.ReadCloser
	err    error
	second bool
	cancel context.CancelFunc
}

// GetRange implements Bucket.
func (h *hedging) GetRange(ctx context.Context, name string, off, length int64) (io.ReadCloser, error) {
	began := time.Now()
	answers := make(chan attempt, 2)
	var cancels [2]context.CancelFunc
	try := func(i int) {
		ctx, cancel := context.WithCancel(ctx)
		cancels[i] = cancel
		h.state.running.Go(func() {
			body, err := openBegun(func() (io.ReadCloser, error) { return h.Bucket.Bucket.GetRange(ctx, name, off, length) })
			answers <- attempt{body: body, err: err, second: i == 1, cancel: cancel}
		})
	}
	try(0)
	under := 1 // way
	delay, patience := h.state.patience()
	defer patience.Stop()
	for {
		select {
		case <-patience.C:
			if h.state.allow() {
				try(1)
				under++
				continue
			}
			delay *= 2 // who waits longest needs it most
			patience.Reset(delay)
		case a := <-answers:
			under--
			patience.Stop()
			if a.err != nil && under > 0 && ctx.Err() == nil {
				a.cancel()
				continue // the other may do better
			}
			if a.err == nil && !a.second {
				h.state.saw(time.Since(began))
			}
			if under > 0 {
				h.giveUp(answers, cancels[btoi(!a.second)])
			}
			if cancels[1] != nil {
				h.state.metrics.outcome(a)
			}
			if a.err != nil {
				a.cancel()
				return nil, a.err
			}
			return &hedgedBody{ReadCloser: a.body, cancel: a.cancel}, nil
		}
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// giveUp ends the attempt that is still under way.
func (h *hedging) giveUp(answers <-chan attempt, cancel context.CancelFunc) {
	cancel()
	h.state.running.Go(func() {
		if a := <-answers; a.err == nil {
			_ = a.body.Close() // nobody will read it
		}
	})
}

// patience returns a timer that fires when a read is slow, if it is known when
// that is.
func (s *hedgeState) patience() (time.Duration, *time.Timer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.credits = min(s.credits+s.opts.MaxShare, hedgeBurst)
	if s.delay == 0 {
		t := time.NewTimer(time.Hour)
		t.Stop()
		return 0, t
	}
	return s.delay, time.NewTimer(s.delay)
}

// allow says whether a second request may be made now.
func (s *hedgeState) allow() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.credits < 1 {
		s.metrics.denied.Inc()
		return false
	}
	s.credits--
	return true
}

// saw learns from a read that answered by itself.
func (s *hedgeState) saw(took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latest[s.seen%hedgeWindow] = took
	if s.seen++; s.seen%hedgeRenew != 0 {
		return
	}
	known := slices.Clone(s.latest[:min(s.seen, hedgeWindow)])
	slices.Sort(known)
	s.delay = max(known[int(s.opts.Quantile*float64(len(known)))], s.opts.MinDelay)
}

// openBegun opens a body and waits for its first bytes, since some providers
// answer before they have any.
func openBegun(open func() (io.ReadCloser, error)) (io.ReadCloser, error) {
	rc, err := open()
	if err != nil {
		return nil, err
	}
	b := &begunBody{rc: rc}
	b.size, b.sizeErr = ObjectSize(rc)
	buf := make([]byte, 4<<10)
	n, err := rc.Read(buf)
	if n == 0 && err != nil && !errors.Is(err, io.EOF) {
		_ = rc.Close() // broken already
		return nil, err
	}
	b.begun, b.err = buf[:n], err
	return b, nil
}

// begunBody is a body whose first bytes are here.
type begunBody struct {
	rc      io.ReadCloser
	size    int64
	sizeErr error
	begun   []byte
	err     error // of the read that gave them
}

// ObjectSize implements ObjectSizer.
func (b *begunBody) ObjectSize() (int64, error) { return b.size, b.sizeErr }

// Read implements io.Reader.
func (b *begunBody) Read(p []byte) (int, error) {
	if len(b.begun) > 0 {
		n := copy(p, b.begun)
		b.begun = b.begun[n:]
		return n, nil
	}
	if b.err != nil {
		return 0, b.err
	}
	return b.rc.Read(p)
}

// Close implements io.Closer.
func (b *begunBody) Close() error { return b.rc.Close() }

// hedgedBody ends its request when it is closed.
type hedgedBody struct {
	io.ReadCloser
	cancel context.CancelFunc
}

// ObjectSize implements ObjectSizer.
func (b *hedgedBody) ObjectSize() (int64, error) { return ObjectSize(b.ReadCloser) }

// Close implements io.Closer.
func (b *hedgedBody) Close() error {
	err := b.ReadCloser.Close()
	b.cancel()
	return err
}
