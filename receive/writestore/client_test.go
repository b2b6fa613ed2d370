package writestore

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/varve-tsdb/varve/internal/grpcwire/grpctest"
	"github.com/varve-tsdb/varve/receive"
)

// request is one of two series of one tenant.
func request() *receive.PeerRequest {
	return &receive.PeerRequest{Replica: 1, Tenants: []receive.PeerSeries{{Tenant: "t", Message: timeseries("a", "bc"), Series: 2}}}
}

func TestWhatIsSentArrives(t *testing.T) {
	long := make([]byte, 300_000) // many pieces of HTTP/2
	for i := range long {
		long[i] = byte(i % 251)
	}
	for name, dial := range map[string][]grpc.DialOption{"as it is": nil, "compressed": SnappyDialOptions()} {
		t.Run(name, func(t *testing.T) {
			to := &recorder{}
			client := NewClient(serveTo(t, to, ServerOptions{}, dial...))
			want := []receive.PeerRequest{*request(), {Replica: 3, Tenants: []receive.PeerSeries{{Tenant: "u", Message: timeseries(string(long)), Series: 1}}}}
			for _, req := range want {
				if err := client.Write(t.Context(), &req); err != nil {
					t.Fatal(err)
				}
			}
			if !reflect.DeepEqual(to.got, want) {
				t.Errorf("%d requests came, and not as they were sent", len(to.got))
			}
		})
	}
}

// Receivers of Thanos v0.42.4 read no other fields, and take a request without
// them for an empty one.
func TestThanosIsSentOneTenantACall(t *testing.T) {
	var got []oracle
	client := NewClient(grpctest.Serve(t, rawPeer(func(_ context.Context, body []byte) error {
		o, ok := readOracle(slices.Clone(body))
		if !ok {
			return errors.New("no message")
		}
		got = append(got, o)
		return nil
	})))
	err := client.Write(t.Context(), &receive.PeerRequest{Replica: 2, Tenants: []receive.PeerSeries{
		{Tenant: "t", Message: timeseries("a", "b"), Series: 2},
		{Tenant: "u", Message: timeseries("c"), Series: 1},
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := []oracle{
		{timeseries: [][]byte{[]byte("a"), []byte("b")}, tenant: "t", replica: 2},
		{timeseries: [][]byte{[]byte("c")}, tenant: "u", replica: 2},
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the peer read %v, want %v", got, want)
	}
}

// A peer that says no more than a status, as Thanos does.
func TestStatusesOfPeersWithoutTrailers(t *testing.T) {
	for _, c := range []struct {
		code  codes.Code
		class receive.Class
		away  bool // the peer is to be left alone for a while
	}{
		{codes.AlreadyExists, receive.Final, false},
		{codes.Unavailable, receive.Retryable, true},
		{codes.DeadlineExceeded, receive.Retryable, true},
		{codes.Unimplemented, receive.Retryable, true},
		{codes.InvalidArgument, receive.Retryable, false},
		{codes.Internal, receive.Retryable, false},
		{codes.Unknown, receive.Retryable, false},
		{codes.ResourceExhausted, receive.Retryable, false},
	} {
		t.Run(c.code.String(), func(t *testing.T) {
			client := NewClient(grpctest.Serve(t, rawPeer(func(context.Context, []byte) error {
				return status.Error(c.code, "for a reason")
			})))
			err := client.Write(t.Context(), request())
			var answer *StatusError
			if !errors.As(err, &answer) || answer.Code != c.code || answer.Text != "for a reason" {
				t.Fatalf("the error is %v", err)
			}
			reason := receive.ReasonOf(err)
			if reason.Class() != c.class || (reason == receive.ReasonUnavailable) != c.away {
				t.Errorf("it is taken for %v, which is %v", reason, reason.Class())
			}
		})
	}
}

func TestPeerThatIsNotThere(t *testing.T) {
	server := grpc.NewServer()
	client := NewClient(grpctest.Serve(t, server))
	if err := client.Write(t.Context(), request()); receive.ReasonOf(err) != receive.ReasonUnavailable {
		t.Errorf("a server that is no receiver: %v", err)
	}
	server.Stop()
	if err := client.Write(t.Context(), request()); receive.ReasonOf(err) != receive.ReasonUnavailable {
		t.Errorf("a server that has gone: %v", err)
	}
}

func TestTrailerThatIsNoTrailer(t *testing.T) {
	for name, trailer := range map[string]string{
		"not protobuf":         "\xff",
		"series that are none": string(refusedFor("out_of_order", false, 2, 1)),
	} {
		client := NewClient(grpctest.Serve(t, rawPeer(func(ctx context.Context, _ []byte) error {
			if err := grpc.SetTrailer(ctx, metadata.Pairs(refusedKey, trailer)); err != nil {
				t.Error(err)
			}
			return status.Error(codes.AlreadyExists, "out of order")
		})))
		err := client.Write(t.Context(), request())
		if answer := new(StatusError); !errors.As(err, &answer) || receive.ReasonOf(err).Class() != receive.Final {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSeveralTenantsWithDifferentAnswers(t *testing.T) {
	req := &receive.PeerRequest{Tenants: []receive.PeerSeries{
		{Tenant: "good", Message: timeseries("a", "b"), Series: 2},
		{Tenant: "part", Message: timeseries("c", "d", "e"), Series: 3},
		{Tenant: "full", Message: timeseries("f", "g"), Series: 2},
	}}
	client := NewClient(serveTo(t, receive.PeerFunc(func(_ context.Context, req *receive.PeerRequest) error {
		switch req.Tenants[0].Tenant {
		case "part":
			return &receive.PeerRefusal{Refused: map[int]receive.Reason{1: receive.ReasonConflict}}
		case "full":
			return receive.ErrUnavailable
		}
		return nil
	}), ServerOptions{}))
	var refusal *receive.PeerRefusal
	if err := client.Write(t.Context(), req); !errors.As(err, &refusal) {
		t.Fatalf("the error is %v", err)
	}
	want := map[int]receive.Reason{3: receive.ReasonConflict, 5: receive.ReasonUnavailable, 6: receive.ReasonUnavailable}
	if d := cmp.Diff(want, refusal.Refused); d != "" {
		t.Error(d)
	}
	req.Tenants = []receive.PeerSeries{req.Tenants[2], req.Tenants[2]}
	if err := client.Write(t.Context(), req); errors.As(err, &refusal) || receive.ReasonOf(err) != receive.ReasonUnavailable {
		t.Errorf("a peer that takes nothing is not told from one that refuses series: %v", err)
	}
}

// The caller may use the bytes again at once, although gRPC may still be sending.
func TestCancelledWrite(t *testing.T) {
	begun := make(chan struct{})
	client := NewClient(serveTo(t, receive.PeerFunc(func(ctx context.Context, _ *receive.PeerRequest) error {
		close(begun)
		<-ctx.Done()
		return ctx.Err()
	}), ServerOptions{}))
	ctx, cancel := context.WithCancel(t.Context())
	req := request()
	written := make(chan error, 1)
	go func() {
		err := client.Write(ctx, req)
		clear(req.Tenants[0].Message)
		written <- err
	}()
	<-begun
	cancel()
	err := <-written
	if !errors.Is(err, context.Canceled) || receive.ReasonOf(err) != receive.ReasonFailed {
		t.Errorf("the error is %v, taken for %v", err, receive.ReasonOf(err))
	}
}
