package receive

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/storage"
	"pgregory.net/rapid"
)

// routePlan is a request, who its receivers are, and how and in which order they
// answer.
type routePlan struct {
	algorithm         HashringAlgorithm
	endpoints         int
	replicationFactor int
	ingests, two      bool
	bad               []bool // of each series: whether no receiver takes it
	samples           []int  // of each series
	refuses           []bool // of each series: whether this receiver's storage does
	broken            bool   // whether this receiver's storage fails
	order             []int  // which of the waiting calls is answered next
	answers           []int  // an index into planAnswers
}

// planAnswers are what a call can come to. Those of a refusal are for the series
// in turn.
var planAnswers = []struct {
	name string
	err  error
	each []Reason
}{
	{name: "stored"},
	{name: "stored"},
	{name: "stored"},
	{name: "unavailable", err: fmt.Errorf("no: %w", ErrUnavailable)},
	{name: "failed", err: errors.New("who knows")},
	{name: "refused", err: storage.ErrOutOfOrderSample},
	{name: "refused in part", each: []Reason{ReasonTooOld, ReasonStored, ReasonUnavailable}},
	{name: "refused in part", each: []Reason{ReasonStored, ReasonStored, ReasonConflict}},
	{name: "refused in part, by reasons of the future", each: []Reason{200, ReasonStored}},
	{name: "hangs"},
}

func drawRoutePlan(t *rapid.T) *routePlan {
	p := &routePlan{endpoints: rapid.IntRange(1, 5).Draw(t, "endpoints")}
	p.algorithm = rapid.SampledFrom([]HashringAlgorithm{AlgorithmHashmod, AlgorithmKetama}).Draw(t, "algorithm")
	p.replicationFactor = rapid.IntRange(1, p.endpoints).Draw(t, "replication factor")
	p.ingests, p.two = rapid.Bool().Draw(t, "ingests"), rapid.Bool().Draw(t, "2.0")
	p.broken = rapid.IntRange(0, 5).Draw(t, "broken") == 0
	for range rapid.IntRange(0, 8).Draw(t, "series") {
		p.bad = append(p.bad, rapid.IntRange(0, 9).Draw(t, "bad") == 0)
		p.samples = append(p.samples, rapid.IntRange(1, 3).Draw(t, "samples"))
		p.refuses = append(p.refuses, rapid.IntRange(0, 3).Draw(t, "refuses") == 0)
	}
	for range p.endpoints * p.replicationFactor {
		p.order = append(p.order, rapid.IntRange(0, 20).Draw(t, "next"))
		p.answers = append(p.answers, rapid.IntRange(0, len(planAnswers)-1).Draw(t, "answer"))
	}
	return p
}

func (p *routePlan) seriesName(i int) string { return "m" + strconv.Itoa(i) }

func (p *routePlan) message() *prompb.WriteRequest {
	msg := v1()
	for i := range p.bad {
		ls := named(p.seriesName(i), "instance", strconv.Itoa(i*i))
		if p.bad[i] {
			ls = append(ls, "instance", "twice")
		}
		ts := make([]int64, p.samples[i])
		for j := range ts {
			ts[j] = base + int64(j)
		}
		msg.Timeseries = append(msg.Timeseries, v1Series(ls, ts...))
	}
	return msg
}

// routeModel says what must come of a plan. It knows of placement only what
// Thanos does: the hash of tenant and labels, and Place.
type routeModel struct {
	plan    *routePlan
	quorum  Quorum
	shares  map[string][]int // series by address and replica
	answers [][]Class        // by series
}

func newRouteModel(p *routePlan, rings *Hashrings, self string) *routeModel {
	m := &routeModel{plan: p, quorum: WriteQuorum(p.replicationFactor), shares: map[string][]int{}, answers: make([][]Class, len(p.bad))}
	ring, _ := rings.Resolve("team")
	for i, s := range p.message().Timeseries {
		if p.bad[i] {
			continue
		}
		var h SeriesHash
		h.Reset("team")
		for _, l := range s.Labels {
			h.Label([]byte(l.Name), []byte(l.Value))
		}
		places := make([]uint32, p.replicationFactor)
		ring.Place(h.Sum(), places)
		for replica, at := range places {
			address := rings.Endpoints()[at].Address
			switch {
			case address != self:
				key := fmt.Sprint(address, "/", replica+1)
				m.shares[key] = append(m.shares[key], i)
			case p.broken:
				m.answers[i] = append(m.answers[i], Retryable)
			case p.refuses[i]:
				m.answers[i] = append(m.answers[i], Final)
			default:
				m.answers[i] = append(m.answers[i], Accepted)
			}
		}
	}
	return m
}

// answer notes what a call has come to.
func (m *routeModel) answer(call *peerCall, answer int) {
	a := planAnswers[answer]
	for n, i := range m.shares[fmt.Sprint(call.address, "/", call.replica)] {
		class := ReasonOf(a.err).Class()
		if a.each != nil {
			class = Retryable
			if r := a.each[n%len(a.each)]; r < numReasons {
				class = r.Class()
			}
		}
		if a.name == "hangs" {
			class = Retryable
		}
		m.answers[i] = append(m.answers[i], class)
	}
}

// verdicts returns what becomes of each series, and whether all are decided.
func (m *routeModel) verdicts() (out []Class, decided bool) {
	decided = true
	for i, answers := range m.answers {
		if m.plan.bad[i] {
			out = append(out, Final)
			continue
		}
		verdict, sure := modelDecided(m.quorum, answers)
		out = append(out, verdict)
		decided = decided && sure
	}
	return out, decided
}

// single reports whether this receiver is the only one, which then counts by
// sample.
func (p *routePlan) single(self string) bool { return p.endpoints == 1 && self != "" }

// check compares an answer with the verdicts.
func (m *routeModel) check(rec *httptest.ResponseRecorder, single bool) error {
	verdicts, _ := m.verdicts()
	status, written := http.StatusNoContent, 0
	for i, verdict := range verdicts {
		switch verdict {
		case Accepted:
			written += m.plan.samples[i]
		case Final:
			status = max(status, http.StatusBadRequest)
		case Retryable:
			status = max(status, http.StatusInternalServerError)
		}
	}
	switch {
	case status == 500 && rec.Code < 500, status < 500 && rec.Code != status:
		return fmt.Errorf("status %d, want %d: %s", rec.Code, status, rec.Body)
	case rec.Code >= 500 && rec.Header().Get("Retry-After") == "":
		return errors.New("retryable without Retry-After")
	case m.plan.two && !single && rec.Header().Get(headerSamplesWritten) != strconv.Itoa(written):
		return fmt.Errorf("%s samples are said to be written, want %d", rec.Header().Get(headerSamplesWritten), written)
	case rec.Code != 204 && !strings.Contains(rec.Body.String(), `tenant "team"`):
		return fmt.Errorf("the text does not name the tenant: %s", rec.Body)
	}
	return nil
}

// checkCalls compares what the peers were sent with what belongs on them.
func (m *routeModel) checkCalls(calls []*peerCall) error {
	got := map[string]bool{}
	msg := m.plan.message().Timeseries
	for _, c := range calls {
		key := fmt.Sprint(c.address, "/", c.replica)
		if got[key] || c.tenant != "team" {
			return fmt.Errorf("%s was called again, or for tenant %q", key, c.tenant)
		}
		got[key] = true
		var want []prompb.TimeSeries
		for _, i := range m.shares[key] {
			want = append(want, msg[i])
		}
		if fmt.Sprint(c.series) != fmt.Sprint(want) {
			return fmt.Errorf("%s was sent\n%v\nwant\n%v", key, c.series, want)
		}
	}
	if len(got) != len(m.shares) {
		return fmt.Errorf("%d peers were called, want those of %v", len(got), m.shares)
	}
	return nil
}

// runRoutePlan sends the request of a plan, and answers the calls in its order.
// The request must be answered at the very answer that decides it, with what the
// model says.
func runRoutePlan(t *testing.T, p *routePlan) error {
	addresses := make([]string, p.endpoints)
	for i := range addresses {
		addresses[i] = fmt.Sprintf("receiver-%d:10901", i)
	}
	rings := testHashrings(t, p.algorithm, p.replicationFactor, addresses...)
	self, to := "", Appendable(nil)
	local := newFakeStorage()
	if p.ingests {
		self, to = addresses[0], local
	}
	local.appendErr = func(ls labels.Labels, _ int64) error {
		if i, _ := strconv.Atoi(ls.Get("__name__")[1:]); p.refuses[i] {
			return storage.ErrOutOfOrderSample
		}
		return nil
	}
	if p.broken {
		local.appenderErr = errBroken
	}
	peers := &fakePeers{}
	router, err := NewRouter(fixed(rings), self, peers.dial, RouterOptions{})
	if err != nil {
		return err
	}
	h := newTestHandler(t, to, HandlerOptions{Router: router, TooFarInFuture: -1})
	req := rwRequest{message: p.message(), headers: map[string]string{"THANOS-TENANT": "team"}}
	if p.two {
		req.message = v2Of(p.message())
	}
	var rec atomic.Pointer[httptest.ResponseRecorder]
	go func() { rec.Store(req.send(t, h)) }()

	m := newRouteModel(p, rings, self)
	err = m.follow(peers, &rec)
	if err == nil {
		err = m.check(rec.Load(), p.single(self))
	}
	closeErr := router.Close()
	synctest.Wait()
	if len(peers.closed) > p.endpoints || len(peers.calls()) > 0 {
		closeErr = errors.Join(closeErr, fmt.Errorf("%d peers are closed, %d calls go on", len(peers.closed), len(peers.calls())))
	}
	return errors.Join(err, closeErr, peers.check())
}

// follow answers the calls in the order of the plan.
func (m *routeModel) follow(peers *fakePeers, rec *atomic.Pointer[httptest.ResponseRecorder]) error {
	synctest.Wait()
	if err := m.checkCalls(peers.calls()); err != nil {
		return err
	}
	var hanging []*peerCall
	for turn := 0; ; turn++ {
		synctest.Wait()
		if _, decided := m.verdicts(); decided != (rec.Load() != nil) {
			return fmt.Errorf("after %d answers: decided %v, answered %v", turn, decided, rec.Load() != nil)
		}
		calls := slices.DeleteFunc(peers.calls(), func(c *peerCall) bool { return slices.Contains(hanging, c) })
		if len(calls) == 0 {
			break
		}
		call, answer := calls[m.plan.order[turn]%len(calls)], m.plan.answers[turn]
		decidedBefore := rec.Load() != nil
		if planAnswers[answer].name == "hangs" {
			hanging = append(hanging, call)
			continue
		}
		call.answer <- answerOf(call, answer)
		if !decidedBefore {
			m.answer(call, answer)
		}
	}
	if rec.Load() == nil {
		for _, call := range hanging {
			m.answer(call, len(planAnswers)-1)
		}
		time.Sleep(5 * time.Second) // the timeout of calls
		synctest.Wait()
	}
	if rec.Load() == nil {
		return errors.New("the request is not answered")
	}
	return nil
}

func answerOf(call *peerCall, answer int) error {
	a := planAnswers[answer]
	if a.each == nil {
		return a.err
	}
	refusal := &PeerRefusal{Refused: map[int]Reason{}, Text: a.name}
	for i := range call.series {
		if r := a.each[i%len(a.each)]; r != ReasonStored {
			refusal.Refused[i] = r
		}
	}
	return refusal
}

// Any set of receivers, of which any fail in any way and in any order.
func TestRouteAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := drawRoutePlan(rt)
		var err error
		synctest.Test(t, func(t *testing.T) { err = runRoutePlan(t, p) })
		if err != nil {
			rt.Fatalf("%+v: %v", *p, err)
		}
	})
}

// Every order of the answers of three replicas, each of every kind.
func TestRouteEveryOrder(t *testing.T) {
	kinds := []int{0, 3, 4, 5, 6, 9}
	orders := [][]int{{0, 0, 0}, {0, 1, 0}, {1, 0, 0}, {1, 1, 0}, {2, 0, 0}, {2, 1, 0}}
	for _, a := range kinds {
		for _, b := range kinds {
			for _, c := range kinds {
				for _, order := range orders {
					p := &routePlan{
						algorithm: AlgorithmHashmod, endpoints: 3, replicationFactor: 3, two: true,
						bad: []bool{false}, samples: []int{2}, refuses: []bool{false}, order: order, answers: []int{a, b, c},
					}
					var err error
					synctest.Test(t, func(t *testing.T) { err = runRoutePlan(t, p) })
					if err != nil {
						t.Fatalf("%s, %s, %s in order %v: %v", planAnswers[a].name, planAnswers[b].name, planAnswers[c].name, order, err)
					}
				}
			}
		}
	}
}
