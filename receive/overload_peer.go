package receive

import (
	"context"
	"time"
)

// leastPeerBytes is what a request of a peer counts at least: it has a goroutine.
const leastPeerBytes = 4 << 10

// handlerPeer is a Handler as a Peer.
type handlerPeer struct{ h *Handler }

func (p handlerPeer) Write(ctx context.Context, req *PeerRequest) error {
	return p.h.WritePeer(ctx, req)
}

func (p handlerPeer) AdmitPeer(size int64) (PeerAdmission, error) {
	in, err := p.h.admitPeer(size)
	if err != nil {
		return nil, err
	}
	return in, nil
}

// peerAdmission is a request of a peer that was let in, and all that is accounted
// for it. Its limits stay the same whatever file comes meanwhile.
type peerAdmission struct {
	h      *Handler
	global GlobalLimits // with defaults
	bytes  int64
	inside bool
}

// admitPeer lets a request in. Before its message is read nobody knows which of
// the queues is its own, so it is kept out if the waiting is long in all of them.
func (h *Handler) admitPeer(size int64) (*peerAdmission, error) {
	in := &peerAdmission{h: h, global: h.limitSet().Global.resolved()}
	now := time.Now()
	waits := h.peerTurns(1).oldest(now)
	if waits > 0 {
		waits = min(waits, h.peerTurns(0).oldest(now))
	}
	if err := h.load.admitPeer(in, waits, max(size, leastPeerBytes)); err != nil {
		return nil, in.refused(err)
	}
	return in, nil
}

// peerTurns returns the queue of what comes from other receivers. A replica waits for
// no other receiver, and has its turn among those that do not; what is to be routed
// waits with the requests of senders.
func (h *Handler) peerTurns(replica int) *turnQueue {
	if h.opts.Router != nil && replica == 0 {
		return &h.load.turns
	}
	return &h.load.peerTurns
}

func (o *overload) admitPeer(in *peerAdmission, waits time.Duration, size int64) *requestError {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.room(in.global, waits, size); err != nil {
		return err
	}
	o.used.requests++
	o.used.bytes += size
	in.bytes, in.inside = size, true
	return nil
}

// refused counts a request that is not taken, and returns why for the peer.
func (in *peerAdmission) refused(err *requestError) error {
	// Whose series it has is not looked at.
	in.h.metrics.refused("", err)
	in.h.metrics.answered(peerVersion, err.reason.Status(), 0)
	return &OverloadError{Reason: err.reason, text: err.text}
}

// Resize accounts for size bytes.
func (in *peerAdmission) Resize(size int64) error {
	if err := in.resize(max(size, leastPeerBytes)); err != nil {
		return in.refused(err)
	}
	return nil
}

func (in *peerAdmission) resize(size int64) *requestError {
	o := in.h.load
	o.mu.Lock()
	defer o.mu.Unlock()
	if most := in.global.InFlightBytes; most >= 0 && size > in.bytes && o.used.bytes+size-in.bytes > most {
		if size > most {
			return in.global.neverFits(ReasonRequestBytes, size)
		}
		return in.global.noRoomNow()
	}
	o.used.bytes += size - in.bytes
	in.bytes = size
	return nil
}

// Write takes the request.
func (in *peerAdmission) Write(ctx context.Context, req *PeerRequest) error {
	h, start := in.h, time.Now()
	h.metrics.inFlight.Inc()
	defer h.metrics.inFlight.Dec()
	for i := range req.Tenants {
		if err := h.checkReplica(req.Tenants[i].Tenant, req.Replica); err != nil {
			h.metrics.answered(peerVersion, ReasonOf(err).Status(), time.Since(start))
			return err
		}
	}
	turns := h.peerTurns(req.Replica)
	if err := waitTooLong(turns.oldest(start)); err != nil {
		return in.refused(err)
	}
	waited, ok := turns.enter(ctx, in.global.Concurrency, turnPatience)
	if waited > 0 {
		h.metrics.limits.turnWait.Observe(waited.Seconds())
	}
	if !ok {
		return in.refused(waitedTooLong(waited))
	}
	defer turns.leave(in.global.Concurrency)
	status, err := h.writePeer(ctx, req)
	h.metrics.answered(peerVersion, status, time.Since(start))
	return err
}

// Release gives back what is accounted for.
func (in *peerAdmission) Release() {
	if !in.inside {
		return
	}
	in.inside = false
	o := in.h.load
	o.mu.Lock()
	defer o.mu.Unlock()
	o.used.requests--
	o.used.bytes -= in.bytes
}
