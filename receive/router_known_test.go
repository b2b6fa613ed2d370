package receive

import (
	"bytes"
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"pgregory.net/rapid"
)

// sentMessages are what peers were sent, by tenant, address and replica.
type sentMessages struct {
	mu   sync.Mutex
	sent map[string][]byte
}

func (m *sentMessages) dial(e Endpoint) (Peer, error) {
	return PeerFunc(func(_ context.Context, req *PeerRequest) error {
		m.mu.Lock()
		defer m.mu.Unlock()
		series := req.Tenants[0]
		key := fmt.Sprintf("%s/%s/%d", series.Tenant, e.Address, req.Replica)
		if _, twice := m.sent[key]; twice {
			return fmt.Errorf("%s was called twice", key)
		}
		m.sent[key] = fmt.Appendf(bytes.Clone(series.Message), " %d series", series.Series)
		return nil
	}), nil
}

// knowing is a receiver, or a router, and what it sends to others.
type knowing struct {
	h      *Handler
	router *Router
	local  *fakeStorage
	sent   *sentMessages
}

func newKnowing(t *testing.T, rings func() *Hashrings, self string, most int) *knowing {
	t.Helper()
	k := &knowing{local: newFakeStorage(), sent: &sentMessages{}}
	k.router = newTestRouter(t, rings, self, k.sent.dial, RouterOptions{MaxKnownSeries: most})
	var to Appendable
	if self != "" {
		to = k.local
	}
	k.h = newTestHandler(t, to, HandlerOptions{Router: k.router, TooFarInFuture: -1, MaxDecodedBytes: 1 << 20})
	return k
}

// handle returns the answer to a request and all that it has led to.
func (k *knowing) handle(t *testing.T, req rwRequest) string {
	t.Helper()
	k.sent.sent = map[string][]byte{}
	k.local.stored = nil
	rec := req.send(t, k.h)
	k.router.calls.Wait()
	return knowingText(rec, k)
}

func knowingText(rec *httptest.ResponseRecorder, k *knowing) string {
	return fmt.Sprintf("%d %s%v\nsent %q\nstored %v", rec.Code, rec.Body, rec.Header(), k.sent.sent, k.local.stored)
}

// churningRings are hashrings that take each other's place: other algorithms,
// receivers, replication factors and shards, and tenants that change hashrings.
func churningRings(t testing.TB) (all []*Hashrings) {
	t.Helper()
	for _, c := range []struct {
		text     string
		replicas int
	}{
		{`[{"endpoints": ["a:1", "b:1", "c:1"]}]`, 1},
		{`[{"endpoints": ["a:1", "b:1", "c:1", "d:1"], "algorithm": "ketama"}]`, 3},
		{`[{"tenants": ["t0"], "endpoints": ["a:1", "b:1"]}, {"tenants": ["t1", "t2"], "endpoints": ["b:1", "c:1", "d:1"], "algorithm": "ketama"}]`, 2},
		{`[{"tenants": ["t1"], "endpoints": ["d:1", "e:1"]}, {"endpoints": ["a:1", "b:1", "c:1", "d:1", "e:1"], "algorithm": "ketama", "shuffle_sharding_config": {"shard_size": 2, "cache_size": 1}}]`, 1},
		{`[{"tenants": ["t9"], "endpoints": ["a:1"]}]`, 1},
	} {
		rings, err := ParseHashrings([]byte(c.text), HashringsOptions{ReplicationFactor: c.replicas})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, rings)
	}
	return all
}

func drawKnownSeries(t *rapid.T, at int64) prompb.TimeSeries {
	ls := named("m"+fmt.Sprint(rapid.IntRange(0, 3).Draw(t, "name")), "a", fmt.Sprint(rapid.IntRange(0, 3).Draw(t, "a")), "b", "x")
	switch rapid.IntRange(0, 15).Draw(t, "labels") {
	case 0:
		ls = append(ls[2:], ls[:2]...) // in another order
	case 1:
		ls = append(ls, "b", "twice")
	case 2:
		ls = ls[2:] // without a name
	case 3:
		ls = append(ls, "c", "")
	case 4:
		ls = append(ls, "c", strings.Repeat("long", 1<<13))
	}
	s := v1Series(ls, at)
	switch rapid.IntRange(0, 9).Draw(t, "points") {
	case 0:
		s.Samples = append(s.Samples, prompb.Sample{Timestamp: at + 1, Value: 2})
	case 1:
		s.Samples = nil
	case 2:
		s.Exemplars = []prompb.Exemplar{v1Exemplar(at, "trace", "1")}
	case 3:
		s.Samples, s.Histograms = nil, []prompb.Histogram{prompb.FromIntHistogram(at, rwHistogram())}
	}
	return s
}

func drawKnownRequest(t *rapid.T, at int64) rwRequest {
	msg := v1()
	for range rapid.IntRange(1, 12).Draw(t, "series") {
		msg.Timeseries = append(msg.Timeseries, drawKnownSeries(t, at))
	}
	req := rwRequest{message: msg, headers: map[string]string{"THANOS-TENANT": fmt.Sprint("t", rapid.IntRange(0, 2).Draw(t, "tenant"))}}
	if rapid.Bool().Draw(t, "2.0") {
		two := v2Of(msg)
		for i := range two.Timeseries {
			if rapid.IntRange(0, 3).Draw(t, "described") == 0 {
				two.Timeseries[i].Metadata = writev2.Metadata{Type: writev2.Metadata_MetricType(i % 3)}
			}
		}
		req.message = two
	}
	return req
}

// A receiver that remembers series does with every request what one does that
// decodes each of them: the same answer, the same bytes to the same receivers, the
// same samples here. Hashrings, tenants, versions of the protocol, orders of labels
// and limits of labels change all the time, and few series are remembered.
func TestKnownSeriesArePlacedAsOthers(t *testing.T) {
	all := churningRings(t)
	rapid.Check(t, func(rt *rapid.T) {
		var now atomic.Pointer[Hashrings]
		now.Store(all[0])
		self := rapid.SampledFrom([]string{"", "b:1"}).Draw(rt, "self")
		most := rapid.SampledFrom([]int{1, 5, 20, 1000}).Draw(rt, "most")
		remembers, decodes := newKnowing(t, now.Load, self, most), newKnowing(t, now.Load, self, -1)
		for i := range rapid.IntRange(1, 30).Draw(rt, "requests") {
			if rapid.IntRange(0, 3).Draw(rt, "reload") == 0 {
				now.Store(rapid.SampledFrom(all).Draw(rt, "hashrings"))
			}
			req := drawKnownRequest(rt, base+int64(i)*10)
			got, want := remembers.handle(t, req), decodes.handle(t, req)
			if d := cmp.Diff(want, got); d != "" {
				rt.Fatalf("request %d of %s: %s", i, req.headers, d)
			}
			if n := len(remembers.router.hashes.table.learnt); n > most {
				rt.Fatalf("%d series are remembered, the bound is %d", n, most)
			}
		}
		if n := len(decodes.router.hashes.table.learnt); n > 0 {
			rt.Fatalf("%d series are remembered by a router that is to remember none", n)
		}
	})
}

// With more series than there is room for, those that are remembered are of use
// round after round; and they make room when they are not sent any more.
func TestKnownSeriesMakeRoom(t *testing.T) {
	const most = 100
	hashes := newRoutedHashes(most)
	round := func(from, n int) (found int) {
		series := make([]routedOutline, n)
		for i := range series {
			series[i].Key, series[i].keyed = [2]uint64{uint64(from + i), 1}, true
		}
		hashes.lookUp(series, 0)
		var learnt []keyEntry[uint64]
		for _, k := range series {
			if k.known {
				found++
				continue
			}
			learnt = append(learnt, keyEntry[uint64]{k.Key, k.Key[0]})
		}
		hashes.learn(learnt)
		return found
	}
	found := 0
	for range 30 {
		found += round(0, most+most/4)
	}
	if found < 30*most*3/4 {
		t.Errorf("%d of %d series were found", found, 30*(most+most/4))
	}
	found = 0
	for range 10 {
		found = round(1_000_000, most/2)
	}
	if found != most/2 {
		t.Errorf("of %d series that are new %d were found in the end", most/2, found)
	}
}

// What is written out of a few bytes is bounded for series that are known, too.
func TestKnownSeriesAreChargedForLabels(t *testing.T) {
	k := newKnowing(t, fixed(churningRings(t)[0]), "", 1000)
	msg := v1()
	for i := range 40 {
		msg.Timeseries = append(msg.Timeseries, v1Series(named("m", "i", fmt.Sprint(i), "long", strings.Repeat("x", 32<<10)), base))
	}
	first := k.handle(t, rwRequest{message: v2Of(msg)})
	if !strings.HasPrefix(first, "400") || !strings.Contains(first, "labels of the request, written out") {
		t.Fatalf("the answer is %.300s", first)
	}
	if again := k.handle(t, rwRequest{message: v2Of(msg)}); again != first {
		t.Errorf("the answer is %.300s, was %.300s", again, first)
	}
}
