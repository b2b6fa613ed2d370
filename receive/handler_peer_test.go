package receive

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/storage"
)

func peerSeries(t testing.TB, tenant string, series ...prompb.TimeSeries) PeerSeries {
	t.Helper()
	body, err := v1(series...).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return PeerSeries{Tenant: tenant, Message: body, Series: len(series)}
}

// Each tenant and each series of a call is judged by itself, and refusals count
// through all of them.
func TestWritePeer(t *testing.T) {
	to := newFakeStorage()
	to.appendErr = func(ls labels.Labels, _ int64) error {
		if ls.Get("__name__") == "old" {
			return storage.ErrTooOldSample
		}
		return nil
	}
	h := newTestHandler(t, to, HandlerOptions{})
	bad := peerSeries(t, "bad", v1Series(named("m"), base), v1Series(named("n"), base))
	bad.Message = bad.Message[:len(bad.Message)-1]
	req := &PeerRequest{Replica: 2, Tenants: []PeerSeries{
		peerSeries(t, "a", v1Series(named("old"), base), v1Series(named("m"), base)),
		bad,
		peerSeries(t, "../b", v1Series(named("m"), base)),
		peerSeries(t, "c", v1Series(named("m"), base), v1Series(named("m", "x", "1", "x", "2"), base), v1Series(named("old"))),
	}}
	err := h.WritePeer(t.Context(), req)
	refusal, ok := errorAs[*PeerRefusal](err)
	want := map[int]Reason{0: ReasonTooOld, 2: ReasonRefused, 3: ReasonRefused, 4: ReasonRefused, 6: ReasonDuplicateLabel}
	if !ok || !maps.Equal(refusal.Refused, want) {
		t.Fatalf("refused are %v, want %v", err, want)
	}
	for _, text := range []string{`tenant "a"`, `tenant "bad"`, "malformed", "too_old", "duplicate_label_name"} {
		if !strings.Contains(refusal.Text, text) {
			t.Errorf("the text does not say %q:\n%s", text, refusal.Text)
		}
	}
	if len(to.stored) != 2 || to.open != 0 {
		t.Errorf("stored are %v, %d transactions are open", to.stored, to.open)
	}
	req.Tenants = req.Tenants[:1]
	to.appendErr = nil
	if err := h.WritePeer(t.Context(), req); err != nil {
		t.Errorf("again, and nothing is too old: %v", err)
	}
	to.commitErr = errBroken
	err = h.WritePeer(t.Context(), &PeerRequest{Tenants: []PeerSeries{peerSeries(t, "a", v1Series(named("m"), base+1))}})
	if refusal, ok := errorAs[*PeerRefusal](err); !ok || refusal.Refused[0] != ReasonFailed {
		t.Errorf("a storage that fails: %v", err)
	}
}

// A malformed message of which nobody knows how many series it has is an error
// of the whole, not a success.
func TestWritePeerMalformed(t *testing.T) {
	h := newTestHandler(t, newFakeStorage(), HandlerOptions{})
	for _, series := range []int{0, -5} {
		err := h.WritePeer(t.Context(), &PeerRequest{Tenants: []PeerSeries{{Tenant: "a", Message: []byte{10, 200}, Series: series}}})
		if err == nil || ReasonOf(err).Class() != Final || !errors.Is(err, errMalformed) {
			t.Errorf("%d series: %v", series, err)
		}
	}
	// What is claimed takes no memory.
	err := h.WritePeer(t.Context(), &PeerRequest{Tenants: []PeerSeries{{Tenant: "a", Message: []byte{10, 200}, Series: 1 << 40}}})
	if refusal, ok := errorAs[*PeerRefusal](err); !ok || len(refusal.Refused) > 2 {
		t.Errorf("2^40 series: %v", err)
	}
}

// What is a replica is appended here and goes no further, by either way.
func TestReplicasAreNotRouted(t *testing.T) {
	peers := &fakePeers{}
	router := newTestRouter(t, fixed(testHashrings(t, AlgorithmHashmod, 3, "a:1", "b:1", "c:1")), "a:1", peers.dial, RouterOptions{})
	to := newFakeStorage()
	h := newTestHandler(t, to, HandlerOptions{Router: router})
	if err := h.WritePeer(t.Context(), &PeerRequest{Replica: 3, Tenants: []PeerSeries{peerSeries(t, "a", v1Series(named("m"), base))}}); err != nil {
		t.Error(err)
	}
	for _, replica := range []int{-1, 4} {
		err := h.WritePeer(t.Context(), &PeerRequest{Replica: replica, Tenants: []PeerSeries{peerSeries(t, "a", v1Series(named("m"), base))}})
		if !errors.Is(err, ErrBadReplica) || ReasonOf(err).Class() != Retryable {
			t.Errorf("replica %d: %v", replica, err)
		}
	}
	req := rwRequest{message: v1(v1Series(named("n"), base)), headers: map[string]string{"THANOS-REPLICA": "1"}}
	wantAnswer(t, req.send(t, h), 204)
	for _, text := range []string{"-1", "first"} {
		req.headers["THANOS-REPLICA"] = text
		wantAnswer(t, req.send(t, h), 400, "THANOS-REPLICA", "number")
	}
	// It would be there, had all receivers the same replication factor.
	req.headers["THANOS-REPLICA"] = "4"
	rec := req.send(t, h)
	wantAnswer(t, rec, 503, "THANOS-REPLICA", ErrBadReplica.Error(), "must be the same on all receivers")
	if rec.Header().Get("Retry-After") == "" {
		t.Error("a bad replica has no Retry-After")
	}
	if len(peers.calls()) != 0 || len(to.stored) != 2 {
		t.Errorf("%d calls, stored are %v", len(peers.calls()), to.stored)
	}

	only := newTestRouter(t, fixed(testHashrings(t, AlgorithmHashmod, 1, "a:1")), "", peers.dial, RouterOptions{})
	h = newTestHandler(t, nil, HandlerOptions{Router: only})
	err := h.WritePeer(t.Context(), &PeerRequest{Replica: 1, Tenants: []PeerSeries{peerSeries(t, "a", v1Series(named("m"), base))}})
	if ReasonOf(err) != ReasonUnavailable {
		t.Errorf("a replica for a receiver that only routes: %v", err)
	}
	req.headers["THANOS-REPLICA"] = "1"
	wantAnswer(t, req.send(t, h), 503, "take it out of the hashrings")
	// Without hashrings the header says nothing.
	req.headers["THANOS-REPLICA"] = "many"
	wantAnswer(t, req.send(t, newTestHandler(t, to, HandlerOptions{})), 204)
}
