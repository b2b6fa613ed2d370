package otlp

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/varve-tsdb/varve/receive"
)

// deltaStreams adds points of delta temporality up, by tenant and stream.
//
// What is added is kept only if the storage has it: a request works on the
// streams in a deltaTx and ends with commit or rollback, so that sending it
// again after a failure adds nothing twice and loses nothing.
type deltaStreams struct {
	max   int
	stale time.Duration
	n     atomic.Int64 // streams of all tenants

	mu      sync.Mutex // guards tenants, swept and users of each tenant
	tenants map[string]*deltaTenant
	swept   time.Time
}

// deltaTenant are the streams of one tenant.
type deltaTenant struct {
	users   int           // transactions that have or want the streams
	taken   chan struct{} // has a value in it while one has them
	streams map[deltaKey]*deltaStream
}

func newDeltaStreams(most int, stale time.Duration) *deltaStreams {
	return &deltaStreams{max: most, stale: stale, tenants: map[string]*deltaTenant{}, swept: time.Now()}
}

// count returns the number of streams. d may be nil.
func (d *deltaStreams) count() float64 {
	if d == nil {
		return 0
	}
	return float64(d.n.Load())
}

// deltaTx is one request's work on the streams of a tenant. From its first
// point on it has them for itself.
type deltaTx struct {
	ctx    context.Context
	of     *deltaStreams
	name   string
	tenant *deltaTenant // nil before the first point, and after the end
	now    time.Time
	before map[deltaKey]*deltaStream // what the streams were, nil for new ones
	hasher deltaHasher
	// err is why it does not get the streams: ctx has ended while others had them.
	err error
}

func (d *deltaStreams) begin(ctx context.Context, tenant string) *deltaTx {
	return &deltaTx{ctx: ctx, of: d, name: tenant, now: time.Now(), before: map[deltaKey]*deltaStream{}}
}

// enter waits for the tenant's streams, no longer than the context lives.
func (tx *deltaTx) enter() error {
	if tx.tenant != nil || tx.err != nil {
		return tx.err
	}
	t := tx.join()
	select {
	case t.taken <- struct{}{}:
		tx.tenant = t
	case <-tx.ctx.Done():
		tx.of.part(t)
		tx.err = fmt.Errorf("waiting for another request of tenant %q with delta points: %w", tx.name, context.Cause(tx.ctx))
	}
	return tx.err
}

// join makes the transaction a user of the tenant's streams, to part from.
func (tx *deltaTx) join() *deltaTenant {
	d := tx.of
	d.mu.Lock()
	defer d.mu.Unlock()
	if tx.now.Sub(d.swept) >= d.stale {
		d.sweep(tx.now)
	}
	t := d.tenants[tx.name]
	if t == nil {
		t = &deltaTenant{taken: make(chan struct{}, 1), streams: map[deltaKey]*deltaStream{}}
		d.tenants[tx.name] = t
	}
	t.users++
	return t
}

func (d *deltaStreams) part(t *deltaTenant) {
	d.mu.Lock()
	defer d.mu.Unlock()
	t.users--
}

// sweep forgets streams that have had no point for long, of the tenants that
// nobody is using. The caller holds d.mu.
func (d *deltaStreams) sweep(now time.Time) {
	d.swept = now
	for name, t := range d.tenants {
		if t.users > 0 {
			continue
		}
		for key, s := range t.streams {
			if now.Sub(s.seen) > d.stale {
				delete(t.streams, key)
				d.n.Add(-1)
			}
		}
		if len(t.streams) == 0 {
			delete(d.tenants, name)
		}
	}
}

// add adds the stream of p up to p and puts the sum into p. On a problem the
// stream is as it was.
func (tx *deltaTx) add(res pcommon.Resource, scope pcommon.InstrumentationScope, m pmetric.Metric, p point) *problem {
	if err := tx.enter(); err != nil {
		return &problem{receive.ReasonUnavailable, err}
	}
	key := tx.hasher.key(res, scope, m, p)
	old := tx.tenant.streams[key]
	if old != nil && tx.now.Sub(old.seen) > tx.of.stale {
		tx.forget(key)
		old = nil
	}
	if noValue(p) {
		tx.forget(key)
		return nil
	}
	c := p.common()
	var next deltaStream
	switch {
	case old == nil:
		if tx.of.n.Load() >= int64(tx.of.max) {
			return problemf(receive.ReasonRefused, "there are %d streams of delta temporality already, as many as this receiver remembers", tx.of.max)
		}
		next = newDeltaStream(p)
	case c.Timestamp() == old.t:
		// The request is a repeated one, and the point is in the sum.
		old.put(p)
		return nil
	case c.Timestamp() < old.t, c.StartTimestamp() < old.start:
		return problemf(receive.ReasonOutOfOrder, "a delta data point is older than the newest of its stream, of %s", old.t.AsTime())
	default:
		var bad *problem
		if next, bad = old.plus(p); bad != nil {
			return bad
		}
	}
	next.t, next.seen = c.Timestamp(), tx.now
	tx.set(key, &next)
	next.put(p)
	return nil
}

// set replaces a stream; nil forgets it.
func (tx *deltaTx) set(key deltaKey, s *deltaStream) {
	old := tx.tenant.streams[key]
	if _, noted := tx.before[key]; !noted {
		tx.before[key] = old
	}
	switch {
	case s == nil:
		delete(tx.tenant.streams, key)
	default:
		tx.tenant.streams[key] = s
	}
	if old == nil && s != nil {
		tx.of.n.Add(1)
	}
	if old != nil && s == nil {
		tx.of.n.Add(-1)
	}
}

func (tx *deltaTx) forget(key deltaKey) {
	if tx.tenant.streams[key] != nil {
		tx.set(key, nil)
	}
}

// commit keeps what was added. It ends the transaction.
func (tx *deltaTx) commit() {
	if tx.tenant == nil {
		return
	}
	clear(tx.before)
	tx.leave()
}

// rollback takes back what was added. After commit it does nothing.
func (tx *deltaTx) rollback() {
	if tx.tenant == nil {
		return
	}
	for key, s := range tx.before {
		tx.set(key, s)
	}
	tx.leave()
}

func (tx *deltaTx) leave() {
	t := tx.tenant
	tx.tenant = nil
	<-t.taken
	tx.of.part(t)
}
