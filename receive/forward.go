package receive

import (
	"context"
	"time"
)

// forwardShare is what of a request one peer gets as one replica.
type forwardShare struct {
	peer    *forwardPeer
	req     PeerRequest
	tenants [1]PeerSeries
	// message is encoded here, and belongs to the call while there is one.
	message *[]byte
	// series are their positions in the request.
	series []uint32
	// err is what became of it, known before it is sent if the peer is not to be
	// called.
	err error
}

// newShare returns an empty share.
func (r *Router) newShare(peer *forwardPeer, tenant string, replica int) *forwardShare {
	s, ok := r.shares.Get().(*forwardShare)
	if !ok {
		s = &forwardShare{}
	}
	s.peer, s.err = peer, peer.refuses()
	s.tenants[0] = PeerSeries{Tenant: tenant}
	s.req = PeerRequest{Replica: replica, Tenants: s.tenants[:]}
	s.message, ok = r.messages.Get().(*[]byte)
	if !ok {
		s.message = new([]byte)
	}
	*s.message = (*s.message)[:0]
	return s
}

// recycle takes a share back that no call has any more.
func (r *Router) recycle(s *forwardShare) {
	r.recycleMessage(s)
	if 4*cap(s.series) > maxScratchBytes {
		return
	}
	*s = forwardShare{series: s.series[:0]}
	r.shares.Put(s)
}

func (r *Router) recycleMessage(s *forwardShare) {
	if s.message != nil && cap(*s.message) <= maxScratchBytes {
		r.messages.Put(s.message)
	}
	s.message, s.tenants[0].Message = nil, nil
}

// forward starts to call the peer of a share, which goes to answers in the end.
// It returns false, and s has the error, if the peer is not to be called. ctx
// lends its values, not its end: what is on its way when a request is decided
// still reaches the replica.
func (r *Router) forward(ctx context.Context, v *routerView, s *forwardShare, answers chan<- *forwardShare) bool {
	size := int64(max(len(*s.message), leastForwardBytes))
	var round int
	if s.err == nil {
		round, s.err = s.peer.begin(size)
	}
	if s.err != nil {
		r.metrics.skipped(s)
		return false
	}
	s.tenants[0].Message, s.tenants[0].Series = *s.message, len(s.series)
	r.hold(v)
	r.metrics.begin(len(*s.message))
	go func() {
		defer r.leave(v)
		start := time.Now()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.opts.ForwardTimeout)
		defer cancel()
		defer context.AfterFunc(r.done, cancel)()
		failed, err := s.peer.write(ctx, &s.req)
		if s.peer.end(round, size, failed) {
			r.turned(s.peer, failed, err)
		}
		s.err = err
		r.metrics.end(s, time.Since(start))
		r.recycleMessage(s)
		answers <- s // has room for all
	}()
	return true
}

// turned tells that a peer has failed that had not, or the other way round.
func (r *Router) turned(p *forwardPeer, failed bool, err error) {
	r.metrics.turned(failed)
	if failed {
		r.opts.Logger.Warn("A receiver does not take what is forwarded to it. It is left alone for a while.", "endpoint", p.endpoint.Address, "err", err)
		return
	}
	r.opts.Logger.Info("A receiver takes what is forwarded to it again.", "endpoint", p.endpoint.Address)
}

// reasonFor returns what became of the series at a position in a share.
func (s *forwardShare) reasonFor(position int, all Reason, refusal *PeerRefusal) Reason {
	if refusal == nil {
		return all
	}
	reason, refused := refusal.Refused[position]
	switch {
	case !refused:
		return ReasonStored
	case reason >= numReasons:
		return ReasonFailed
	}
	return reason
}
