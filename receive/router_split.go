package receive

import (
	"errors"
	"fmt"
	"slices"

	"github.com/varve-tsdb/varve/internal/writepb"
)

// split looks at every series of the request, says which receivers it belongs
// on, and encodes what they are to get. An error means that the request is
// malformed; nothing has been sent then.
func (s *routing) split() error {
	a := s.run
	if err := a.checkMetadata(); err != nil {
		return err
	}
	s.series = slices.Grow(s.series[:0], a.req.NumSeries())[:a.req.NumSeries()]
	if s.ring != nil {
		replicas := s.ring.ReplicationFactor()
		s.quorum = WriteQuorum(replicas)
		s.places = slices.Grow(s.places[:0], replicas)[:replicas]
		n := len(s.view.peers) * replicas
		s.table = slices.Grow(s.table[:0], n)[:n]
		clear(s.table)
	}
	s.hash.Reset(a.tenant)
	if s.remembers = s.ring != nil && s.router.hashes.most > 0; s.remembers {
		s.tenantKey = s.router.hashes.tenantKey(a.tenant)
		a.req.Seed(s.tenantKey[0])
	}
	for i := 0; i < len(s.series); i += lookUpBatch {
		batch := s.lookUp(i)
		for j := range batch {
			if err := s.splitSeries(i+j, &batch[j]); err != nil {
				return fmt.Errorf("series %d: %w", i+j, err)
			}
		}
	}
	s.router.hashes.learn(s.learnt)
	return nil
}

// splitSeries does so for one series.
func (s *routing) splitSeries(i int, k *routedOutline) error {
	a, r := s.run, &s.series[i]
	*r = routedSeries{}
	if k.known {
		s.placeKnown(uint32(i), k)
		return nil
	}
	if err := a.req.Series(i, &a.series); err != nil {
		return err
	}
	n := tallyCounts{len(a.series.Samples), len(a.series.Histograms)}
	refusal := s.checkSeries(n)
	if errors.Is(refusal.err, errMalformed) {
		return refusal.err
	}
	if refusal.err != nil {
		s.refuse(r, refusal, n)
		return nil
	}
	// What is refused goes to no peer, so whatever else is in it is not looked at
	// here either.
	if err := s.checkPoints(); err != nil {
		return err
	}
	if n.total()+len(a.series.Exemplars) == 0 {
		return nil // There is nothing to be stored.
	}
	if s.ring == nil {
		s.refuse(r, appendRefusal{ReasonUnavailable, s.failure}, n)
		return nil
	}
	r.samples = [numSampleKinds]uint32{uint32(n[floatSample]), uint32(n[histogramSample])}
	r.exemplars = uint32(len(a.series.Exemplars))
	for _, l := range s.labels {
		s.hash.Label(l.Name, l.Value)
	}
	k.hash = s.hash.Sum()
	if k.keyed && !s.tidied {
		s.learnt = append(s.learnt, keyEntry[uint64]{k.Key, k.hash})
	}
	s.place(uint32(i), k)
	return nil
}

// refuse gives a series, whose labels are in s.labels, a verdict here and now.
func (s *routing) refuse(r *routedSeries, refusal appendRefusal, n tallyCounts) {
	r.refused = refusal.reason
	if e := s.tally.refuse(refusal.reason, n); e != nil {
		e.series, e.err = describeLabels(s.labels), refusal.err
	}
}

// checkSeries returns why a.series, which has n samples, is refused by any receiver,
// in the order in which these look at it. Peers would refuse the whole message for
// some of that, and cannot see the rest of it. If it is not, s.labels are the labels
// as any receiver stores them.
func (s *routing) checkSeries(n tallyCounts) appendRefusal {
	a := s.run
	if refusal := s.checkLabels(); refusal.err != nil {
		return refusal
	}
	switch {
	case n.total() > 0:
		return a.seriesMetadata(&a.target)
	case len(a.series.Exemplars) == 0 && a.req.Version() == writepb.V2:
		return appendRefusal{ReasonNoSamples, errNoSamples}
	}
	return appendRefusal{}
}

func (s *routing) checkLabels() appendRefusal {
	a := s.run
	var err error
	a.labels, err = a.series.AppendLabels(a.labels[:0])
	s.labels = append(s.labels[:0], a.labels...)
	if err != nil {
		if errors.Is(err, writepb.ErrLabels) {
			return appendRefusal{ReasonLabelsTooLong, err}
		}
		return appendRefusal{ReasonBadSymbol, err}
	}
	if err := a.chargeLabels(); err != nil {
		return appendRefusal{ReasonLabelsTooLong, err}
	}
	s.tidied = !slices.IsSortedFunc(a.labels, compareLabelNames)
	if s.tidied {
		slices.SortFunc(a.labels, compareLabelNames)
	}
	if reason, err := checkLabels(a.labels, a.series.ASCII()); err != nil {
		return appendRefusal{reason, err}
	}
	s.tidy()
	return appendRefusal{}
}

// tidy makes s.labels, which are valid and in a.labels sorted, what a storage makes
// of them: sorted, and without those that have no value. No known writer sends
// others. A receiver of Thanos refuses them, and what comes with them counts as
// refused, too.
func (s *routing) tidy() {
	empty := func(l writepb.Label) bool { return len(l.Value) == 0 }
	if s.tidied {
		copy(s.labels, s.run.labels)
	}
	if slices.ContainsFunc(s.labels, empty) {
		s.tidied = true
		s.labels = slices.DeleteFunc(s.labels, empty)
	}
}

// checkPoints walks what of a.series is not decoded yet, and takes those of the
// exemplars out that no receiver would keep. An error means that the request is
// malformed.
func (s *routing) checkPoints() error {
	a := s.run
	if err := a.series.Check(a.labels); err != nil || a.req.Version() == writepb.V1 {
		return err
	}
	good := a.series.Exemplars[:0]
	for _, raw := range a.series.Exemplars {
		var err error
		_, a.labels, err = a.series.Exemplar(raw, a.labels[:0])
		switch {
		case errors.Is(err, writepb.ErrSymbol):
			s.refuseExemplar(err)
		case err != nil || a.chargeLabels() != nil || exemplarTooLong(a.labels):
			s.tally.exemplars[exemplarInvalid]++
		default:
			good = append(good, raw)
		}
	}
	a.series.Exemplars = good
	return nil
}

// refuseExemplar counts an exemplar with bad references of a.series.
func (s *routing) refuseExemplar(err error) {
	s.tally.exemplars[exemplarInvalid]++
	if e := s.tally.refuse(ReasonBadExemplar, tallyCounts{}); e != nil {
		e.series, e.err = describeLabels(s.labels), err
	}
}

// place adds series i, whose hash is in k, to what is appended here, and to what
// goes to peers.
func (s *routing) place(i uint32, k *routedOutline) {
	replicas := s.ring.Place(k.hash, s.places)
	s.series[i].placed = true
	s.pending++
	var encoded []byte
	for replica, endpoint := range s.places[:replicas] {
		peer := s.view.peers[endpoint]
		if peer == nil {
			s.local = append(s.local, i)
			continue
		}
		share := s.share(endpoint, replica)
		share.series = append(share.series, i)
		if share.err != nil {
			continue
		}
		if encoded == nil {
			encoded = s.encode(i, k)
		}
		*share.message = writepb.AppendMessage(*share.message, encoded)
	}
}

// encode returns series i as one of 1.0. If it cannot be handed over as it is its
// labels are in s.labels, or if it is known in those of the run.
func (s *routing) encode(i uint32, k *routedOutline) []byte {
	a := s.run
	switch {
	case a.req.Version() == writepb.V1 && (k.known || !s.tidied):
		return a.req.Encoded(int(i))
	case k.known:
		s.encoded = writepb.AppendFloatV1(s.encoded[:0], a.labels, k.Float)
	default:
		s.encoded = a.series.AppendV1(s.encoded[:0], s.labels, a.labels)
	}
	return s.encoded
}

// share returns what an endpoint gets as a replica, counted from 0.
func (s *routing) share(endpoint uint32, replica int) *forwardShare {
	at := &s.table[int(endpoint)*s.ring.ReplicationFactor()+replica]
	if *at == 0 {
		s.shares = append(s.shares, s.router.newShare(s.view.peers[endpoint], s.run.tenant, replica+1))
		*at = uint32(len(s.shares))
	}
	return s.shares[*at-1]
}
