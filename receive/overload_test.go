package receive

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/storage"
	"pgregory.net/rapid"
)

// blockingStorage holds every request back that has come as far as opening a
// transaction, until it is told to let go.
type blockingStorage struct {
	*fakeStorage
	inside atomic.Int64
	open   chan struct{}
}

func newBlockingStorage() *blockingStorage {
	return &blockingStorage{fakeStorage: newFakeStorage(), open: make(chan struct{})}
}

func (s *blockingStorage) Appender(ctx context.Context, tenant string) (storage.AppenderV2, error) {
	s.inside.Add(1)
	defer s.inside.Add(-1)
	select {
	case <-s.open:
		return s.fakeStorage.Appender(ctx, tenant)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// blockedRequests sends n requests at once to a handler whose storage blocks.
type blockedRequests struct {
	wg      sync.WaitGroup
	mu      sync.Mutex
	answers []*httptest.ResponseRecorder
}

func (b *blockedRequests) send(h http.Handler, reqs ...rwRequest) {
	for _, req := range reqs {
		b.wg.Go(func() {
			rec := req.deliver(h)
			b.mu.Lock()
			defer b.mu.Unlock()
			b.answers = append(b.answers, rec)
		})
	}
}

// refusals returns how many were answered so far, and wants them all to be
// refusals of one kind.
func (b *blockedRequests) refusals(t *testing.T, status int, text string) int {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, rec := range b.answers {
		wantAnswer(t, rec, status, text)
		if after, err := strconv.Atoi(rec.Header().Get("Retry-After")); err != nil || after < 1 || after > 60 {
			t.Errorf("Retry-After is %q", rec.Header().Get("Retry-After"))
		}
	}
	return len(b.answers)
}

// overloadRequest encodes a request whose body and decoded body take what is
// returned.
func overloadRequest(i, series int) (req rwRequest, size int64) {
	msg := v1()
	for s := range series {
		msg.Timeseries = append(msg.Timeseries, v1Series(named("m", "request", fmt.Sprint(i), "series", fmt.Sprint(s)), nowMs()))
	}
	req.body, _ = msg.Marshal()
	req.raw = snappy.Encode(nil, req.body)
	return req, int64(len(req.raw) + len(req.body))
}

// While a storage that hangs holds requests, what they take stays within the
// budget, those beyond it are told to come again, and in the end nothing is left
// accounted and everything has come through.
func TestInFlightBytesStayWithinTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const budget = 1 << 20
		to := newBlockingStorage()
		h := newTestHandler(t, to, HandlerOptions{Limits: func() *LimitSet {
			return &LimitSet{Global: GlobalLimits{InFlightBytes: budget, Concurrency: -1}}
		}})
		var reqs []rwRequest
		for i := range 100 {
			req, _ := overloadRequest(i, 500)
			reqs = append(reqs, req)
		}
		_, size := overloadRequest(0, 500) // The smallest.
		var b blockedRequests
		b.send(h, reqs...)
		synctest.Wait()
		refused, inside, used := b.refusals(t, http.StatusServiceUnavailable, "in_flight_bytes_limit"), to.inside.Load(), h.load.usage()
		if used.bytes > budget || used.bytes < budget/2 {
			t.Errorf("%d bytes are accounted of a budget of %d", used.bytes, budget)
		}
		// What they take in earnest, counted from outside.
		if inside*size > used.bytes {
			t.Errorf("%d requests of %d bytes take more than the %d that are accounted", inside, size, used.bytes)
		}
		if inside == 0 || int(inside)+refused != len(reqs) || used.requests != int(inside) {
			t.Errorf("%d are in the storage, %d refused, %d accounted, of %d", inside, refused, used.requests, len(reqs))
		}
		close(to.open)
		b.wg.Wait()
		if used := h.load.usage(); used != (overloadUsage{}) || len(h.load.tenants) != 0 {
			t.Errorf("%+v is accounted and %d tenants are known in the end", used, len(h.load.tenants))
		}
		for _, req := range reqs { // As they are told to.
			wantAnswer(t, req.deliver(h), http.StatusNoContent)
		}
	})
}

// The bounds that count requests: how many are let in, what the others are told,
// and that none of the body of those was read.
func TestInFlightRequests(t *testing.T) {
	for _, tc := range []struct {
		reason Reason
		set    LimitSet
	}{
		{ReasonInFlightRequests, LimitSet{Global: GlobalLimits{InFlightRequests: 3}}},
		{ReasonTenantInFlight, LimitSet{Default: Limits{InFlightRequests: 3}}},
	} {
		synctest.Test(t, func(t *testing.T) {
			to := newBlockingStorage()
			reg := prometheus.NewRegistry()
			h := newTestHandler(t, to, HandlerOptions{Limits: func() *LimitSet { return &tc.set }, Registerer: reg})
			var b blockedRequests
			for i := range 10 {
				req, _ := overloadRequest(i, 1)
				b.send(h, req)
			}
			synctest.Wait()
			if refused := b.refusals(t, tc.reason.Status(), tc.reason.String()+": "); refused != 7 {
				t.Errorf("%s: %d were refused, want 7", tc.reason, refused)
			}
			unread := &readNotes{Reader: strings.NewReader("body")}
			req := httptest.NewRequest(http.MethodPost, "/", unread)
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, req)
			wantAnswer(t, rec, tc.reason.Status())
			if unread.read {
				t.Errorf("%s: the body was read", tc.reason)
			}
			other, _ := overloadRequest(100, 1)
			other.headers = map[string]string{DefaultTenantHeader: "other"}
			b.send(h, other)
			synctest.Wait()
			if alone := to.inside.Load() == 3; alone != (tc.reason == ReasonInFlightRequests) {
				t.Errorf("%s: another tenant is refused: %v", tc.reason, alone)
			}
			want := fmt.Sprintf(`
				# HELP varve_receive_limit_in_flight_requests Requests that limits have let in and that are not answered yet.
				# TYPE varve_receive_limit_in_flight_requests gauge
				varve_receive_limit_in_flight_requests %d
			`, to.inside.Load())
			if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "varve_receive_limit_in_flight_requests"); err != nil {
				t.Error(err)
			}
			close(to.open)
			b.wg.Wait()
			if used := h.load.usage(); used != (overloadUsage{}) {
				t.Errorf("%s: %+v is accounted in the end", tc.reason, used)
			}
		})
	}
}

// readNotes notes whether it was read.
type readNotes struct {
	*strings.Reader
	read bool
}

func (r *readNotes) Read(p []byte) (int, error) {
	r.read = true
	return r.Reader.Read(p)
}

// Beyond the concurrency requests wait, for a time, and once the wait is long new
// ones are not let in.
func TestConcurrencyIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := newBlockingStorage()
		h := newTestHandler(t, to, HandlerOptions{Limits: func() *LimitSet { return &LimitSet{Global: GlobalLimits{Concurrency: 2}} }})
		var b blockedRequests
		for i := range 10 {
			req, _ := overloadRequest(i, 1)
			b.send(h, req)
		}
		synctest.Wait()
		if inside, waiting := to.inside.Load(), h.load.turns.waiting(); inside != 2 || waiting != 8 {
			t.Errorf("%d are in the storage and %d wait, want 2 and 8", inside, waiting)
		}
		time.Sleep(turnPatience / 2)
		unread := &readNotes{Reader: strings.NewReader("body")}
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest(http.MethodPost, "/", unread))
		wantAnswer(t, rec, http.StatusServiceUnavailable, "concurrency_limit: ")
		if unread.read {
			t.Error("the body was read of a request that had to wait too long")
		}
		time.Sleep(turnPatience / 2)
		synctest.Wait()
		if refused := b.refusals(t, http.StatusServiceUnavailable, "concurrency_limit: "); refused != 8 {
			t.Errorf("%d gave up waiting, want 8", refused)
		}
		close(to.open)
		b.wg.Wait()
		if used := h.load.usage(); used != (overloadUsage{}) || h.load.turns.running != 0 {
			t.Errorf("%+v is accounted and %d run in the end", used, h.load.turns.running)
		}
	})
}

// A tenant over its rate is told so before its body is read, and when to come
// again; then it gets through. Another tenant is not touched.
func TestIngestionRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := newFakeStorage()
		set := &LimitSet{Tenants: map[string]Limits{"fast": {SamplesPerSecond: 10, SamplesBurst: 20}}}
		h := newTestHandler(t, to, HandlerOptions{Limits: func() *LimitSet { return set }})
		fast := map[string]string{DefaultTenantHeader: "fast"}
		at := nowMs() - 100_000
		series := func(samples int) *prompb.WriteRequest {
			msg := v1(v1Series(named("m")))
			for range samples {
				at++
				msg.Timeseries[0].Samples = append(msg.Timeseries[0].Samples, prompb.Sample{Timestamp: at})
			}
			return msg
		}
		// The burst of 20 takes the second only as what is left: 19.
		wantAnswer(t, rwRequest{message: series(1), headers: fast}.send(t, h), http.StatusNoContent)
		wantAnswer(t, rwRequest{message: series(119), headers: fast}.send(t, h), http.StatusNoContent)
		unread := &readNotes{Reader: strings.NewReader("body")}
		req := httptest.NewRequest(http.MethodPost, "/", unread)
		req.Header.Set(DefaultTenantHeader, "fast")
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, req)
		wantAnswer(t, rec, http.StatusTooManyRequests, "ingestion_rate_limit: ", `"fast"`, "retry_on_http_429")
		if after := rec.Header().Get("Retry-After"); after != "10" || unread.read {
			t.Errorf("Retry-After %q, want the ten seconds that 100 samples too many take; the body was read: %v", after, unread.read)
		}
		wantAnswer(t, rwRequest{message: series(1000)}.send(t, h), http.StatusNoContent)
		time.Sleep(10*time.Second + time.Millisecond)
		wantAnswer(t, rwRequest{message: series(5), headers: fast}.send(t, h), http.StatusNoContent)
		wantAnswer(t, rwRequest{message: series(5), headers: fast}.send(t, h), http.StatusTooManyRequests)
		if len(to.stored) != 1+119+1000+5 {
			t.Errorf("%d samples are stored", len(to.stored))
		}
	})
}

// A request that needs more than all of the budget is too large for good, or it
// would be sent for ever.
func TestWhatNeverFitsIsFinal(t *testing.T) {
	h := newTestHandler(t, newFakeStorage(), HandlerOptions{Limits: func() *LimitSet { return &LimitSet{Global: GlobalLimits{InFlightBytes: 100_000}} }})
	for _, tc := range []struct {
		name    string
		raw     []byte
		chunked bool
		reason  Reason
	}{
		{"by its length", bytes.Repeat([]byte{1}, 200_000), false, ReasonRequestBytes},
		{"without a length", bytes.Repeat([]byte{1}, 200_000), true, ReasonRequestBytes},
		{"decompressed", snappy.Encode(nil, make([]byte, 200_000)), false, ReasonDecodedBytes},
	} {
		req := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(tc.raw))
		if tc.chunked {
			req.ContentLength = -1
		}
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, req)
		if want := tc.reason.String() + ": "; rec.Code != http.StatusRequestEntityTooLarge || !strings.Contains(rec.Body.String(), want) {
			t.Errorf("%s: status %d: %s, want 413 and %q", tc.name, rec.Code, rec.Body, want)
		}
	}
	if used := h.load.usage(); used != (overloadUsage{}) {
		t.Errorf("%+v is accounted in the end", used)
	}
}

// A panic of the storage leaves nothing accounted.
func TestPanicsLeaveNothingAccounted(t *testing.T) {
	to := newFakeStorage()
	to.appendErr = func(labels.Labels, int64) error { panic("storage") }
	h := newTestHandler(t, to, HandlerOptions{})
	func() {
		defer func() { _ = recover() }()
		rwRequest{message: v1(v1Series(named("m"), nowMs()))}.send(t, h)
		t.Error("no panic")
	}()
	if used := h.load.usage(); used != (overloadUsage{}) || h.load.turns.running != 0 {
		t.Errorf("%+v is accounted and %d run after a panic", used, h.load.turns.running)
	}
}

// In any order of requests coming, growing and going the accounts are the sum of
// what each has, and within the budget.
func TestAccountsAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		load := newOverload()
		global := GlobalLimits{InFlightBytes: rapid.Int64Range(1000, 1<<22).Draw(t, "budget"), InFlightRequests: rapid.IntRange(1, 10).Draw(t, "requests")}.resolved()
		var in []*admission
		drawn := func() *admission { return in[rapid.IntRange(0, len(in)-1).Draw(t, "request")] }
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			step := rapid.IntRange(0, 4).Draw(t, "step")
			if len(in) == 0 {
				step = 0
			}
			switch step {
			case 0:
				a := &admission{global: global, tenant: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "tenant"), limits: Limits{InFlightRequests: 4}}
				if err := load.admit(a, rapid.Int64Range(-1, 1<<21).Draw(t, "said")); err == nil {
					in = append(in, a)
				}
			case 1:
				a := drawn()
				before, size := a.body, rapid.Int64Range(0, 1<<21).Draw(t, "size")
				if a.cover(&a.body, size) && a.body < size || !a.inside || a.body < before {
					t.Fatalf("%d of %d are covered, %d before", a.body, size, before)
				}
			case 2:
				a := drawn()
				a.settle(&a.body, rapid.Int64Range(0, 1<<21).Draw(t, "size"))
			case 3:
				a := drawn()
				a.cover(&a.decoded, rapid.Int64Range(0, 1<<21).Draw(t, "size"))
			case 4:
				i := rapid.IntRange(0, len(in)-1).Draw(t, "request")
				in[i].release()
				in[i].release()
				in = append(in[:i], in[i+1:]...)
			}
			want := overloadUsage{requests: len(in)}
			tenants := map[string]int{}
			for _, a := range in {
				want.bytes += a.body + a.decoded
				tenants[a.tenant]++
			}
			if got := load.usage(); got != want || got.bytes > global.InFlightBytes || got.requests > global.InFlightRequests {
				t.Fatalf("accounted %+v, want %+v, of %+v", got, want, global)
			}
			for tenant, n := range tenants {
				if got := load.tenants[tenant]; got == nil || got.requests != n || n > 4 {
					t.Fatalf("tenant %s has %d requests, accounted %+v", tenant, n, got)
				}
			}
			if len(load.tenants) != len(tenants) {
				t.Fatalf("%d tenants are known, want %d", len(load.tenants), len(tenants))
			}
		}
	})
}
