package writestore

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/varve-tsdb/varve/internal/grpcwire"
	"github.com/varve-tsdb/varve/receive"
)

// Client is a receiver that is reached by gRPC, Varve's or Thanos', as a
// receive.Peer. It is safe for concurrent use.
type Client struct {
	conn grpc.ClientConnInterface
}

// NewClient returns a Client over a connection, which stays the caller's: who
// wants it closed with the client has a receive.Peer of both. It needs no
// options of its own; the connection should have DialOptions, and for compression
// SnappyDialOptions.
func NewClient(conn grpc.ClientConnInterface) *Client { return &Client{conn: conn} }

// DialOptions have a connection notice soon that its peer has gone, and that it is
// there again: it sends a ping after 10 seconds without traffic, and tries to
// connect every 5 seconds at least, where gRPC's default rises to two minutes.
func DialOptions() []grpc.DialOption { return grpcwire.DialOptions() }

// Write sends the series of each tenant in a call of its own, one after the
// other, because receivers of Thanos v0.42.4 read series of one tenant only, and
// would lose the others without an error. It returns
// nil, a *receive.PeerRefusal, or an error that errors.As finds *StatusError in
// and that stands for all series; see receive.Peer. The bytes of the request are
// not used any more once it returns.
func (c *Client) Write(ctx context.Context, req *receive.PeerRequest) error {
	if len(req.Tenants) == 1 {
		return c.write(ctx, req.Replica, req.Tenants[0])
	}
	var (
		all    = receive.PeerRefusal{Refused: map[int]receive.Reason{}}
		failed error
		first  int // position of the tenant's first series
	)
	for _, series := range req.Tenants {
		err := c.write(ctx, req.Replica, series)
		var refusal *receive.PeerRefusal
		switch {
		case err == nil:
		case errors.As(err, &refusal):
			for at, reason := range refusal.Refused {
				all.Refused[first+at] = reason
			}
		default:
			failed = err
			for at := range series.Series {
				all.Refused[first+at] = receive.ReasonOf(err)
			}
		}
		if err != nil && all.Text == "" {
			all.Text = fmt.Sprintf("tenant %q: %v", series.Tenant, err)
		}
		first += series.Series
	}
	switch {
	case len(all.Refused) == 0:
		return nil
	case failed != nil && len(all.Refused) == first && receive.ReasonOf(failed) == receive.ReasonUnavailable:
		return failed
	}
	return &all
}

// write sends the series of one tenant.
func (c *Client) write(ctx context.Context, replica int, series receive.PeerSeries) error {
	var trailer metadata.MD
	req := &sentRequest{replica, series}
	ctx = metadata.AppendToOutgoingContext(ctx, sizeKey, strconv.Itoa(req.size()))
	err := c.conn.Invoke(ctx, methodPath, req, &response{},
		grpc.ForceCodecV2(Codec(nil)), grpc.Trailer(&trailer))
	if err == nil {
		return nil
	}
	failure := newStatusError(ctx, err)
	if failure.Code != codes.AlreadyExists && failure.Code != codes.Unavailable {
		return failure
	}
	refused, bad := refusedOf(trailer, series.Series)
	switch {
	case bad != nil:
		failure.Text += fmt.Sprintf(" (which series it refuses cannot be read: %v)", bad)
	case len(refused) > 0:
		return &receive.PeerRefusal{Refused: refused, Text: failure.Text}
	}
	return failure
}
