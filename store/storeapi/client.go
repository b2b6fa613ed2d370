package storeapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/varve-tsdb/varve/internal/grpcwire"
	"github.com/varve-tsdb/varve/internal/readopts"
)

// ClientOptions are the settings of a Client. The zero value is usable.
type ClientOptions struct {
	// Name is what the server is called in errors and warnings, such as its address.
	// Default "StoreAPI".
	Name string
	// SyncInterval is how often Run asks what the server holds. Default 5 s.
	SyncInterval time.Duration
	// SyncTimeout bounds that question. Default 5 s.
	SyncTimeout time.Duration
	// BatchSize is how many series a server may put into a message. One that does
	// not know of batches sends one. Default 64.
	BatchSize int
	// MaxMessageBytes bounds a message, before and after decompression, and what is
	// made of it besides: a *MessageError is beyond. Thanos' stores put all chunks of
	// a series in one. Default 512 MiB, at most 2 GiB - 1.
	MaxMessageBytes int
	// MaxBufferedBytes bounds the memory of a Select that has to sort the series of
	// the server itself, see ChunkQuerierWithout: a *BufferError is beyond. Default
	// 512 MiB.
	MaxBufferedBytes int64
	// Logger for Run; nil is silent.
	Logger *slog.Logger
	// Registerer for metrics; nil is none. For several clients on one registry wrap
	// it for each, with a label of its own value.
	Registerer prometheus.Registerer
}

const (
	defaultSyncInterval  = 5 * time.Second
	defaultSyncTimeout   = 5 * time.Second
	defaultBatchSize     = 64
	defaultMessageBytes  = 512 << 20
	defaultBufferedBytes = 512 << 20
)

func (o ClientOptions) withDefaults() ClientOptions {
	if o.Name == "" {
		o.Name = "StoreAPI"
	}
	if o.SyncInterval == 0 {
		o.SyncInterval = defaultSyncInterval
	}
	if o.SyncTimeout == 0 {
		o.SyncTimeout = defaultSyncTimeout
	}
	if o.BatchSize == 0 {
		o.BatchSize = defaultBatchSize
	}
	if o.MaxMessageBytes == 0 {
		o.MaxMessageBytes = defaultMessageBytes
	}
	if o.MaxBufferedBytes == 0 {
		o.MaxBufferedBytes = defaultBufferedBytes
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Validate returns all that is wrong with the options, each by its field's name, or
// nil. Zero values are fine.
func (o ClientOptions) Validate() error {
	o = o.withDefaults()
	var errs []error
	for _, c := range []struct {
		field string
		bad   bool
		why   string
	}{
		{"SyncInterval", o.SyncInterval < 0, "is negative"},
		{"SyncTimeout", o.SyncTimeout < 0, "is negative"},
		{"BatchSize", o.BatchSize < 0, "is negative"},
		{"MaxMessageBytes", o.MaxMessageBytes < 1 || o.MaxMessageBytes > math.MaxInt32, fmt.Sprintf("is not between 1 and %d", math.MaxInt32)},
		{"MaxBufferedBytes", o.MaxBufferedBytes < 0, "is negative"},
	} {
		if c.bad {
			errs = append(errs, fmt.Errorf("%s %s", c.field, c.why))
		}
	}
	return errors.Join(errs...)
}

// Client is the series of a server of the StoreAPI, Varve's or Thanos', as a
// storage.ChunkQueryable. It is safe for concurrent use.
type Client struct {
	conn    grpc.ClientConnInterface
	opts    ClientOptions
	metrics *clientMetrics

	asking   attempts
	known    atomic.Pointer[info]
	last     atomic.Pointer[lastSync]
	unsorted atomic.Bool // the server has sent series out of order
}

var _ storage.ChunkQueryable = (*Client)(nil)

// NewClient returns a Client over a connection, which stays the caller's. It should
// have DialOptions, and for compression SnappyDialOptions. The error says what is
// wrong with the options.
func NewClient(conn grpc.ClientConnInterface, opts ClientOptions) (*Client, error) {
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("storeapi client options: %w", err)
	}
	c := &Client{conn: conn, opts: opts.withDefaults()}
	var err error
	c.metrics, err = newClientMetrics(opts.Registerer)
	return c, err
}

// DialOptions have a connection notice soon that its server has gone, and that it is
// there again: it sends a ping after 10 seconds without traffic, and tries to
// connect every 5 seconds at least, where gRPC's default rises to two minutes.
func DialOptions() []grpc.DialOption { return grpcwire.DialOptions() }

// SnappyDialOptions have a connection compress what it sends and understand what
// comes compressed, in the framed format of snappy that Thanos uses between its
// programs if it is told to. A server of Thanos then compresses too; one of Varve
// does with SnappyServerOption. opts are those of the clients on the connection, for
// MaxMessageBytes. It is for this connection only: nothing is registered for the
// process.
func SnappyDialOptions(opts ClientOptions) []grpc.DialOption {
	return grpcwire.SnappyDialOptions(opts.withDefaults().MaxMessageBytes)
}

// Streams yields the external labels of each stream that the server said it holds,
// with its inclusive range of times in ms, until yield returns false. It asks
// nothing. Before the first successful Sync it yields no labels and all of time:
// anything may be there.
func (c *Client) Streams(yield func(external labels.Labels, mint, maxt int64) bool) {
	for _, s := range c.known.Load().streams() {
		if !yield(s.external, s.mint, s.maxt) {
			return
		}
	}
}

// Component is what the server says it is, such as sidecar, or empty before the
// first successful Sync.
func (c *Client) Component() string {
	if i := c.known.Load(); i != nil {
		return i.component
	}
	return ""
}

// String names the server in warnings and errors.
func (c *Client) String() string { return c.opts.Name }

// Close takes the metrics off the registry. Queriers and the connection are the
// caller's to close. It may be called twice.
func (c *Client) Close() error {
	c.metrics.registered.UnregisterAll()
	return nil
}

// ChunkQuerier returns a querier for the time from mint to maxt in ms, both
// inclusive. It asks nothing yet.
//
// Its Select asks at once, in the background, and returns series as they come: what
// the server has sent and nobody has read yet is bounded by gRPC's flow control, and
// messages that were taken from there are in the budget of the read's context.
// Chunks are in memory of their own and stay usable after Close. A server that sends
// series out of order fails that read with an error that says to try again, and from
// then on is sorted here, see MaxBufferedBytes.
func (c *Client) ChunkQuerier(mint, maxt int64) (storage.ChunkQuerier, error) {
	return &clientQuerier{client: c, mint: mint, maxt: maxt}, nil
}

// callOptions are those of every call.
func (c *Client) callOptions() []grpc.CallOption {
	return []grpc.CallOption{grpc.ForceCodecV2(grpcwire.Codec{}), grpc.MaxCallRecvMsgSize(c.opts.MaxMessageBytes)}
}

// outgoing returns the context for a call, with whose behalf it is on.
func outgoing(ctx context.Context) context.Context {
	if tenant := readopts.From(ctx).Tenant; tenant != "" {
		return metadata.AppendToOutgoingContext(ctx, tenantKey, tenant, thanosTenantKey, tenant)
	}
	return ctx
}

// call is a call with one answer.
func (c *Client) call(ctx context.Context, method string, req encoded) ([]byte, error) {
	res := &received{}
	err := c.conn.Invoke(outgoing(ctx), method, req, res, c.callOptions()...)
	if err = c.ended(ctx, method, err); err != nil {
		return nil, err
	}
	c.metrics.bytes.Add(float64(len(res.body)))
	return res.body, nil
}

// open begins a call with many answers. The context has to end for it to be over.
func (c *Client) open(ctx context.Context, method string, req encoded) (grpc.ClientStream, error) {
	stream, err := c.conn.NewStream(outgoing(ctx), &grpc.StreamDesc{ServerStreams: true}, method, c.callOptions()...)
	if err == nil {
		err = stream.SendMsg(req)
	}
	if err == nil {
		err = stream.CloseSend()
	}
	if err == nil {
		return stream, nil
	}
	if errors.Is(err, io.EOF) { // which is why nothing could be sent; RecvMsg says why
		err = stream.RecvMsg(&received{})
	}
	return nil, c.failure(ctx, method, err)
}
