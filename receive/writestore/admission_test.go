package writestore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/storage"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"

	"github.com/varve-tsdb/varve/internal/grpcwire/grpctest"
	"github.com/varve-tsdb/varve/receive"
)

// hangingStorage holds back whoever wants to store, until it is let go.
type hangingStorage struct {
	inside  atomic.Int64
	bounded atomic.Bool // the last one had a deadline
	open    chan struct{}
}

func (s *hangingStorage) Appender(ctx context.Context, _ string) (storage.AppenderV2, error) {
	_, bounded := ctx.Deadline()
	s.bounded.Store(bounded)
	s.inside.Add(1)
	defer s.inside.Add(-1)
	<-s.open
	return nil, receive.ErrUnavailable
}

// loads counts the messages that a server has read.
type loads struct{ messages atomic.Int64 }

func (*loads) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (*loads) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (*loads) HandleConn(context.Context, stats.ConnStats)                       {}
func (l *loads) HandleRPC(_ context.Context, s stats.RPCStats) {
	if _, ok := s.(*stats.InPayload); ok {
		l.messages.Add(1)
	}
}

// overloaded is a receiver whose storage hangs.
type overloaded struct {
	to      *hangingStorage
	handler *receive.Handler
	reg     *prometheus.Registry
	conn    *grpc.ClientConn
	loads   loads
}

func newOverloaded(t *testing.T, limits receive.GlobalLimits, dial ...grpc.DialOption) *overloaded {
	t.Helper()
	o := &overloaded{to: &hangingStorage{open: make(chan struct{})}, reg: prometheus.NewRegistry()}
	var err error
	o.handler, err = receive.NewHandler(o.to, receive.HandlerOptions{
		Registerer: o.reg, Limits: func() *receive.LimitSet { return &receive.LimitSet{Global: limits} },
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewServer(o.handler.Peer(), ServerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(append(s.GRPCOptions(), grpc.StatsHandler(&o.loads))...)
	s.Register(server)
	o.conn = grpctest.Serve(t, server, dial...)
	return o
}

// accounted is what the receiver says it has in flight.
func (o *overloaded) accounted(t *testing.T) (bytes, requests float64) {
	t.Helper()
	families, err := o.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		switch f.GetName() {
		case "varve_receive_limit_in_flight_bytes":
			bytes = f.GetMetric()[0].GetGauge().GetValue()
		case "varve_receive_limit_in_flight_requests":
			requests = f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	return bytes, requests
}

// series encodes a message of remote write 1.0 of about so many bytes.
func series(t testing.TB, size int) (message []byte, n int) {
	t.Helper()
	var msg prompb.WriteRequest
	for ; size > 0; size -= 100 {
		msg.Timeseries = append(msg.Timeseries, prompb.TimeSeries{
			Labels:  []prompb.Label{{Name: "__name__", Value: "m"}, {Name: "n", Value: fmt.Sprintf("%070d", size)}},
			Samples: []prompb.Sample{{Value: 1, Timestamp: time.Now().UnixMilli()}},
		})
	}
	body, err := msg.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return body, len(msg.Timeseries)
}

// eventually waits until ok is so.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 1000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s: not within 10 seconds", what)
}

// While a storage hangs, senders and peers overload a receiver together: what both
// take stays within the budget, peers beyond it are told to come again before
// their messages are read, and nothing is left accounted in the end.
func TestPeersAndSendersShareABudget(t *testing.T) {
	for name, dial := range map[string][]grpc.DialOption{"as it is": nil, "compressed": SnappyDialOptions()} {
		t.Run(name, func(t *testing.T) {
			const (
				budget = 4 << 20
				each   = 50
			)
			o := newOverloaded(t, receive.GlobalLimits{InFlightBytes: budget, Concurrency: -1}, dial...)
			message, n := series(t, 200_000)
			body := snappy.Encode(nil, message)
			client := NewClient(o.conn)
			var (
				wg                     sync.WaitGroup
				refusedHTTP, refusedRP atomic.Int64
				letIn                  = make(chan struct{})
			)
			for range each {
				wg.Go(func() {
					w := httptest.NewRecorder()
					o.handler.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", io.NopCloser(bytes.NewReader(body))))
					select {
					case <-letIn:
					default:
						refusedHTTP.Add(1)
						if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "in_flight_bytes_limit") {
							t.Errorf("a sender is answered %d: %s", w.Code, w.Body)
						}
					}
				})
				wg.Go(func() {
					err := client.Write(t.Context(), &receive.PeerRequest{Replica: 1, Tenants: []receive.PeerSeries{{Tenant: "t", Message: message, Series: n}}})
					select {
					case <-letIn:
					default:
						refusedRP.Add(1)
						if answer := new(StatusError); !errors.As(err, &answer) || answer.Code != codes.Unavailable || !strings.Contains(answer.Text, "in_flight_bytes_limit") || receive.ReasonOf(err) != receive.ReasonUnavailable {
							t.Errorf("a peer is answered %v", err)
						}
					}
				})
			}
			eventually(t, "all are let in or refused", func() bool {
				if used, _ := o.accounted(t); used > budget {
					t.Errorf("%v bytes are accounted of a budget of %d", used, budget)
				}
				return refusedHTTP.Load()+refusedRP.Load()+o.to.inside.Load() == 2*each
			})
			used, requests := o.accounted(t)
			if inside := o.to.inside.Load(); inside < 2 || requests != float64(inside) || float64(inside)*float64(len(message)) > used {
				t.Errorf("%d messages of %d bytes are in the storage, accounted are %v bytes of %v requests", inside, len(message), used, requests)
			}
			// What is there once may be refused only when it has taken more room
			// than it was said to need.
			if read, letIn := o.loads.messages.Load(), each-refusedRP.Load(); read < letIn || read > letIn+each/4 {
				t.Errorf("%d messages of peers were read, and %d were let in", read, letIn)
			}
			close(letIn)
			close(o.to.open)
			wg.Wait()
			eventually(t, "nothing is accounted in the end", func() bool {
				used, requests := o.accounted(t)
				return used == 0 && requests == 0
			})
		})
	}
}

// Calls that are over before their message has come leave nothing accounted, and
// those whose client sets no deadline have one.
func TestCallsWithoutAMessage(t *testing.T) {
	o := newOverloaded(t, receive.GlobalLimits{InFlightRequests: 3})
	close(o.to.open)
	ctx, cancel := context.WithCancel(t.Context())
	for range 3 {
		if _, err := o.conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true}, methodPath, grpc.ForceCodecV2(rawCodec{})); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the calls are let in", func() bool { _, n := o.accounted(t); return n == 3 })
	message, n := series(t, 1)
	req := &receive.PeerRequest{Replica: 1, Tenants: []receive.PeerSeries{{Tenant: "t", Message: message, Series: n}}}
	err := NewClient(o.conn).Write(t.Context(), req)
	if answer := new(StatusError); !errors.As(err, &answer) || answer.Code != codes.Unavailable || !strings.Contains(answer.Text, "in_flight_requests_limit") {
		t.Errorf("one more call: %v", err)
	}
	cancel()
	eventually(t, "the calls are gone", func() bool { used, n := o.accounted(t); return used == 0 && n == 0 })
	if err := NewClient(o.conn).Write(t.Context(), req); !strings.Contains(fmt.Sprint(err), receive.ErrUnavailable.Error()) {
		t.Errorf("a call after them does not come through to the storage: %v", err)
	}
	if !o.to.bounded.Load() {
		t.Error("a call without a deadline may take for ever")
	}
}

func TestSizesThatAreSaid(t *testing.T) {
	for _, c := range []struct {
		values []string
		want   int64
		ok     bool
	}{
		{nil, 0, false},
		{[]string{"17"}, 17, true},
		{[]string{"0"}, 0, true},
		{[]string{"17", "18"}, 0, false},
		{[]string{"many"}, 0, false},
		{[]string{"-1"}, 0, false},
		{[]string{"1000000"}, 1000, true},
		{[]string{"99999999999999999999"}, 0, false},
	} {
		got, ok := saidSize(metadata.MD{sizeKey: c.values}, 1000)
		if ok != c.ok || ok && got != c.want {
			t.Errorf("%q: %d, %v", c.values, got, ok)
		}
	}
}

// Messages of clients that do not say how large they are count as much as those
// before them have taken.
func TestMessagesOfUnknownSize(t *testing.T) {
	const budget = 4 << 20
	o := newOverloaded(t, receive.GlobalLimits{InFlightBytes: budget})
	close(o.to.open)
	message, _ := series(t, 3<<20/2)
	body := join(message, tenant("t"))
	if err := call(t, o.conn, body); !strings.Contains(fmt.Sprint(err), receive.ErrUnavailable.Error()) {
		t.Fatalf("the first: %v", err)
	}
	first := o.loads.messages.Load()
	// Now two at once are known to be too much.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if _, err := o.conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true}, methodPath, grpc.ForceCodecV2(rawCodec{})); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a call is let in", func() bool { _, n := o.accounted(t); return n == 1 })
	if err := call(t, o.conn, body); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "in_flight_bytes_limit") {
		t.Errorf("the second at once: %v", err)
	}
	if read := o.loads.messages.Load() - first; read != 0 {
		t.Errorf("%d messages were read of which it is known that they are too much", read)
	}
}
