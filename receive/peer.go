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

// PeerFunc is a function as a Peer, as Handler.WritePeer is one in the same
// process.
type PeerFunc func(ctx context.Context, req *PeerRequest) error

// Write calls f.
func (f PeerFunc) Write(ctx context.Context, req *PeerRequest) error { return f(ctx, req) }

// PeerRequest is what one receiver hands over to another.
type PeerRequest struct {
	// Replica says which copy of its series the request is, counted from 1, as
	// in Thanos. 0 is for series that no router has seen yet.
	Replica int
	// Tenants are the series by tenant. Thanos' routers send those of several
	// tenants at once.
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
