package receive

import (
	"context"
	"maps"
	"strings"
	"sync"
	"time"
)

// turnPatience is how long a request waits for its turn, its body in memory. It
// is well below the time after which senders give up, or what is stored then is
// sent again all the same.
const turnPatience = 5 * time.Second

// firstClaim is the most that is accounted for a body at once because of its
// Content-Length, which costs a sender nothing to make up: connections that send
// no more than a header must reach the limit of requests before that of bytes.
// Most bodies are smaller, so that one that is let in has all it needs; a larger
// one has more accounted as its bytes come.
const firstClaim = 128 << 10

// overload counts what the requests of a Handler take together and refuses what
// is too much. It is safe for concurrent use.
type overload struct {
	turns turnQueue
	// peerTurns are those of requests that other receivers hand over to be
	// stored here. They must not queue behind requests that wait for other
	// receivers, which may in turn wait for this one.
	peerTurns turnQueue

	mu      sync.Mutex // guards what follows
	used    overloadUsage
	tenants map[string]*tenantLoad
	// tidyAt is how many tenants there have to be for it to be worth looking for
	// those whose rates have run out.
	tidyAt int
}

// fewestLoads is how many tenants that send nothing any more may be kept.
const fewestLoads = 1024

// overloadUsage is what all requests take now.
type overloadUsage struct {
	requests int
	bytes    int64
}

// tenantLoad is what a tenant takes.
type tenantLoad struct {
	requests int
	rate     sampleRate
	// idleAt is when the rate has run out of a tenant without requests.
	idleAt time.Time
}

func newOverload() *overload {
	return &overload{tenants: map[string]*tenantLoad{}, tidyAt: fewestLoads}
}

func (o *overload) usage() overloadUsage {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.used
}

// admission is a request that was let in, and all that is accounted for it. Its
// limits stay the same whatever file comes meanwhile. It is for one goroutine,
// and release must be called in the end.
type admission struct {
	load    *overload
	tenant  string
	global  GlobalLimits // with defaults
	limits  Limits
	first   [512]byte // of the body, read before there is room for more
	body    int64     // bytes accounted for the body as sent
	decoded int64     // and decompressed
	rated   int       // samples counted into the rate
	inside  bool
	turn    bool // it has its turn

	buffer  *bodyBuffer     // nil until some of the body has come
	scratch *handlerScratch // nil until it has its turn
}

// admit lets a request in whose body is said to be of a size, or whose size is
// not known if that is negative. It is asked before any of the body is read.
func (o *overload) admit(a *admission, said int64) *requestError {
	claim := max(min(said, firstClaim), int64(len(a.first)))
	now := time.Now()
	waits := o.turns.oldest(now)

	o.mu.Lock()
	defer o.mu.Unlock()
	t := o.tenants[a.tenant]
	if t == nil {
		t = &tenantLoad{}
		o.tidy(now)
	}
	if err := a.tenantHasRoom(t, now); err != nil {
		return err
	}
	if err := o.room(a.global, waits, max(claim, said)); err != nil {
		return err
	}
	o.used.requests++
	o.used.bytes += claim
	t.requests++
	if t.requests == 1 {
		// The name may be part of all headers of the request.
		o.tenants[strings.Clone(a.tenant)] = t
	}
	a.load, a.body, a.inside = o, claim, true
	return nil
}

// room returns why a request that needs so many bytes, where others wait for a
// turn as long as that, is not let in, or nil. The caller holds mu.
func (o *overload) room(global GlobalLimits, waits time.Duration, bytes int64) *requestError {
	if most := global.InFlightRequests; most >= 0 && o.used.requests >= most {
		return refuseByLimit(ReasonInFlightRequests, "this receiver is handling %d requests, as many as it may; send the request again", o.used.requests)
	}
	if err := waitTooLong(waits); err != nil {
		return err
	}
	if most := global.InFlightBytes; most >= 0 && o.used.bytes+bytes > most {
		if bytes > most {
			return global.neverFits(ReasonRequestBytes, bytes)
		}
		return global.noRoomNow()
	}
	return nil
}

// waitTooLong returns why nobody is to get behind others that wait for a turn as
// long as that, or nil.
func waitTooLong(waits time.Duration) *requestError {
	if waits < turnPatience/2 {
		return nil
	}
	return refuseByLimit(ReasonConcurrency, "requests wait for %v to be stored; send the request again", waits.Round(time.Millisecond))
}

// tenantHasRoom checks the limits of the tenant that a request can be over
// before it is read.
func (a *admission) tenantHasRoom(t *tenantLoad, now time.Time) *requestError {
	if most := a.limits.InFlightRequests; most > 0 && t.requests >= most {
		return refuseByLimit(ReasonTenantInFlight, "%d requests of tenant %q are being handled, as many as it may have; send fewer at once (max_shards), and this one again", t.requests, a.tenant)
	}
	return a.rateHasRoom(t, now)
}

func (a *admission) rateHasRoom(t *tenantLoad, now time.Time) *requestError {
	wait := t.rate.wait(now, &a.limits)
	if wait == 0 {
		return nil
	}
	err := refuseByLimit(ReasonRate, "tenant %q sends more than the %v samples a second it may; send the request again later (retry_on_http_429 in Prometheus), or send less", a.tenant, a.limits.SamplesPerSecond)
	err.after = wait
	return err
}

func (g GlobalLimits) noRoomNow() *requestError {
	return refuseByLimit(ReasonInFlightBytes, "the bodies of other requests take the %d bytes of memory that this receiver has for them; send the request again", g.InFlightBytes)
}

// neverFits refuses what no waiting makes room for.
func (g GlobalLimits) neverFits(reason Reason, size int64) *requestError {
	return refuseByLimit(reason, "the request needs %d bytes of memory, more than the %d this receiver has for all; send fewer samples a request", size, g.InFlightBytes)
}

// cover sees to it that size bytes are accounted in *part, a.body or a.decoded.
// It returns false, and changes nothing, if there is no room for them.
func (a *admission) cover(part *int64, size int64) bool {
	if size <= *part {
		return true
	}
	o := a.load
	o.mu.Lock()
	defer o.mu.Unlock()
	more := size - *part
	if a.global.InFlightBytes >= 0 && o.used.bytes+more > a.global.InFlightBytes {
		return false
	}
	o.used.bytes += more
	*part = size
	return true
}

// settle gives back what is accounted in *part beyond size bytes.
func (a *admission) settle(part *int64, size int64) {
	if size >= *part {
		return
	}
	a.load.mu.Lock()
	defer a.load.mu.Unlock()
	a.load.used.bytes -= *part - size
	*part = size
}

// takeTurn waits until the request may be decompressed and stored.
func (a *admission) takeTurn(ctx context.Context, m *limitMetrics) *requestError {
	waited, ok := a.load.turns.enter(ctx, a.global.Concurrency, turnPatience)
	if waited > 0 {
		m.turnWait.Observe(waited.Seconds())
	}
	if !ok {
		return waitedTooLong(waited)
	}
	a.turn = true
	return nil
}

func waitedTooLong(waited time.Duration) *requestError {
	return refuseByLimit(ReasonConcurrency, "the request has waited for %v to be stored; send it again", waited.Round(time.Millisecond))
}

// takeRate counts about n samples into the rate of the tenant, unless it is
// over it.
func (a *admission) takeRate(n int) *requestError {
	if a.limits.SamplesPerSecond <= 0 {
		return nil
	}
	a.load.mu.Lock()
	defer a.load.mu.Unlock()
	t := a.load.tenants[a.tenant]
	if err := a.rateHasRoom(t, time.Now()); err != nil {
		return err
	}
	a.rated = n
	t.rate.add(n)
	return nil
}

// settleRate counts what takeRate did not know yet: that there were n samples.
func (a *admission) settleRate(n int) {
	if a.limits.SamplesPerSecond <= 0 {
		return
	}
	a.load.mu.Lock()
	defer a.load.mu.Unlock()
	a.load.tenants[a.tenant].rate.add(n - a.rated)
	a.rated = n
}

// release gives everything back. Calling it again does nothing.
func (a *admission) release() {
	if !a.inside {
		return
	}
	a.inside = false
	o := a.load
	if a.turn {
		a.turn = false
		o.turns.leave(a.global.Concurrency)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.used.requests--
	o.used.bytes -= a.body + a.decoded
	a.body, a.decoded = 0, 0
	t := o.tenants[a.tenant]
	t.requests--
	now := time.Now()
	_ = t.rate.wait(now, &a.limits) // It may have run out.
	switch {
	case t.requests > 0:
	case t.rate.level == 0:
		delete(o.tenants, a.tenant)
	default:
		t.idleAt = now.Add(t.rate.runsOut(&a.limits))
	}
}

// tidy forgets tenants whose rates have run out since their last request, once
// there are many: whoever may write could name any number of them. The caller
// holds mu.
func (o *overload) tidy(now time.Time) {
	if len(o.tenants) < o.tidyAt {
		return
	}
	maps.DeleteFunc(o.tenants, func(_ string, t *tenantLoad) bool { return t.requests == 0 && !now.Before(t.idleAt) })
	o.tidyAt = max(fewestLoads, 2*len(o.tenants))
}
