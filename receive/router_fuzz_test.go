package receive

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

// FuzzRoute sends any body to a receiver that stores it and to one that hands
// everything to another, whole or in parts. Peers get nothing that Prometheus'
// decoder does not take, they store what the first one has stored, and the
// answers are the same. Nothing of a malformed body goes anywhere, and once its
// series are known the same bytes go out.
func FuzzRoute(f *testing.F) {
	msg := v1(v1Series(named("m", "b", "2", "a", "1"), 3, 1, 2), v1Series(named("m", "a", "1", "b", "2"), 2), v1Series([]string{"x", "y"}, 9), v1Series(named("n")))
	msg.Timeseries[0].Exemplars = []prompb.Exemplar{v1Exemplar(1, "a", "1")}
	msg.Timeseries[3].Exemplars = []prompb.Exemplar{v1Exemplar(1, "a", "1"), v1Exemplar(2)}
	msg.Timeseries[1].Histograms = []prompb.Histogram{prompb.FromIntHistogram(5, rwHistogram()), prompb.FromFloatHistogram(6, rwFloatHistogram()), prompb.FromIntHistogram(7, rwCustomHistogram())}
	msg.Metadata = []prompb.MetricMetadata{{MetricFamilyName: "m", Help: "?"}}
	one, _ := msg.Marshal()
	two, _ := v2Of(msg).Marshal()
	f.Add(one, false)
	f.Add(two, true)
	f.Fuzz(func(t *testing.T, body []byte, v2 bool) {
		req := rwRequest{body: body}
		if v2 {
			req.typ = typeV2
		}
		direct := newFakeStorage()
		want := req.deliver(newTestHandler(t, direct, HandlerOptions{}))
		for endpoints := 1; endpoints <= 3; endpoints += 2 {
			checkRouted(t, req, endpoints, direct, want.Code)
		}
	})
}

func checkRouted(t *testing.T, req rwRequest, endpoints int, direct *fakeStorage, want int) {
	t.Helper()
	away := newFakeStorage()
	peer := newTestHandler(t, away, HandlerOptions{})
	sent := &sentMessages{sent: map[string][]byte{}}
	dial := func(e Endpoint) (Peer, error) {
		noted, err := sent.dial(e)
		return PeerFunc(func(ctx context.Context, req *PeerRequest) error {
			if _, _, err := readCall(e.Address, req); err != nil {
				t.Errorf("a peer is sent what it does not understand: %v", err)
			}
			return errors.Join(noted.Write(ctx, req), peer.WritePeer(ctx, req))
		}), err
	}
	addresses := []string{"a:1", "b:1", "c:1"}[:endpoints]
	router, err := NewRouter(fixed(testHashrings(t, AlgorithmHashmod, 1, addresses...)), "", dial, RouterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	h := newTestHandler(t, nil, HandlerOptions{Router: router})
	rec := req.deliver(h)
	router.calls.Wait()
	stored := away.text()
	first := sent.sent
	sent.sent = map[string][]byte{}
	req.deliver(h)
	if err := router.Close(); err != nil {
		t.Error(err)
	}
	if d := cmp.Diff(first, sent.sent); d != "" {
		t.Fatalf("what is sent of series that are known differs: %s", d)
	}
	switch rec.Code {
	case http.StatusNoContent, http.StatusBadRequest, http.StatusRequestEntityTooLarge:
	default:
		t.Fatalf("status %d: %s", rec.Code, rec.Body)
	}
	if rec.Code != want {
		t.Fatalf("status %d, want %d: %s", rec.Code, want, rec.Body)
	}
	// What is wrong inside of a series that is refused for its labels is found only
	// where all is looked at before anything goes out.
	refused := len(first) == 0 && !wellFormed(req)
	if want := direct.text(); stored != want && !refused {
		t.Fatalf("stored at the peer\n%s\nwant\n%s", stored, want)
	}
}

// wellFormed reports whether Prometheus' decoder takes a body.
func wellFormed(req rwRequest) bool {
	if req.typ == typeV2 {
		return new(writev2.Request).Unmarshal(req.body) == nil
	}
	return new(prompb.WriteRequest).Unmarshal(req.body) == nil
}

// text is what is stored, in no order: peers are called side by side.
func (f *fakeStorage) text() string {
	samples, exemplars := []string{}, []string{}
	for _, s := range f.stored {
		samples = append(samples, s.String())
	}
	for _, e := range f.exemplars {
		exemplars = append(exemplars, fmt.Sprint(e))
	}
	slices.Sort(samples)
	slices.Sort(exemplars)
	return fmt.Sprint(samples, exemplars)
}
