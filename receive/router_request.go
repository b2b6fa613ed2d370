package receive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/varve-tsdb/varve/internal/writepb"
)

// routing is a request on its way to the receivers that its series belong on. It
// is reused; nothing in it may outlive the request but capacity.
type routing struct {
	router *Router
	run    *appendRun
	view   *routerView
	ring   *Hashring
	quorum Quorum

	series []routedSeries
	local  []uint32 // positions of those that this receiver is a replica of
	shares []*forwardShare
	// table has the number in shares, plus one, by endpoint and replica.
	table []uint32

	// What is remembered of series, if anything is to be.
	remembers bool
	tenantKey [2]uint64
	outlines  []routedOutline // room for a batch
	learnt    []keyEntry[uint64]
	next      uint32 // where the next known series is likely to be

	hash    SeriesHash
	places  []uint32
	labels  []writepb.Label
	tidied  bool // labels are not as they were sent
	encoded []byte

	answers chan *forwardShare
	waiting int // shares that are on their way
	pending int // series that are not decided
	tally   tally
	why     [numReasons]error // the first cause that was told of each reason
	failure error             // the first error of a replica that is retryable
}

// routedSeries is one series of the request.
type routedSeries struct {
	votes   Votes
	refused Reason // by this receiver, which has sent it nowhere; or zero
	placed  bool

	samples   [numSampleKinds]uint32
	exemplars uint32
}

// forwardGrace is how long after its timeout a call is waited for to answer, so
// that one that keeps to its context is in time.
const forwardGrace = time.Second

// route appends the request in run here and on the other receivers that its
// series belong on. On error it is malformed and nothing is stored anywhere;
// otherwise the tally of run says it all, and so do its outcomes.
func (r *Router) route(ctx context.Context, run *appendRun) error {
	view, ring, err := r.enter(run.tenant)
	if err == nil {
		defer r.leave(view)
		if view.alone(ring) {
			return run.run(ctx)
		}
	}
	s, ok := r.routings.Get().(*routing)
	if !ok {
		s = &routing{}
	}
	defer s.recycle()
	s.router, s.run, s.view, s.ring, s.failure = r, run, view, ring, err
	if err := s.split(); err != nil {
		return err
	}
	s.send(ctx)
	s.appendLocal(ctx)
	s.gather(ctx)
	s.settle()
	return nil
}

// send starts to call the peers. Shares that are on their way are not those of the
// request any more: it may end before they are answered, and be it by a panic of
// the storage.
func (s *routing) send(ctx context.Context) {
	s.answers = make(chan *forwardShare, len(s.shares))
	for _, share := range s.shares {
		if s.router.forward(ctx, s.view, share, s.answers) {
			s.waiting++
		} else {
			s.count(share)
		}
	}
	clear(s.shares)
	s.shares = s.shares[:0]
}

// appendLocal appends what this receiver is a replica of. It is done here, with
// the memory of the request, so it is waited for.
func (s *routing) appendLocal(ctx context.Context) {
	if len(s.local) == 0 {
		return
	}
	a := s.run
	a.askOutcomes()
	if len(s.local) < a.req.NumSeries() {
		a.pick(s.local)
	}
	// The labels have been counted when they were looked at first.
	a.expanded = 0
	err := a.run(ctx)
	a.pickAll()
	for _, e := range a.tally.examples {
		s.because(e.reason, e.err)
	}
	s.failed(a.tally.failure)
	for _, i := range s.local {
		reason := a.outcomes[i].reason
		if err != nil {
			// It cannot be: what is malformed has been found before.
			reason = ReasonRefused
			s.because(reason, err)
		}
		s.vote(i, reason)
	}
}

// gather waits until every series is decided, or no answer is to be expected
// any more.
func (s *routing) gather(ctx context.Context) {
	if s.pending == 0 && s.waiting == 0 {
		return
	}
	timer := time.NewTimer(s.router.opts.ForwardTimeout + forwardGrace)
	defer timer.Stop()
	for ; s.waiting > 0 && s.pending > 0; s.waiting-- {
		select {
		case share := <-s.answers:
			s.count(share)
			continue
		case <-ctx.Done():
			s.failed(fmt.Errorf("%w: the sender has not waited for the receivers that its series belong on", ErrUnavailable))
		case <-timer.C:
			s.failed(fmt.Errorf("%w: receivers have not answered", ErrUnavailable))
		}
		break
	}
	s.router.metrics.late.Add(float64(s.waiting))
}

// count takes the votes of a share, and the share.
func (s *routing) count(share *forwardShare) {
	refusal, _ := errorAs[*PeerRefusal](share.err)
	all, cause := ReasonOf(share.err), share.err
	if refusal != nil {
		text := strings.ReplaceAll(cmp.Or(strings.TrimSpace(refusal.Text), refusal.Error()), "\n", "; ")
		cause = &ForwardError{share.peer.endpoint.Address, errors.New(text)}
	}
	for i, at := range share.series {
		reason := share.reasonFor(i, all, refusal)
		if reason.Class() != Accepted {
			s.because(reason, cause)
		}
		if reason.Class() == Retryable {
			s.failed(cause)
		}
		s.vote(at, reason)
	}
	s.router.recycle(share)
}

func (s *routing) vote(at uint32, r Reason) {
	if s.quorum.Add(&s.series[at].votes, r) {
		s.pending--
	}
}

func (s *routing) because(r Reason, err error) {
	if s.why[r] == nil {
		s.why[r] = err
	}
}

func (s *routing) failed(err error) {
	if s.failure == nil {
		s.failure = err
	}
}

// verdict returns what becomes of a series.
func (s *routing) verdict(r *routedSeries) Reason {
	if r.refused != 0 || !r.placed {
		return r.refused
	}
	if verdict, decided := s.quorum.Verdict(r.votes); decided {
		return verdict
	}
	return ReasonUnavailable
}

// settle puts the verdicts into the tally and the outcomes of the run.
func (s *routing) settle() {
	a := s.run
	a.tally = s.tally
	a.askOutcomes()
	for i := range s.series {
		r := &s.series[i]
		verdict := s.verdict(r)
		a.outcomes[i].reason = verdict
		if r.refused != 0 {
			continue // It is in the tally.
		}
		s.settleSeries(i, r, verdict)
	}
	if a.tally.retryable() {
		a.tally.failure = s.failure
	}
}

// settleSeries counts the samples of one series. Exemplars never fail a request.
func (s *routing) settleSeries(i int, r *routedSeries, verdict Reason) {
	t, n := &s.run.tally, tallyCounts{int(r.samples[floatSample]), int(r.samples[histogramSample])}
	switch verdict.Class() {
	case Accepted:
		t.exemplars[exemplarStored] += int(r.exemplars)
		for kind, count := range n {
			t.samples[verdict][kind] += count
		}
		return
	case Final:
		t.exemplars[exemplarRefused] += int(r.exemplars)
	case Retryable:
		t.exemplars[exemplarFailed] += int(r.exemplars)
	}
	if n.total() == 0 {
		return
	}
	if e := t.refuse(verdict, n); e != nil {
		e.series, e.err = s.describe(i), s.why[verdict]
		if e.err == nil && verdict.Class() == Retryable {
			e.err = s.failure
		}
	}
}

// describe returns the labels of series i for a message.
func (s *routing) describe(i int) string {
	if err := s.run.req.Series(i, &s.run.series); err != nil {
		return "(" + err.Error() + ")"
	}
	// Labels that cannot be read would have been refused before.
	s.labels, _ = s.run.series.AppendLabels(s.labels[:0])
	return describeLabels(s.labels)
}

// recycle gives back what the request has taken.
func (s *routing) recycle() {
	r := s.router
	for _, share := range s.shares {
		r.recycle(share)
	}
	clear(s.shares)
	clear(s.labels[:cap(s.labels)])
	const seriesSize, labelSize, learntSize = 24, 48, 24
	size := seriesSize*cap(s.series) + 4*(cap(s.local)+cap(s.table)+cap(s.places)) + 8*cap(s.shares) + labelSize*cap(s.labels) +
		cap(s.encoded) + learntSize*cap(s.learnt)
	if size > maxScratchBytes {
		return
	}
	*s = routing{
		series: s.series[:0], local: s.local[:0], shares: s.shares[:0], table: s.table,
		hash: s.hash, places: s.places, labels: s.labels[:0], encoded: s.encoded[:0], outlines: s.outlines, learnt: s.learnt[:0], next: s.next,
	}
	r.routings.Put(s)
}
