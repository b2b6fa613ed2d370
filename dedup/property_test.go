package dedup

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/model/value"
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
		if ok && points[j].same(p) {
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
		if value.IsStaleNaN(p.v) {
			continue
		}
		if lastTimes != nil && !s.gauge && p.v < last.v {
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
		if s.gauge && i < 2*enoughChanges && float64(to-from) <= (patience+3.0/2)*d {
			continue // not known to be a gauge yet
		}
		if s.target.resetBetween(from, to) && float64(to-from) <= (patience+3.0/2)*d {
			continue // a replica that begins after a reset may look like one that lags
		}
		for j, points := range s.points {
			for _, p := range points {
				if p.t > from+edge && p.t < to-edge && !value.IsStaleNaN(p.v) {
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
			if !value.IsStaleNaN(p.v) {
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

func TestPropertyCounters(t *testing.T) {
	rapid.Check(t, func(draw *rapid.T) {
		s := drawScenario(draw, scenarioOptions{replicas: 3, resets: 3, gaps: 3, mixed: true})
		draw.Log(s)
		got := mergedScenario(draw, t, s)
		if err := s.checkOrigins(got); err != nil {
			draw.Fatal(err)
		}
		if err := s.checkHoles(got, 1); err != nil {
			draw.Fatal(err)
		}
	})
}

func TestPropertyCountersWithSkew(t *testing.T) {
	rapid.Check(t, func(draw *rapid.T) {
		s := drawScenario(draw, scenarioOptions{replicas: 3, resets: 3, gaps: 3, skew: 3})
		draw.Log(s)
		got := mergedScenario(draw, t, s)
		if err := s.checkOrigins(got); err != nil {
			draw.Fatal(err)
		}
		if err := s.checkHoles(got, patience+2); err != nil {
			draw.Fatal(err)
		}
	})
}

func TestPropertyGauges(t *testing.T) {
	rapid.Check(t, func(draw *rapid.T) {
		s := drawScenario(draw, scenarioOptions{gauge: true, replicas: 3, gaps: 3, skew: 3, mixed: true})
		draw.Log(s)
		got := mergedScenario(draw, t, s)
		if err := s.checkOrigins(got); err != nil {
			draw.Fatal(err)
		}
		if err := s.checkHoles(got, 1); err != nil {
			draw.Fatal(err)
		}
	})
}
