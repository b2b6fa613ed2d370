package receive

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// leastForwardBytes is what a message counts at least: it has a goroutine.
const leastForwardBytes = 4 << 10

const (
	errPeerBackedOff = retryableError("left alone for a while, as it has failed")
	errPeerBusy      = retryableError("too much is on its way to it already")
)

// ErrBadReplica: a request names a copy of its series that there is not. The
// replication factor must be the same on all receivers. It lies with how they are
// set up and not with the samples, so it is retryable whichever way it comes, and
// nothing is lost until that is put right.
var ErrBadReplica = errors.New("no such replica")

// ForwardError is why another receiver did not take what was forwarded to it. Of
// what class that is Err says.
type ForwardError struct {
	Address string // of the endpoint
	Err     error
}

// Error names the receiver and the cause.
func (e *ForwardError) Error() string { return fmt.Sprintf("receiver %s: %v", e.Address, e.Err) }

// Unwrap returns the cause.
func (e *ForwardError) Unwrap() error { return e.Err }

// forwardPeer is a Peer that is called no more often than is good for it.
type forwardPeer struct {
	endpoint Endpoint
	dial     func(Endpoint) (Peer, error)
	opts     RouterOptions
	refs     int // views that have it; guarded by Router.mu

	dialMu sync.Mutex // guards peer
	peer   Peer       // nil until it was dialled

	mu       sync.Mutex // guards what follows
	backoff  forwardBackoff
	inFlight int64 // bytes
}

func newForwardPeer(e Endpoint, dial func(Endpoint) (Peer, error), opts RouterOptions) *forwardPeer {
	return &forwardPeer{endpoint: e, dial: dial, opts: opts}
}

// refuses returns why a call that came now would fail at once, or nil.
func (p *forwardPeer) refuses() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.backoff.closed(time.Now()) {
		return &ForwardError{Address: p.endpoint.Address, Err: errPeerBackedOff}
	}
	return nil
}

// begin asks for a call with a message of size bytes. If there is no error, end
// must follow.
func (p *forwardPeer) begin(size int64) (round int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if most := p.opts.MaxPeerBytes; most >= 0 && p.inFlight > 0 && p.inFlight+size > most {
		return 0, &ForwardError{Address: p.endpoint.Address, Err: errPeerBusy}
	}
	round, ok := p.backoff.enter(time.Now())
	if !ok {
		return 0, &ForwardError{Address: p.endpoint.Address, Err: errPeerBackedOff}
	}
	p.inFlight += size
	return round, nil
}

// end notes that the call is over. It reports whether the peer has failed that
// had not, or works that had failed.
func (p *forwardPeer) end(round int, size int64, failed bool) (turned bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.inFlight -= size
	return p.backoff.leave(round, failed, time.Now(), rand.Float64(), p.opts.MinBackoff, p.opts.MaxBackoff)
}

// failing reports whether the last call that mattered has failed.
func (p *forwardPeer) failing() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.backoff.failures > 0
}

// write calls the peer. failed says that it has not answered, or that it takes
// nothing from anybody.
func (p *forwardPeer) write(ctx context.Context, req *PeerRequest) (failed bool, err error) {
	peer, err := p.connect()
	if err != nil {
		return true, &ForwardError{p.endpoint.Address, fmt.Errorf("%w: it cannot be dialled: %w", ErrUnavailable, err)}
	}
	err = peer.Write(ctx, req)
	if _, partly := errorAs[*PeerRefusal](err); err == nil || partly {
		return false, err
	}
	if ctx.Err() != nil {
		return true, &ForwardError{p.endpoint.Address, fmt.Errorf("%w: no answer (%w)", ErrUnavailable, err)}
	}
	return ReasonOf(err) == ReasonUnavailable, &ForwardError{p.endpoint.Address, err}
}

func (p *forwardPeer) connect() (Peer, error) {
	p.dialMu.Lock()
	defer p.dialMu.Unlock()
	if p.peer != nil {
		return p.peer, nil
	}
	peer, err := p.dial(p.endpoint)
	if err == nil && peer == nil {
		err = errors.New("dial has returned neither a peer nor an error")
	}
	if err != nil {
		return nil, err
	}
	p.peer = peer
	return peer, nil
}

// dialled returns the Peer, or nil.
func (p *forwardPeer) dialled() Peer {
	p.dialMu.Lock()
	defer p.dialMu.Unlock()
	return p.peer
}
