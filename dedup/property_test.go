package dedup

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/storage"
	"pgregory.net/rapid"
)

// mergedScenario merges the replicas of a scenario.
func mergedScenario(tb rapid.TB, t *testing.T, s *scenario) []point {
	tb.Helper()
	var list []storage.ChunkSeries
	for _, points := range s.points {
		list = append(list, replica(t, points))
	}
	got, err := readPoints(Merge(list...))
	if err != nil {
		tb.Fatal(err)
	}
	return got
}

// origin returns the true time of an emitted sample, taken from the replica
// that has it, which there must be.
func (s *scenario) origin(p point) ([]int64, error) {
	var times []int64
	found := false
	for i, points := range s.points {
		j, ok := slices.BinarySearchFunc(points, p.t, func(q point, t int64) int { return int(q.t - t) })
		if ok && samePoint(points[j].as(p), p) {
			found = true
			if t, ok := s.truths[i][p.t]; ok {
				times = append(times, t)
			}
		}
	}
	if !found {
		return nil, fmt.Errorf("emitted sample %v is not one of any replica", p)
	}
	return times, nil
}

// checkOrigins checks that each sample is real and that no reset is invented.
func (s *scenario) checkOrigins(got []point) error {
	var last point
	var lastTimes []int64
	for _, p := range got {
		times, err := s.origin(p)
		if err != nil {
			return err
		}
		if p.stale() {
			continue
		}
		if lastTimes != nil && !s.gauge && p.resets(last) {
			real := false
			for _, a := range lastTimes {
				for _, b := range times {
					real = real || s.target.resetBetween(min(a, b), max(a, b))
				}
			}
			if !real {
				return fmt.Errorf("invented reset from %v, seen at %v, to %v, seen at %v", last, lastTimes, p, times)
			}
		}
		last, lastTimes = p, times
	}
	return nil
}

// checkHoles checks that no hole is left that a replica covers. slack, in
// intervals, is what is allowed on either side of what it covers.
func (s *scenario) checkHoles(got []point, slack float64) error {
	// What the interval of a replica is takes a few samples to find out, which
	// one that comes and goes may not have.
	d := 0.0
	for i, r := range s.replicas {
		d = max(d, float64(r.interval+2*r.jitter))
		if points := s.points[i]; len(points) > 1 && len(points) < 8 {
			d = max(d, float64(points[len(points)-1].t-points[0].t))
		}
	}
	if !slices.ContainsFunc(s.points, func(points []point) bool { return len(points) > 1 }) {
		return nil // no interval to be known
	}
	edge := int64(slack * d)
	for i := 1; i < len(got); i++ {
		from, to := got[i-1].t, got[i].t
		if float64(to-from) <= 3*d/2 {
			continue
		}
		left := edge
		if s.gauge && i < 2*enoughChanges {
			left = max(edge, int64((patience+1)*d)) // not known to be a gauge yet
		}
		if s.target.resetBetween(from, to) {
			left = max(left, int64((patience+3.0/2)*d)) // one that begins after a reset may look like one that lags
		}
		for j, points := range s.points {
			for _, p := range points {
				if p.t > from+left && p.t < to-edge && !p.stale() {
					return fmt.Errorf("hole from %v to %v, though replica %d has %v", got[i-1], got[i], j, p)
				}
			}
		}
	}
	return s.checkEnds(got, max(patience+1, slack)*d)
}

// checkEnds checks that the result begins and ends where the replicas do.
func (s *scenario) checkEnds(got []point, slack float64) error {
	first, last := int64(math.MaxInt64), int64(math.MinInt64)
	for _, points := range s.points {
		for _, p := range points {
			if !p.stale() {
				first, last = min(first, p.t), max(last, p.t)
			}
		}
	}
	if last < first {
		return nil
	}
	if len(got) == 0 || float64(got[0].t-first) > slack || float64(last-got[len(got)-1].t) > slack {
		return fmt.Errorf("replicas span %d..%d, got %v", first, last, got)
	}
	return nil
}

// checkCalm checks that replicas are not mixed without a reason: that each switch
// has a gap, a stale marker or an end of a replica to itself, with one to come
// back, and that it leaves half an interval between the samples of different
// replicas, for the clocks to differ in.
func (s *scenario) checkCalm(got []point) error {
	reasons, d := 0, int64(math.MaxInt64)
	known := true // whether all intervals are, which takes some samples
	for i, points := range s.points {
		r := s.replicas[i]
		d = min(d, r.interval-2*r.jitter)
		known = known && len(points) >= 8
		reasons += 2
		for j, p := range points {
			if p.stale() || j > 0 && p.t-points[j-1].t > r.interval*5/4 {
				reasons++
			}
		}
	}
	switches := 0
	for i, p := range got {
		if i == 0 || s.holder(p)&s.holder(got[i-1]) != 0 {
			continue
		}
		switches++
		if fell := p.number() < got[i-1].number(); known && !fell && p.t-got[i-1].t < d*2/5 {
			return fmt.Errorf("%v of another replica follows %v too closely", p, got[i-1])
		}
	}
	if switches > 2*reasons {
		return fmt.Errorf("%d switches for %d reasons", switches, reasons)
	}
	return nil
}

// holder returns the replicas that have the sample, as bits.
func (s *scenario) holder(p point) (set uint) {
	for i, points := range s.points {
		if j, ok := slices.BinarySearchFunc(points, p.t, func(q point, t int64) int { return int(q.t - t) }); ok && samePoint(points[j].as(p), p) {
			set |= 1 << i
		}
	}
	return set
}

// check draws scenarios and checks all that holds for the result of each. slack
// is what checkHoles takes.
func check(t *testing.T, o scenarioOptions, slack float64) {
	property(t, func(draw *rapid.T) {
		s := drawScenario(draw, o)
		draw.Log(s)
		got := mergedScenario(draw, t, s)
		for _, err := range []error{s.checkOrigins(got), s.checkHoles(got, slack), s.checkCalm(got)} {
			if err != nil {
				draw.Fatal(err)
			}
		}
	})
}

func TestPropertyCounters(t *testing.T) {
	check(t, scenarioOptions{replicas: 3, resets: 3, gaps: 3, mixed: true}, 1)
}

func TestPropertyCountersWithSkew(t *testing.T) {
	check(t, scenarioOptions{replicas: 3, resets: 3, gaps: 3, skew: 3}, patience+2)
}

func TestPropertyGauges(t *testing.T) {
	check(t, scenarioOptions{gauge: true, replicas: 3, gaps: 3, skew: 3, mixed: true}, 1)
}

func TestPropertyHistograms(t *testing.T) {
	check(t, scenarioOptions{histograms: true, replicas: 3, resets: 3, gaps: 3, mixed: true}, 1)
}

func TestPropertyGaugeHistograms(t *testing.T) {
	check(t, scenarioOptions{histograms: true, gauge: true, replicas: 3, gaps: 3, skew: 3, mixed: true}, 1)
}

// A first replica that lacks nothing is what comes out, whatever the others have.
func TestPropertyFirstReplicaWithoutGaps(t *testing.T) {
	property(t, func(draw *rapid.T) {
		s := drawScenario(draw, scenarioOptions{gauge: rapid.Bool().Draw(draw, "gauge"), replicas: 4, resets: 2, gaps: 3})
		s.replicas[0].away, s.replicas[0].joins, s.replicas[0].leaves = nil, 0, s.length
		s.replicas[0].phase = s.interval / 2 // not more than an interval behind another
		s.run()
		draw.Log(s)
		if err := samePoints(mergedScenario(draw, t, s), s.points[0]); err != nil {
			draw.Fatal(err)
		}
	})
}
