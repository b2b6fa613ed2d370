package receive

import (
	"context"
	"fmt"
)

// Peer is another receiver that takes series over. A Router has one for each
// endpoint of the hashrings. It is safe for concurrent use. If it has a method
// Close() error, as connections do, the Router calls it once the endpoint is in
// no hashring any more and no call is under way.
type Peer interface {
	// Write hands over the series of one or more tenants. It returns nil if all
	// of them are stored: accepted in the sense of Class. If some are not, a
	// *PeerRefusal says which. Any other error is that of all series, and
	// ReasonOf tells its class; one that is ReasonUnavailable is taken for that
	// of the peer as a whole, which is then left alone for a while.
	//
	// It must return soon after ctx is done. The request and its bytes are the
	// caller's and may be kept no longer than until Write returns.
	Write(ctx context.Context, req *PeerRequest) error
}

// PeerAdmitter is an optional power of a Peer that is in this process, as that of
// Handler.Peer: to let a request in before any of it is there. Who receives
// requests asks it first, so that what they take is accounted before it is taken.
type PeerAdmitter interface {
	Peer
	// AdmitPeer accounts for a request and so many bytes of memory. It does not
	// wait. If the error is nil the request is let in, and Release must be called
	// in the end. The error is an *OverloadError.
	AdmitPeer(size int64) (PeerAdmission, error)
}

// PeerAdmission is a request that a PeerAdmitter has let in. It is for one
// goroutine at a time.
type PeerAdmission interface {
	// Peer takes the request, once it is there.
	Peer
	// Resize accounts for size bytes in the place of what was accounted for
	// before. If there is no room for as many, nothing changes and the error is an
	// *OverloadError.
	Resize(size int64) error
	// Release gives back all that is accounted for. Calling it again does
	// nothing.
	Release()
}

// OverloadError is why a request of another receiver is not taken: it would have
// more be under way at once than GlobalLimits allow. ReasonOf takes it for
// ReasonUnavailable, so the same request may come through later.
type OverloadError struct {
	// Reason is ReasonInFlightBytes, ReasonInFlightRequests or ReasonConcurrency.
	// ReasonRequestBytes is that of a request which needs more than there ever is:
	// until this receiver has more for them, or the others take less at a time.
	Reason Reason
	text   string
}

// Error says which limit it is, and what to do.
func (e *OverloadError) Error() string { return e.text }

// Retryable tells that the same request may come through later.
func (*OverloadError) Retryable() bool { return true }

// PeerFunc is a function as a Peer.
type PeerFunc func(ctx context.Context, req *PeerRequest) error

// Write calls f.
func (f PeerFunc) Write(ctx context.Context, req *PeerRequest) error { return f(ctx, req) }

// PeerRequest is what one receiver hands over to another.
type PeerRequest struct {
	// Replica says which copy of its series the request is, counted from 1, as
	// in Thanos. 0 is for series that no router has seen yet.
	Replica int
	// Tenants are the series by tenant. A Router of this package hands over those
	// of one, as Thanos' do up to v0.42.4; later ones of Thanos send several.
	Tenants []PeerSeries
}

// PeerSeries are series of one tenant.
type PeerSeries struct {
	Tenant string
	// Message is an encoded prometheus.WriteRequest of remote write 1.0 that has
	// nothing but field 1, timeseries. That is the encoding of the
	// TimeSeriesTenantTuple of Thanos, too, without its tenant.
	Message []byte
	// Series is how many Message holds.
	Series int
}

// PeerRefusal is the error of a request of which some series were not stored.
// All others were.
type PeerRefusal struct {
	// Refused has the reason for each series that was not stored, or not with
	// all of its samples: the gravest of these, Final or Retryable. The key is
	// its position, from 0, among the series of all Tenants of the request, in
	// order.
	Refused map[int]Reason
	// Text says more, for people.
	Text string
}

// Error tells how many series were not stored, and why.
func (e *PeerRefusal) Error() string {
	if e.Text == "" {
		return fmt.Sprintf("%d series were not stored", len(e.Refused))
	}
	return fmt.Sprintf("%d series were not stored: %s", len(e.Refused), e.Text)
}
