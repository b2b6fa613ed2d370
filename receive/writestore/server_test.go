package writestore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"pgregory.net/rapid"

	"github.com/varve-tsdb/varve/internal/grpcwire/grpctest"
	"github.com/varve-tsdb/varve/receive"
)

func TestServerReadsBothShapes(t *testing.T) {
	to := &recorder{}
	conn := serveTo(t, to, ServerOptions{})
	old := oracle{timeseries: [][]byte{[]byte("a"), []byte("b")}, tenant: "t", replica: 1}
	several := oracle{replica: 2, tuples: []oracle{
		{timeseries: [][]byte{[]byte("c")}, tenant: "u"}, {timeseries: [][]byte{[]byte("d"), nil}, tenant: "v"},
	}}
	for _, o := range []oracle{old, several, {}} {
		if err := call(t, conn, o.encode(t)); err != nil {
			t.Fatal(err)
		}
	}
	want := []receive.PeerRequest{
		{Replica: 1, Tenants: []receive.PeerSeries{{Tenant: "t", Message: timeseries("a", "b"), Series: 2}}},
		{Replica: 2, Tenants: []receive.PeerSeries{
			{Tenant: "u", Message: timeseries("c"), Series: 1}, {Tenant: "v", Message: timeseries("d", ""), Series: 2},
		}},
	}
	if fmt.Sprint(to.got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", to.got, want)
	}
}

type retryableError bool

func (e retryableError) Error() string   { return fmt.Sprintf("retryable: %v", bool(e)) }
func (e retryableError) Retryable() bool { return bool(e) }

func TestStatusesOfAServer(t *testing.T) {
	refused := func(reasons ...receive.Reason) error {
		r := &receive.PeerRefusal{Refused: map[int]receive.Reason{}}
		for i, reason := range reasons {
			r.Refused[i] = reason
		}
		return r
	}
	body := join(timeseries("a", "b"), tenant("t"))
	for _, c := range []struct {
		name string
		err  error
		body []byte
		want codes.Code
	}{
		{"stored", nil, body, codes.OK},
		{"nothing in it", errors.New("not asked"), nil, codes.OK},
		{"not ready", fmt.Errorf("tenant t: %w", receive.ErrUnavailable), body, codes.Unavailable},
		{"retryable", retryableError(true), body, codes.Unavailable},
		{"final", retryableError(false), body, codes.AlreadyExists},
		{"no such replica", fmt.Errorf("tenant t: %w", receive.ErrBadReplica), body, codes.InvalidArgument},
		{"failed", errors.New("on fire"), body, codes.Internal},
		{"refused for good", refused(receive.ReasonOutOfOrder, receive.ReasonNoMetricName), body, codes.AlreadyExists},
		{"some to come again", refused(receive.ReasonOutOfOrder, receive.ReasonFailed), body, codes.Unavailable},
		{"bad replica", nil, join(body, replica(-1)), codes.InvalidArgument},
		{"no message", nil, []byte("\xff"), codes.Internal},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := call(t, serveTo(t, answering(c.err), ServerOptions{}), c.body)
			if status.Code(err) != c.want {
				t.Errorf("answered %v, want %v", err, c.want)
			}
			if c.err != nil && err != nil && !strings.Contains(err.Error(), c.err.Error()) {
				t.Errorf("%v does not say %v", err, c.err)
			}
		})
	}
}

func TestRefusedSeriesTravel(t *testing.T) {
	var refusal *receive.PeerRefusal
	client := NewClient(serveTo(t, receive.PeerFunc(func(context.Context, *receive.PeerRequest) error { return refusal }), ServerOptions{}))
	rapid.Check(t, func(rt *rapid.T) {
		series := rapid.IntRange(1, 50).Draw(rt, "series")
		refusal = &receive.PeerRefusal{
			Refused: rapid.MapOfN(rapid.IntRange(0, series-1), rapid.SampledFrom(refusals()), 1, -1).Draw(rt, "refused"),
			Text:    "series up",
		}
		var got *receive.PeerRefusal
		err := client.Write(t.Context(), &receive.PeerRequest{Tenants: []receive.PeerSeries{
			{Tenant: "t", Message: timeseries(make([]string, series)...), Series: series},
		}})
		if !errors.As(err, &got) || !maps.Equal(got.Refused, refusal.Refused) || !strings.Contains(got.Text, refusal.Text) {
			rt.Fatalf("got %v, want %v", err, refusal)
		}
	})
}

// A text that is too long for a header does not keep the answer from arriving.
func TestLongTextsOfRefusals(t *testing.T) {
	client := NewClient(serveTo(t, answering(&receive.PeerRefusal{
		Refused: map[int]receive.Reason{1: receive.ReasonConflict}, Text: strings.Repeat("ü", 20<<20),
	}), ServerOptions{}))
	var refusal *receive.PeerRefusal
	if err := client.Write(t.Context(), request()); !errors.As(err, &refusal) || refusal.Refused[1] != receive.ReasonConflict {
		t.Errorf("the error is %.200v", err)
	}
}

func TestMessagesBeyondTheBound(t *testing.T) {
	to := &recorder{}
	opts := ServerOptions{MaxMessageBytes: 10_000}
	big := &receive.PeerRequest{Tenants: []receive.PeerSeries{{Message: timeseries(strings.Repeat("a", 10_000)), Series: 1}}}
	for name, dial := range map[string][]grpc.DialOption{"as it is": nil, "compressed": SnappyDialOptions()} {
		client := NewClient(serveTo(t, to, opts, dial...))
		err := client.Write(t.Context(), big)
		if status := new(StatusError); !errors.As(err, &status) || status.Code != codes.ResourceExhausted {
			t.Errorf("%s: %v", name, err)
		}
		if reason := receive.ReasonOf(err); reason != receive.ReasonFailed {
			t.Errorf("%s: taken for %v", name, reason)
		}
		if err := client.Write(t.Context(), request()); err != nil {
			t.Errorf("%s: a small one after it: %v", name, err)
		}
	}
	if len(to.got) != 2 {
		t.Errorf("%d requests came through, want the 2 small ones", len(to.got))
	}
}

func TestServerWithoutTheCodecSaysSo(t *testing.T) {
	s, err := NewServer(answering(nil), ServerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	s.Register(server)
	err = NewClient(grpctest.Serve(t, server)).Write(t.Context(), request())
	if err == nil || !strings.Contains(err.Error(), "GRPCOptions") {
		t.Errorf("the error is %v", err)
	}
}

func TestInterceptorsOfTheHost(t *testing.T) {
	to := &recorder{}
	s, err := NewServer(to, ServerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var methods []string
	server := grpc.NewServer(append(s.GRPCOptions(), grpc.UnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		methods = append(methods, info.FullMethod)
		return next(ctx, req)
	}))...)
	s.Register(server)
	if err := NewClient(grpctest.Serve(t, server)).Write(t.Context(), request()); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(methods) != "[/thanos.WriteableStore/RemoteWrite]" || len(to.got) != 1 {
		t.Errorf("intercepted %v, stored %d", methods, len(to.got))
	}
}

func TestServerOptions(t *testing.T) {
	for _, n := range []int{-1, 1 << 31} {
		if _, err := NewServer(answering(nil), ServerOptions{MaxMessageBytes: n}); err == nil || !strings.Contains(err.Error(), "MaxMessageBytes") {
			t.Errorf("%d: %v", n, err)
		}
	}
}
