package receive

import (
	"errors"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/varve-tsdb/varve/internal/writepb"
)

// churnLoad writes series that come and go, of several tenants, in both
// versions, with their labels in changing order. The value of a sample says
// which series it is of.
type churnLoad struct {
	tenants  []string
	handlers []*Handler // one without rules, one that renames a label
	clock    atomic.Int64
	stored   atomic.Int64
}

const churnSeries = 100

// churnValue is the value of every sample of a series, whatever its tenant and
// rules: the number that its labels say.
func churnValue(tenant, rules, series int) float64 {
	return float64(tenant*1_000_000 + rules*100_000 + series)
}

// request makes a request with one sample of each of some series.
func (l *churnLoad) request(rnd *rand.Rand, tenant, rules int) *prompb.WriteRequest {
	msg := &prompb.WriteRequest{}
	generation := int(l.clock.Load()/10_000) % 10
	for range 1 + rnd.IntN(churnSeries) {
		series := generation*churnSeries + rnd.IntN(churnSeries)
		ls := []prompb.Label{
			{Name: "__name__", Value: "m"},
			{Name: "rules", Value: strconv.Itoa(rules)},
			{Name: "series", Value: strconv.Itoa(series)},
			{Name: "tenant", Value: strconv.Itoa(tenant)},
		}
		if rnd.IntN(3) == 0 {
			rnd.Shuffle(len(ls), func(i, j int) { ls[i], ls[j] = ls[j], ls[i] })
		}
		s := prompb.TimeSeries{Labels: ls}
		for range 1 + rnd.IntN(2) {
			s.Samples = append(s.Samples, prompb.Sample{Timestamp: l.clock.Add(1), Value: churnValue(tenant, rules, series)})
		}
		msg.Timeseries = append(msg.Timeseries, s)
	}
	return msg
}

func (l *churnLoad) write(t *testing.T, rnd *rand.Rand) {
	tenant, rules := rnd.IntN(len(l.tenants)), rnd.IntN(len(l.handlers))
	req := rwRequest{message: l.request(rnd, tenant, rules), headers: map[string]string{DefaultTenantHeader: l.tenants[tenant]}}
	if rnd.IntN(2) == 0 {
		req.message, req.typ = v2Of(req.message.(*prompb.WriteRequest)), typeV2
	}
	rec := req.send(t, l.handlers[rules])
	switch rec.Code {
	case http.StatusNoContent:
		l.stored.Add(1)
	case http.StatusBadRequest, http.StatusServiceUnavailable:
		// Another writer was faster, or the head is being replaced.
	default:
		t.Errorf("status %d: %s", rec.Code, rec.Body)
	}
}

// A reference never leads to another series than that of the labels, whatever
// happens to series, heads, tenants and rules meanwhile.
func TestReferencesNeverMislead(t *testing.T) {
	leakCheckButLogs(t)
	opts := TenantsOptions{BlockDuration: time.Minute, OutOfOrderWindow: time.Hour, Retention: -1, MinFreeDisk: -1}
	dir := t.TempDir()
	rename := &relabel.Config{
		SourceLabels: model.LabelNames{"series"}, Regex: relabel.MustNewRegexp("(.*)"), TargetLabel: "renamed", Replacement: "r$1",
		Action: relabel.Replace, Separator: ";", NameValidationScheme: model.UTF8Validation,
	}
	l := &churnLoad{tenants: []string{"a", "b", "c"}}
	l.clock.Store(base)
	for round := range 3 {
		tenants := openTenants(t, dir, opts)
		l.handlers = []*Handler{
			newTestHandler(t, tenants, HandlerOptions{TooFarInFuture: -1}),
			newTestHandler(t, tenants, HandlerOptions{TooFarInFuture: -1, Relabel: []*relabel.Config{rename}}),
		}
		l.run(t, tenants, uint64(round))
		if round == 2 {
			l.check(t, tenants)
		}
		if err := tenants.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if l.stored.Load() < 20 {
		t.Errorf("only %d requests were stored in full", l.stored.Load())
	}
}

// run writes while blocks are cut, and while heads fail and are replaced.
func (l *churnLoad) run(t *testing.T, tenants *Tenants, seed uint64) {
	var writers sync.WaitGroup
	var done atomic.Bool
	for w := range 3 {
		rnd := rand.New(rand.NewPCG(seed, uint64(w)))
		writers.Go(func() {
			for !done.Load() {
				l.write(t, rnd)
			}
		})
	}
	rnd := rand.New(rand.NewPCG(seed, 100))
	for range 10 {
		time.Sleep(20 * time.Millisecond)
		if rnd.IntN(3) == 0 {
			if err := tenants.Flush(t.Context()); err != nil {
				t.Error(err)
			}
		}
		// The series of transactions that are open now are not in the log: the
		// head that comes next gives their references to others.
		s, err := tenants.existing(l.tenants[rnd.IntN(len(l.tenants))])
		if err != nil {
			continue
		}
		if h, _ := s.state(); h != nil {
			_ = h.fail("test", errors.New("as the test wants it"), false)
		}
		if err := s.pass(t.Context()); err != nil {
			t.Error(err)
		}
	}
	done.Store(true)
	writers.Wait()
	if err := tenants.Compact(t.Context()); err != nil {
		t.Error(err)
	}
}

func (l *churnLoad) check(t *testing.T, tenants *Tenants) {
	t.Helper()
	q, err := tenants.ChunkQuerier(base, l.clock.Load())
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	set := storage.NewSeriesSetFromChunkSeriesSet(q.Select(t.Context(), true, nil, labels.MustNewMatcher(labels.MatchEqual, "__name__", "m")))
	var n int
	for set.Next() {
		ls := set.At().Labels()
		number := func(name string) int {
			v, err := strconv.Atoi(strings.TrimPrefix(ls.Get(name), "r"))
			if err != nil {
				t.Fatalf("%s: %v", ls, err)
			}
			return v
		}
		tenant, rules := number("tenant"), number("rules")
		if rules == 1 && number("renamed") != number("series") || rules == 0 && ls.Has("renamed") || ls.Get("tenant_id") != l.tenants[tenant] {
			t.Fatalf("%s is not as the rules make it", ls)
		}
		want := churnValue(tenant, rules, number("series"))
		it := set.At().Iterator(nil)
		for it.Next() == chunkenc.ValFloat {
			if at, v := it.At(); v != want {
				t.Fatalf("%s has %v at %d, which is of another series", ls, v, at)
			}
			n++
		}
	}
	if err := set.Err(); err != nil {
		t.Fatal(err)
	}
	if n < 100 {
		t.Errorf("only %d samples are there", n)
	}
}

// A known series that comes twice in one request is recognised, whichever of the
// two is found by reference: two values for a time are a conflict, the same value
// twice is not, and a sample that is not in order is stored if the head takes it.
func TestKnownSeriesTwiceInARequest(t *testing.T) {
	for _, version := range []string{"1.0", "2.0"} {
		tenants := openTenants(t, t.TempDir(), TenantsOptions{OutOfOrderWindow: time.Hour})
		h := newTestHandler(t, tenants, HandlerOptions{TooFarInFuture: -1})
		send := func(want int, series ...prompb.TimeSeries) string {
			t.Helper()
			req := rwRequest{message: v1(series...)}
			if version == "2.0" {
				req = rwRequest{message: v2Of(v1(series...)), typ: typeV2}
			}
			rec := req.send(t, h)
			if rec.Code != want {
				t.Errorf("%s: status %d, want %d: %s", version, rec.Code, want, rec.Body)
			}
			return rec.Body.String()
		}
		other := func(s prompb.TimeSeries, v float64) prompb.TimeSeries {
			s.Samples[0].Value = v
			return s
		}
		swapped := func(s prompb.TimeSeries) prompb.TimeSeries {
			s.Labels[0], s.Labels[1] = s.Labels[1], s.Labels[0]
			return s
		}
		const first, x = "first", "x"
		send(204, headSeries(first, 0), headSeries(x, 0))
		send(204, headSeries(first, 1), headSeries(x, 1), headSeries(x, 1), swapped(headSeries(x, 1)))
		send(400, headSeries(first, 2), headSeries(x, 2), other(headSeries(x, 2), 7))
		send(400, headSeries(first, 3), headSeries(x, 3), swapped(other(headSeries(x, 3), 7)))
		send(400, headSeries(first, 4), swapped(headSeries(x, 4)), other(headSeries(x, 4), 7))
		send(204, headSeries(first, 5), headSeries(x, 7), headSeries(x, 5), swapped(headSeries(x, 6)))
		if got := countSamples(t, tenants, x); got != 8 {
			t.Errorf("%s: %d samples are stored, want 8", version, got)
		}
	}
}

func countSamples(t *testing.T, tenants *Tenants, series string) (n int) {
	t.Helper()
	q, err := tenants.ChunkQuerier(0, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	set := storage.NewSeriesSetFromChunkSeriesSet(q.Select(t.Context(), true, nil, labels.MustNewMatcher(labels.MatchEqual, "i", series)))
	for set.Next() {
		for it := set.At().Iterator(nil); it.Next() != chunkenc.ValNone; {
			n++
		}
	}
	if err := set.Err(); err != nil {
		t.Fatal(err)
	}
	return n
}

// References are bounded by the series there are, in whatever order their
// labels are sent. A few too many do not push out the others; with many more, the
// latest are remembered in the end.
func TestReferencesAreBounded(t *testing.T) {
	const most = seriesRefsSpare + 2*10
	refs := NewSeriesRefs(func() int { return 10 })
	next := uint64(0)
	learn := func(n int) {
		for range n {
			refs.learn([]learntRef{{writepb.Key{next, next}, 7}})
			next++
			if len(refs.table.learnt) > most || len(refs.table.index) > 4*len(refs.table.learnt)+fewestSlots {
				t.Fatalf("%d references of 10 series are remembered", len(refs.table.learnt))
			}
		}
	}
	ref := func(i uint64) storage.SeriesRef {
		known := []knownSeries{{keyed: true}}
		known[0].Key = writepb.Key{i, i}
		refs.lookUp(known, 99)
		return known[0].ref
	}
	learn(3 * most)
	refs.learn([]learntRef{{writepb.Key{1, 1}, 8}})
	if ref(0) != 7 || ref(1) != 8 {
		t.Error("those that were there are forgotten, or are what they were")
	}
	learn(3 * most)
	if ref(0) != 0 || ref(next-1) != 7 {
		t.Error("those that do not come any more are remembered, and those that do are not")
	}
	refs.Forget()
	if ref(next-1) != 0 {
		t.Error("a reference outlived its series")
	}
}

// References are learnt with the commit: before it a head has not logged the
// series, and what others append to it could not be replayed.
func TestReferencesAreLearntWithTheCommit(t *testing.T) {
	tenants := openTenants(t, t.TempDir(), TenantsOptions{})
	h := newTestHandler(t, tenants, HandlerOptions{TooFarInFuture: -1})
	msg := v1(headSeries("first", 0))
	for i := range 2 * lookUpBatch {
		msg.Timeseries = append(msg.Timeseries, headSeries(sprint(i), 0))
	}
	body, err := msg.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	broken := append(slices.Clone(body), "\x0a\x02\x12\x7f"...) // a series whose sample is cut short
	wantAnswer(t, rwRequest{body: broken}.deliver(h), 400)
	refs := tenants.slots[DefaultTenant].head.refs
	if n := len(refs.table.learnt); n != 0 {
		t.Errorf("%d references were learnt from a request that was rolled back", n)
	}
	wantAnswer(t, rwRequest{body: body}.deliver(h), 204)
	if n := len(refs.table.learnt); n != 2*lookUpBatch {
		t.Errorf("%d references were learnt, want %d", n, 2*lookUpBatch)
	}
}
