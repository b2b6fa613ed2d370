package receive

import (
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"pgregory.net/rapid"
)

// blockedPeers hand requests over, all at once, to a handler whose storage
// blocks.
type blockedPeers struct {
	wg   sync.WaitGroup
	mu   sync.Mutex
	errs []error
}

func (b *blockedPeers) write(t *testing.T, h *Handler, reqs ...*PeerRequest) {
	for _, req := range reqs {
		b.wg.Go(func() {
			err := h.WritePeer(t.Context(), req)
			b.mu.Lock()
			defer b.mu.Unlock()
			b.errs = append(b.errs, err)
		})
	}
}

// refusals returns how many were answered so far, and wants them all to be told
// to come again because of a limit.
func (b *blockedPeers) refusals(t *testing.T, reason Reason) int {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, err := range b.errs {
		if overload, ok := errorAs[*OverloadError](err); !ok || overload.Reason != reason || ReasonOf(err) != ReasonUnavailable {
			t.Errorf("a peer is told %v, taken for %v; want %v, taken for %v", err, ReasonOf(err), reason, ReasonUnavailable)
		}
	}
	return len(b.errs)
}

func overloadPeerRequest(t testing.TB, i, series, replica int) (req *PeerRequest, size int64) {
	msg := v1()
	for s := range series {
		msg.Timeseries = append(msg.Timeseries, v1Series(named("peer", "request", fmt.Sprint(i), "series", fmt.Sprint(s)), nowMs()))
	}
	one := peerSeries(t, DefaultTenant, msg.Timeseries...)
	return &PeerRequest{Replica: replica, Tenants: []PeerSeries{one}}, int64(len(one.Message))
}

// What senders send and what peers hand over takes no more than the budget
// together, those beyond it are told to come again, and in the end nothing is left
// accounted and everything has come through.
func TestPeersAndSendersStayWithinTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const budget = 1 << 20
		to := newBlockingStorage()
		reg := prometheus.NewRegistry()
		h := newTestHandler(t, to, HandlerOptions{Registerer: reg, Limits: func() *LimitSet {
			return &LimitSet{Global: GlobalLimits{InFlightBytes: budget, Concurrency: -1}}
		}})
		var reqs []rwRequest
		var peerReqs []*PeerRequest
		for i := range 50 {
			req, _ := overloadRequest(i, 500)
			peerReq, _ := overloadPeerRequest(t, i, 1000, 1)
			reqs, peerReqs = append(reqs, req), append(peerReqs, peerReq)
		}
		var senders blockedRequests
		var peers blockedPeers
		// A few of each have room; of the others it is chance who gets what is left.
		senders.send(h, reqs[:5]...)
		peers.write(t, h, peerReqs[:5]...)
		synctest.Wait()
		senders.send(h, reqs[5:]...)
		peers.write(t, h, peerReqs[5:]...)
		synctest.Wait()
		_, size := overloadRequest(0, 500)
		_, peerSize := overloadPeerRequest(t, 0, 1000, 1)
		used, inside := h.load.usage(), to.inside.Load()
		sent := int64(len(reqs) - senders.refusals(t, http.StatusServiceUnavailable, "in_flight_bytes_limit"))
		handed := int64(len(peerReqs) - peers.refusals(t, ReasonInFlightBytes))
		if sent < 5 || handed < 5 || sent+handed != inside || used.requests != int(inside) {
			t.Errorf("%d requests and %d of peers were let in, %d are in the storage, %d accounted", sent, handed, inside, used.requests)
		}
		if taken := sent*size + handed*peerSize; used.bytes > budget || taken > used.bytes || taken < budget/2 {
			t.Errorf("%d bytes are taken and %d accounted, of a budget of %d", taken, used.bytes, budget)
		}
		refused := h.metrics.limits.refused.WithLabelValues("", ReasonInFlightBytes.String())
		if got, want := testutil.ToFloat64(refused), float64(int64(len(peerReqs))-handed); got != want {
			t.Errorf("%v requests of peers are counted as refused, want %v", got, want)
		}
		close(to.open)
		senders.wg.Wait()
		peers.wg.Wait()
		if used := h.load.usage(); used != (overloadUsage{}) || len(h.load.tenants) != 0 {
			t.Errorf("%+v is accounted and %d tenants are known in the end", used, len(h.load.tenants))
		}
		for i := range reqs { // As they are told to.
			wantAnswer(t, reqs[i].deliver(h), http.StatusNoContent)
			if err := h.WritePeer(t.Context(), peerReqs[i]); err != nil {
				t.Error(err)
			}
		}
	})
}

// However much senders send to a receiver that routes too, there is room for what
// its peers hand over, on which requests elsewhere wait.
func TestSendersLeaveRoomForPeers(t *testing.T) {
	for _, tc := range []struct {
		reason Reason
		global GlobalLimits
	}{
		{ReasonInFlightRequests, GlobalLimits{InFlightRequests: 40, Concurrency: -1}},
		{ReasonInFlightBytes, GlobalLimits{InFlightBytes: 2 << 20, Concurrency: -1}},
	} {
		synctest.Test(t, func(t *testing.T) {
			to := newBlockingStorage()
			router := newTestRouter(t, fixed(testHashrings(t, AlgorithmHashmod, 1, "self:1")), "self:1", new(fakePeers).dial, RouterOptions{})
			h := newTestHandler(t, to, HandlerOptions{Router: router, Limits: func() *LimitSet { return &LimitSet{Global: tc.global} }})
			var senders blockedRequests
			var peers blockedPeers
			for i := range 100 {
				req, _ := overloadRequest(i, 200)
				senders.send(h, req)
			}
			synctest.Wait()
			senders.refusals(t, http.StatusServiceUnavailable, tc.reason.String())
			before := to.inside.Load()
			for i := range 100 {
				req, _ := overloadPeerRequest(t, i, 200, 1)
				peers.write(t, h, req)
			}
			synctest.Wait()
			peers.refusals(t, tc.reason)
			if handed := to.inside.Load() - before; before == 0 || handed < before/6 {
				t.Errorf("%s: %d of peers are in the storage beside %d of senders", tc.reason, handed, before)
			}
			if used, most := h.load.usage(), tc.global.resolved(); used.bytes > most.InFlightBytes || used.requests > most.InFlightRequests {
				t.Errorf("%s: %+v is accounted, of %+v", tc.reason, used, most)
			}
			close(to.open)
			senders.wg.Wait()
			peers.wg.Wait()
		})
	}
}

// Requests that wait for other receivers do not keep those waiting that other
// receivers wait for. What is to be routed is no such request.
func TestPeersHaveTurnsOfTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := newBlockingStorage()
		router := newTestRouter(t, fixed(testHashrings(t, AlgorithmHashmod, 1, "self:1")), "self:1", new(fakePeers).dial, RouterOptions{})
		h := newTestHandler(t, to, HandlerOptions{Router: router, Limits: func() *LimitSet { return &LimitSet{Global: GlobalLimits{Concurrency: 2}} }})
		var senders blockedRequests
		var peers, late blockedPeers
		for i := range 5 {
			req, _ := overloadRequest(i, 1)
			senders.send(h, req)
		}
		synctest.Wait()
		for i := range 5 {
			req, _ := overloadPeerRequest(t, i, 1, 1)
			peers.write(t, h, req)
		}
		unrouted, _ := overloadPeerRequest(t, 10, 1, 0)
		peers.write(t, h, unrouted)
		synctest.Wait()
		if inside, turns, peerTurns := to.inside.Load(), h.load.turns.waiting(), h.load.peerTurns.waiting(); inside != 4 || turns != 4 || peerTurns != 3 {
			t.Errorf("%d are in the storage, %d and %d wait; want 4, 4 and 3", inside, turns, peerTurns)
		}
		// None gets in that would have to wait too long.
		time.Sleep(turnPatience / 2)
		req, _ := overloadPeerRequest(t, 20, 1, 1)
		late.write(t, h, req)
		synctest.Wait()
		if n := late.refusals(t, ReasonConcurrency); n != 1 {
			t.Error("a request was let in where others wait for long already")
		}
		time.Sleep(turnPatience/2 + time.Millisecond)
		synctest.Wait()
		if n := peers.refusals(t, ReasonConcurrency); n != 4 {
			t.Errorf("%d have given up, want 4", n)
		}
		close(to.open)
		senders.wg.Wait()
		peers.wg.Wait()
		late.wg.Wait()
		if used := h.load.usage(); used != (overloadUsage{}) || h.load.turns.running+h.load.peerTurns.running != 0 {
			t.Errorf("%+v is accounted in the end", used)
		}
	})
}

// A request is kept out by the queue that it would be in, and by no other: replicas
// do not wait for what is to be routed, nor that for replicas.
func TestPeersAreKeptOutByTheirOwnQueue(t *testing.T) {
	for _, full := range []int{0, 1} {
		t.Run(fmt.Sprint("replica ", full), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				to := newBlockingStorage()
				router := newTestRouter(t, fixed(testHashrings(t, AlgorithmHashmod, 1, "self:1")), "self:1", new(fakePeers).dial, RouterOptions{})
				h := newTestHandler(t, to, HandlerOptions{Router: router, Limits: func() *LimitSet { return &LimitSet{Global: GlobalLimits{Concurrency: 1}} }})
				var waiting, same, other blockedPeers
				for i := range 2 {
					req, _ := overloadPeerRequest(t, i, 1, full)
					waiting.write(t, h, req)
				}
				synctest.Wait()
				time.Sleep(turnPatience / 2)
				req, _ := overloadPeerRequest(t, 10, 1, full)
				same.write(t, h, req)
				req, _ = overloadPeerRequest(t, 11, 1, 1-full)
				other.write(t, h, req)
				synctest.Wait()
				if n := same.refusals(t, ReasonConcurrency); n != 1 {
					t.Error("a request got behind others that wait for long")
				}
				if n := to.inside.Load(); n != 2 {
					t.Errorf("%d requests are in the storage, want one of each kind", n)
				}
				close(to.open)
				waiting.wg.Wait()
				same.wg.Wait()
				other.wg.Wait()
				if err := errors.Join(other.errs...); err != nil {
					t.Errorf("a request of the other kind: %v", err)
				}
			})
		})
	}
}

// What needs more than there ever is does not lie with the samples: it is
// retryable, as another receiver has let it in.
func TestPeerRequestThatNeverFits(t *testing.T) {
	to := newFakeStorage()
	h := newTestHandler(t, to, HandlerOptions{Limits: func() *LimitSet { return &LimitSet{Global: GlobalLimits{InFlightBytes: 10_000}} }})
	req, _ := overloadPeerRequest(t, 0, 1000, 1)
	err := h.WritePeer(t.Context(), req)
	if overload, ok := errorAs[*OverloadError](err); !ok || overload.Reason != ReasonRequestBytes || ReasonOf(err).Class() != Retryable || len(to.stored) != 0 {
		t.Errorf("%v, taken for %v, with %d samples stored", err, ReasonOf(err), len(to.stored))
	}
}

// In any order of requests of peers coming, growing, shrinking and going, beside
// those of senders, the accounts are the sum of what each has, and within the
// budget.
func TestAccountsOfPeersAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		global := GlobalLimits{InFlightBytes: rapid.Int64Range(10_000, 1<<20).Draw(t, "budget"), InFlightRequests: rapid.IntRange(1, 10).Draw(t, "requests")}
		h, err := NewHandler(newFakeStorage(), HandlerOptions{Limits: func() *LimitSet { return &LimitSet{Global: global} }})
		if err != nil {
			t.Fatal(err)
		}
		admitter := h.Peer()
		var in []PeerAdmission
		var sizes []int64
		sender, sends := &admission{global: global.resolved(), tenant: "a"}, false
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			step := rapid.IntRange(0, 3).Draw(t, "step")
			if len(in) == 0 && step != 3 {
				step = 0
			}
			size := rapid.Int64Range(-1, 1<<19).Draw(t, "size")
			var err error
			switch step {
			case 0:
				var one PeerAdmission
				if one, err = admitter.AdmitPeer(size); err == nil {
					in, sizes = append(in, one), append(sizes, max(size, leastPeerBytes))
				}
			case 1:
				i := rapid.IntRange(0, len(in)-1).Draw(t, "request")
				if err = in[i].Resize(size); err == nil {
					sizes[i] = max(size, leastPeerBytes)
				} else if max(size, leastPeerBytes) <= sizes[i] {
					t.Fatalf("there is no room for less than before: %v", err)
				}
			case 2:
				i := rapid.IntRange(0, len(in)-1).Draw(t, "request")
				in[i].Release()
				in[i].Release()
				in, sizes = append(in[:i], in[i+1:]...), append(sizes[:i], sizes[i+1:]...)
			case 3:
				if sends {
					sender.release()
					sends = false
				} else {
					sends = h.load.admit(sender, size) == nil
				}
			}
			if overload := new(OverloadError); err != nil && !errors.As(err, &overload) {
				t.Fatal(err)
			}
			want := overloadUsage{requests: len(in), bytes: sender.body}
			if sends {
				want.requests++
			}
			for _, size := range sizes {
				want.bytes += size
			}
			if got := h.load.usage(); got != want || got.bytes > global.InFlightBytes || got.requests > global.InFlightRequests {
				t.Fatalf("accounted %+v, want %+v, of %+v", got, want, global)
			}
		}
	})
}
