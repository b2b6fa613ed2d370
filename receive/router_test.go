package receive

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"github.com/prometheus/prometheus/prompb"
)

// accepting is a peer that stores everything and tells how much it was sent.
func accepting(series *atomic.Int64) Peer {
	return PeerFunc(func(_ context.Context, req *PeerRequest) error {
		series.Add(int64(req.Tenants[0].Series))
		return nil
	})
}

func TestNewRouterRefuses(t *testing.T) {
	dial := func(Endpoint) (Peer, error) { return nil, nil }
	if _, err := NewRouter(nil, "", dial, RouterOptions{}); err == nil {
		t.Error("no hashrings are taken")
	}
	if _, err := NewRouter(fixed(nil), "", nil, RouterOptions{}); err == nil {
		t.Error("no dial is taken")
	}
	_, err := NewRouter(fixed(nil), "", dial, RouterOptions{ForwardTimeout: -1, MinBackoff: -1, MaxBackoff: -2})
	for _, field := range []string{"ForwardTimeout", "MinBackoff", "MaxBackoff"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%v does not name %s", err, field)
		}
	}
	reg := prometheus.NewRegistry()
	if _, err := NewRouter(fixed(nil), "", dial, RouterOptions{Registerer: reg}); err != nil {
		t.Error(err)
	}
	if _, err := NewRouter(fixed(nil), "", dial, RouterOptions{Registerer: reg}); err == nil || !strings.Contains(err.Error(), "WrapRegistererWith") {
		t.Errorf("a second router on one registry: %v", err)
	}
}

func TestHandlerWithoutStorage(t *testing.T) {
	routes := newTestRouter(t, fixed(nil), "", (&fakePeers{}).dial, RouterOptions{})
	ingests := newTestRouter(t, fixed(nil), "a:1", (&fakePeers{}).dial, RouterOptions{})
	for _, tc := range []struct {
		name string
		opts HandlerOptions
		ok   bool
	}{
		{"nothing", HandlerOptions{}, false},
		{"router and ingestor", HandlerOptions{Router: ingests}, false},
		{"router", HandlerOptions{Router: routes}, true},
		{"router with rules", HandlerOptions{Router: routes, Relabel: []*relabel.Config{{Action: relabel.Drop, Regex: relabel.MustNewRegexp("x"), NameValidationScheme: relabel.DefaultRelabelConfig.NameValidationScheme}}}, false},
	} {
		if _, err := NewHandler(nil, tc.opts); (err == nil) != tc.ok {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

// Where the hashrings do not say who a tenant is of, senders come again.
func TestRouteWithoutHashring(t *testing.T) {
	var rings atomic.Pointer[Hashrings]
	router := newTestRouter(t, rings.Load, "a:1", (&fakePeers{}).dial, RouterOptions{})
	to := newFakeStorage()
	h := newTestHandler(t, to, HandlerOptions{Router: router})
	req := rwRequest{message: v1(v1Series(named("m"), base), v1Series([]string{"x", "y"}, base))}
	rec := req.send(t, h)
	wantAnswer(t, rec, 503, "hashrings are not loaded", "missing_metric_name: 1", "storage_unavailable: 1")
	if rec.Header().Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	others, err := ParseHashrings([]byte(`[{"tenants": ["others"], "endpoints": ["a:1"]}]`), HashringsOptions{})
	if err != nil {
		t.Fatal(err)
	}
	rings.Store(others)
	wantAnswer(t, req.send(t, h), 503, "no hashring takes the tenant")
	req.headers = map[string]string{"THANOS-TENANT": "others"}
	wantAnswer(t, req.send(t, h), 400, "missing_metric_name: 1")
	if len(to.stored) != 1 {
		t.Errorf("%d samples are stored", len(to.stored))
	}
	// Nothing of a malformed request goes anywhere.
	wantAnswer(t, rwRequest{body: []byte{10, 2, 18, 9}}.send(t, h), 400, "nothing of this request is stored")
}

// One series of each kind, to this receiver and to a peer: all arrives.
func TestRouteKeepsWhatSeriesHold(t *testing.T) {
	for _, two := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			away, here := newFakeStorage(), newFakeStorage()
			peer := newTestHandler(t, away, HandlerOptions{TooFarInFuture: -1})
			dial := func(Endpoint) (Peer, error) { return PeerFunc(peer.WritePeer), nil }
			router := newTestRouter(t, fixed(testHashrings(t, AlgorithmHashmod, 2, "a:1", "b:1")), "a:1", dial, RouterOptions{})
			h := newTestHandler(t, here, HandlerOptions{Router: router, TooFarInFuture: -1})
			msg := v1(v1Series(named("m", "z", "1", "b", "ü"), base, base+1), v1Series(named("h")))
			msg.Timeseries[0].Exemplars = []prompb.Exemplar{v1Exemplar(base, "trace", "1")}
			msg.Timeseries[1].Histograms = []prompb.Histogram{
				prompb.FromIntHistogram(base, rwHistogram()), prompb.FromFloatHistogram(base+1, rwFloatHistogram()), prompb.FromIntHistogram(base+2, rwCustomHistogram()),
			}
			req := rwRequest{message: msg}
			if two {
				req.message = v2Of(msg)
			}
			wantAnswer(t, req.send(t, h), 204)
			synctest.Wait() // for the peer, as one replica is enough
			for _, to := range []*fakeStorage{away, here} {
				slices.SortFunc(to.stored, func(x, y fakeSample) int { return strings.Compare(x.String(), y.String()) })
			}
			if fmt.Sprint(away.stored) != fmt.Sprint(here.stored) || fmt.Sprint(away.exemplars) != fmt.Sprint(here.exemplars) || len(here.stored) != 5 || len(here.exemplars) != 1 {
				t.Errorf("2.0 %v: here\n%v %v\nat the peer\n%v %v", two, here.stored, here.exemplars, away.stored, away.exemplars)
			}
		})
	}
}

// A request is answered when it is decided. What it did not wait for still
// arrives, unless it takes longer than a call may.
func TestRouteStragglers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peers := &fakePeers{}
		reg := prometheus.NewRegistry()
		router := newTestRouter(t, fixed(testHashrings(t, AlgorithmHashmod, 3, "a:1", "b:1", "c:1")), "a:1", peers.dial, RouterOptions{Registerer: reg})
		h := newTestHandler(t, newFakeStorage(), HandlerOptions{Router: router, TooFarInFuture: -1})
		answered := make(chan *httptest.ResponseRecorder, 1)
		go func() { answered <- rwRequest{message: v1(v1Series(named("m"), base))}.send(t, h) }()
		synctest.Wait()
		calls := peers.calls()
		if len(calls) != 2 {
			t.Fatalf("%d calls", len(calls))
		}
		calls[0].answer <- nil
		wantAnswer(t, <-answered, 204)
		if n := len(peers.calls()); n != 1 {
			t.Fatalf("%d calls go on", n)
		}
		// Others use the pools meanwhile; the bytes of the call must not change.
		go func() { answered <- rwRequest{message: v1(v1Series(named("other"), base))}.send(t, h) }()
		synctest.Wait()
		for _, c := range peers.calls() {
			if c.address != calls[1].address {
				c.answer <- nil
			}
		}
		wantAnswer(t, <-answered, 204)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if n := len(peers.calls()); n != 0 {
			t.Fatalf("%d calls go on beyond their time", n)
		}
		if err := peers.check(); err != nil {
			t.Error(err)
		}
		// Both calls to the same peer have failed, at one time: it counts once.
		want := `
# HELP varve_receive_forward_failed_peers Other receivers that are left alone now because they have failed.
# TYPE varve_receive_forward_failed_peers gauge
varve_receive_forward_failed_peers 1
# HELP varve_receive_forward_late_answers_total Requests to other receivers that the sender's request did not wait for, as its verdict was certain or its time was over.
# TYPE varve_receive_forward_late_answers_total counter
varve_receive_forward_late_answers_total 2
# HELP varve_receive_forward_series_total Series that belong on other receivers, each as often as it is replicated there, by the class of what became of them.
# TYPE varve_receive_forward_series_total counter
varve_receive_forward_series_total{class="accepted"} 2
varve_receive_forward_series_total{class="retryable"} 2
# HELP varve_receive_forward_requests_in_flight Requests to other receivers under way now.
# TYPE varve_receive_forward_requests_in_flight gauge
varve_receive_forward_requests_in_flight 0
`
		if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "varve_receive_forward_failed_peers", "varve_receive_forward_late_answers_total", "varve_receive_forward_series_total", "varve_receive_forward_requests_in_flight"); err != nil {
			t.Error(err)
		}
	})
}

// A sender that goes away is not waited for, nor are the peers then.
func TestRouteSenderGoesAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peers := &fakePeers{}
		router := newTestRouter(t, fixed(testHashrings(t, AlgorithmHashmod, 1, "b:1")), "", peers.dial, RouterOptions{})
		h := newTestHandler(t, nil, HandlerOptions{Router: router, TooFarInFuture: -1})
		ctx, cancel := context.WithCancel(t.Context())
		var err error
		body, _ := v1(v1Series(named("m"), base)).Marshal()
		go func() {
			err = h.WritePeer(ctx, &PeerRequest{Tenants: []PeerSeries{{Tenant: "t", Message: body, Series: 1}}})
		}()
		synctest.Wait()
		cancel()
		synctest.Wait()
		if refusal, ok := errorAs[*PeerRefusal](err); !ok || refusal.Refused[0].Class() != Retryable {
			t.Errorf("the request ends with %v", err)
		}
		if n := len(peers.calls()); n != 1 {
			t.Errorf("%d calls go on", n)
		}
	})
}

// A peer that fails is left alone and then tried by one call.
func TestRouteBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls int
		fails := true
		dial := func(Endpoint) (Peer, error) {
			return PeerFunc(func(context.Context, *PeerRequest) error {
				if calls++; fails {
					return ErrUnavailable
				}
				return nil
			}), nil
		}
		reg := prometheus.NewRegistry()
		router := newTestRouter(t, fixed(testHashrings(t, AlgorithmHashmod, 1, "b:1")), "", dial, RouterOptions{Registerer: reg})
		h := newTestHandler(t, nil, HandlerOptions{Router: router, TooFarInFuture: -1})
		send := func(status int) {
			t.Helper()
			wantAnswer(t, rwRequest{message: v1(v1Series(named("m"), base))}.send(t, h), status)
		}
		send(503)
		send(503)
		if calls != 1 {
			t.Errorf("%d calls, want the second left out", calls)
		}
		fails = false
		time.Sleep(100 * time.Millisecond)
		send(204)
		send(204)
		if calls != 3 {
			t.Errorf("%d calls once it works", calls)
		}
		want := `
# HELP varve_receive_forward_requests_total Requests to other receivers, by endpoint and what came of them: stored, refused for good at least in part, failed at least in part, or skipped because the receiver has failed before or too much is on its way to it.
# TYPE varve_receive_forward_requests_total counter
varve_receive_forward_requests_total{endpoint="b:1",result="failed"} 1
varve_receive_forward_requests_total{endpoint="b:1",result="skipped"} 1
varve_receive_forward_requests_total{endpoint="b:1",result="stored"} 2
`
		if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "varve_receive_forward_requests_total"); err != nil {
			t.Error(err)
		}
	})
}

// What is refused for a tenant's sake does not keep a peer from others.
func TestRouteRefusalIsNoFailure(t *testing.T) {
	var calls atomic.Int64
	answers := []error{
		&PeerRefusal{Refused: map[int]Reason{0: ReasonUnavailable}}, errors.New("this tenant is broken"), &TenantError{Tenant: "t", Kind: ErrInvalidTenant},
	}
	dial := func(Endpoint) (Peer, error) {
		return PeerFunc(func(context.Context, *PeerRequest) error { return answers[calls.Add(1)-1] }), nil
	}
	router := newTestRouter(t, fixed(testHashrings(t, AlgorithmHashmod, 1, "b:1")), "", dial, RouterOptions{})
	h := newTestHandler(t, nil, HandlerOptions{Router: router})
	for _, status := range []int{503, 500, 400} {
		wantAnswer(t, rwRequest{message: v1(v1Series(named("m"), base))}.send(t, h), status)
	}
}

// Dialling may fail, and is tried again.
func TestRouteDialsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dials int
		var series atomic.Int64
		dial := func(Endpoint) (Peer, error) {
			switch dials++; dials {
			case 1:
				return nil, errors.New("no such host")
			case 2:
				return nil, nil
			}
			return accepting(&series), nil
		}
		router := newTestRouter(t, fixed(testHashrings(t, AlgorithmHashmod, 1, "b:1")), "", dial, RouterOptions{})
		h := newTestHandler(t, nil, HandlerOptions{Router: router, TooFarInFuture: -1})
		for _, status := range []int{503, 503, 204, 204} {
			wantAnswer(t, rwRequest{message: v1(v1Series(named("m"), base))}.send(t, h), status)
			time.Sleep(time.Second)
		}
		if dials != 3 || series.Load() != 2 {
			t.Errorf("%d dials, %d series", dials, series.Load())
		}
	})
}

// What is on its way to one peer is bounded; a message that is larger by itself
// goes alone, and other peers are not concerned.
func TestRouteBoundsWhatIsOnItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peers := &fakePeers{}
		router := newTestRouter(t, fixed(testHashrings(t, AlgorithmHashmod, 3, "a:1", "b:1", "c:1")), "a:1", peers.dial, RouterOptions{MaxPeerBytes: leastForwardBytes})
		h := newTestHandler(t, newFakeStorage(), HandlerOptions{Router: router, TooFarInFuture: -1})
		send := func(name, text string) <-chan *httptest.ResponseRecorder {
			out := make(chan *httptest.ResponseRecorder, 1)
			go func() { out <- rwRequest{message: v1(v1Series(named(name, "text", text), base))}.send(t, h) }()
			synctest.Wait()
			return out
		}
		first := send("large", strings.Repeat("x", 2*leastForwardBytes))
		calls := peers.calls()
		if len(calls) != 2 {
			t.Fatalf("%d calls with the large message", len(calls))
		}
		// b answers, and c keeps what it has.
		calls[0].answer <- nil
		wantAnswer(t, <-first, 204)
		second := send("small", "")
		if after := peers.calls(); len(after) != 2 || !slices.Contains(after, calls[1]) {
			t.Fatalf("the second request makes %d calls", len(after)-1)
		}
		for _, c := range peers.calls() {
			if c != calls[1] {
				c.answer <- ErrUnavailable
			}
		}
		wantAnswer(t, <-second, 503)
		calls[1].answer <- nil
		synctest.Wait()
	})
}

// Peers that are in no hashring any more are closed once nothing is on its way
// to them; the others stay.
func TestRouteFollowsHashrings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peers := &fakePeers{}
		var rings atomic.Pointer[Hashrings]
		rings.Store(testHashrings(t, AlgorithmHashmod, 2, "a:1", "b:1"))
		router := newTestRouter(t, rings.Load, "", peers.dial, RouterOptions{})
		h := newTestHandler(t, nil, HandlerOptions{Router: router, TooFarInFuture: -1})
		send := func() <-chan *httptest.ResponseRecorder {
			out := make(chan *httptest.ResponseRecorder, 1)
			go func() { out <- rwRequest{message: v1(v1Series(named("m"), base))}.send(t, h) }()
			synctest.Wait()
			return out
		}
		first := send()
		old := peers.calls()
		rings.Store(testHashrings(t, AlgorithmHashmod, 2, "b:1", "c:1"))
		second := send()
		if len(peers.calls()) != 4 || len(peers.closed) != 0 {
			t.Fatalf("%d calls, closed are %v", len(peers.calls()), peers.closed)
		}
		for _, c := range peers.calls() {
			if !slices.Contains(old, c) {
				c.answer <- nil
			}
		}
		wantAnswer(t, <-second, 204)
		if len(peers.closed) != 0 {
			t.Fatalf("%v are closed while the request of before goes on", peers.closed)
		}
		for _, c := range old {
			c.answer <- nil
		}
		wantAnswer(t, <-first, 204)
		synctest.Wait()
		if fmt.Sprint(peers.closed) != "[a:1]" {
			t.Errorf("closed are %v", peers.closed)
		}
		if err := router.Close(); err != nil {
			t.Error(err)
		}
		slices.Sort(peers.closed)
		if fmt.Sprint(peers.closed) != "[a:1 b:1 c:1]" {
			t.Errorf("in the end closed are %v", peers.closed)
		}
		wantAnswer(t, rwRequest{message: v1(v1Series(named("m"), base))}.send(t, h), 503, "router is closed")
	})
}

// A storage that panics is its own affair. What is on its way to peers by then
// still belongs to the calls.
func TestRoutePanickingStorage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peers := &fakePeers{}
		to := newFakeStorage()
		to.appendErr = func(labels.Labels, int64) error { panic("oops") }
		router := newTestRouter(t, fixed(testHashrings(t, AlgorithmHashmod, 2, "a:1", "b:1")), "a:1", peers.dial, RouterOptions{})
		h := newTestHandler(t, to, HandlerOptions{Router: router, TooFarInFuture: -1})
		func() {
			defer func() { _ = recover() }()
			rwRequest{message: v1(v1Series(named("first"), base))}.send(t, h)
			t.Error("the panic was swallowed")
		}()
		to.appendErr = nil
		for i := range 3 {
			wantAnswer(t, rwRequest{message: v1(v1Series(named("other"), base+int64(i)))}.send(t, h), 204)
		}
		synctest.Wait()
		calls := peers.calls()
		if len(calls) != 4 {
			t.Fatalf("%d calls", len(calls))
		}
		for _, c := range calls {
			c.answer <- nil
		}
		synctest.Wait()
		if err := peers.check(); err != nil {
			t.Error(err)
		}
	})
}

// An answer names the receiver that has failed, and once, on a line of its own.
func TestRouteNamesWhoFailed(t *testing.T) {
	for _, err := range []error{fmt.Errorf("disk full: %w", ErrUnavailable), errors.New("disk full"), &PeerRefusal{Refused: map[int]Reason{0: ReasonUnavailable}, Text: "disk full"}} {
		dial := func(Endpoint) (Peer, error) {
			return PeerFunc(func(context.Context, *PeerRequest) error { return err }), nil
		}
		router := newTestRouter(t, fixed(testHashrings(t, AlgorithmHashmod, 1, "b:1")), "", dial, RouterOptions{})
		h := newTestHandler(t, nil, HandlerOptions{Router: router})
		text := rwRequest{message: v1(v1Series(named("m"), base))}.send(t, h).Body.String()
		line := strings.Split(text, "\n")[1]
		if strings.Count(line, "receiver b:1") != 1 || !strings.Contains(line, "disk full") {
			t.Errorf("of %v the sender is told %q", err, text)
		}
	}
	dial := func(Endpoint) (Peer, error) { return nil, errors.New("no such host") }
	router := newTestRouter(t, fixed(testHashrings(t, AlgorithmHashmod, 1, "b:1")), "", dial, RouterOptions{})
	text := rwRequest{message: v1(v1Series(named("m"), base))}.send(t, newTestHandler(t, nil, HandlerOptions{Router: router})).Body.String()
	if line := strings.Split(text, "\n")[1]; strings.Count(line, "receiver b:1") != 1 || !strings.Contains(line, "no such host") {
		t.Errorf("the sender is told %q", text)
	}
}
