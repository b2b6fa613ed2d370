package receive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
)

// Router sends the series of a request to the receivers that they belong on by
// the hashrings, several to each if they are replicated, and makes one verdict of
// what these answer. A Handler that is given one by its options does so with all
// requests but those that come from another Router.
//
// It starts no goroutine but those of the requests that are under way. Some of
// these outlast the request, no longer than ForwardTimeout: see the section on
// replication in the package documentation. It is safe for concurrent use.
type Router struct {
	rings   func() *Hashrings
	self    string
	dial    func(Endpoint) (Peer, error)
	opts    RouterOptions
	metrics *forwardMetrics
	hashes  *routedHashes

	routings sync.Pool // of *routing
	shares   sync.Pool // of *forwardShare
	messages sync.Pool // of *[]byte

	done context.Context // ends with Close
	stop context.CancelFunc
	// calls counts what holds on to a view.
	calls sync.WaitGroup

	mu     sync.Mutex // guards what follows, and the references of views and peers
	view   *routerView
	peers  map[Endpoint]*forwardPeer
	closed bool
	errs   []error // of closing peers
}

// errRouterClosed is retryable: another process may take the place of this one.
const errRouterClosed = retryableError("the router is closed")

// NewRouter returns a Router.
//
// rings returns the hashrings of now, nil if there are none yet, as
// HashringFile.Current does. It is called for each request and must not block.
// Requests keep to the hashrings that they began with.
//
// self is the address of this receiver in the hashrings. What belongs there is
// appended by the Handler itself. Empty means that this receiver is none of
// them, and only routes.
//
// dial returns the Peer at an endpoint. It is called when something is to be
// sent there for the first time, again after it has failed, and anew when an
// endpoint comes back that had been in no hashring. It must not wait for the
// connection.
//
// The error says what is wrong with the arguments, or that the metrics are
// registered already.
func NewRouter(rings func() *Hashrings, self string, dial func(Endpoint) (Peer, error), opts RouterOptions) (*Router, error) {
	if rings == nil || dial == nil {
		return nil, errors.New("receive router: rings and dial must not be nil")
	}
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("receive router options: %w", err)
	}
	metrics, err := newForwardMetrics(opts.Registerer)
	if err != nil {
		return nil, err
	}
	r := &Router{rings: rings, self: self, dial: dial, opts: opts.withDefaults(), metrics: metrics, peers: map[Endpoint]*forwardPeer{}}
	r.hashes = newRoutedHashes(r.opts.MaxKnownSeries)
	r.done, r.stop = context.WithCancel(context.Background())
	return r, nil
}

// Close ends what is being forwarded, waits for it and closes the peers. The
// server of the Handler should be shut down before: a request that comes later is
// told to come again. The error is that of closing peers.
func (r *Router) Close() error {
	r.mu.Lock()
	view := r.view
	r.view, r.closed = nil, true
	r.mu.Unlock()
	r.stop()
	if view != nil {
		r.drop(view)
	}
	r.calls.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	return errors.Join(r.errs...)
}

// routerView is who the peers are under some hashrings.
type routerView struct {
	rings *Hashrings
	// peers are by index into Hashrings.Endpoints. nil is this receiver.
	peers []*forwardPeer
	refs  int // guarded by Router.mu
}

// alone reports whether all series of a hashring belong on this receiver, and
// only there.
func (v *routerView) alone(ring *Hashring) bool {
	return len(ring.members) == 1 && v.peers[ring.members[0]] == nil
}

// enter returns the view of now, which the caller must leave, and the hashring of
// a tenant.
func (r *Router) enter(tenant string) (*routerView, *Hashring, error) {
	view, gone, err := r.current()
	if gone != nil {
		r.drop(gone)
	}
	if err != nil {
		return nil, nil, err
	}
	ring, err := view.rings.Resolve(tenant)
	if err != nil {
		r.leave(view)
		return nil, nil, err
	}
	return view, ring, nil
}

// current returns the view of the hashrings of now, held for the caller, and
// the view that it has taken the place of, if it has just done so.
func (r *Router) current() (view, gone *routerView, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, nil, errRouterClosed
	}
	rings := r.rings()
	if rings == nil {
		return nil, nil, ErrHashringsNotLoaded
	}
	if r.view == nil || r.view.rings != rings {
		gone, r.view = r.view, r.newView(rings)
	}
	r.view.refs++
	r.calls.Add(1)
	return r.view, gone, nil
}

// newView returns a view that is held once, for being that of now. The caller
// holds mu.
func (r *Router) newView(rings *Hashrings) *routerView {
	v := &routerView{rings: rings, peers: make([]*forwardPeer, len(rings.Endpoints())), refs: 1}
	for i, e := range rings.Endpoints() {
		if r.self != "" && e.Address == r.self {
			continue
		}
		p := r.peers[e]
		if p == nil {
			p = newForwardPeer(e, r.dial, r.opts)
			r.peers[e] = p
		}
		p.refs++
		v.peers[i] = p
	}
	return v
}

// hold makes a view that the caller holds already be held once more.
func (r *Router) hold(v *routerView) {
	r.mu.Lock()
	v.refs++
	r.mu.Unlock()
	r.calls.Add(1)
}

// leave gives back what enter or hold have taken.
func (r *Router) leave(v *routerView) {
	r.drop(v)
	r.calls.Done()
}

// drop lets go of a view. With the last hold on it go the peers that are in no
// other.
func (r *Router) drop(v *routerView) {
	var unused []*forwardPeer
	r.mu.Lock()
	if v.refs--; v.refs == 0 {
		for _, p := range v.peers {
			if p == nil {
				continue
			}
			if p.refs--; p.refs == 0 {
				delete(r.peers, p.endpoint)
				unused = append(unused, p)
			}
		}
	}
	r.mu.Unlock()
	for _, p := range unused {
		r.closePeer(p)
	}
}

func (r *Router) closePeer(p *forwardPeer) {
	r.metrics.forget(p)
	closer, ok := p.dialled().(io.Closer)
	if !ok {
		return
	}
	if err := closer.Close(); err != nil {
		r.opts.Logger.Debug("A connection to a receiver was not closed in order.", "endpoint", p.endpoint.Address, "err", err)
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.closed {
			r.errs = append(r.errs, &ForwardError{Address: p.endpoint.Address, Err: err})
		}
	}
}

// checkReplica returns ErrBadReplica if there is no such copy of the series of a
// tenant. While there are no hashrings to tell, any is fine.
func (r *Router) checkReplica(tenant string, replica int) error {
	view, ring, err := r.enter(tenant)
	if err != nil {
		return nil
	}
	defer r.leave(view)
	if most := ring.ReplicationFactor(); replica < 0 || replica > most {
		return fmt.Errorf("tenant %q: %w: %d is not between 0 and the replication factor, %d; it must be the same on all receivers", tenant, ErrBadReplica, replica, most)
	}
	return nil
}
