package dedup

import (
	"testing"

	"pgregory.net/rapid"
)

// The order of replicas does not matter beyond the choice of the first. None is as
// far from where a sample is due as another.
func TestPropertyOrderOfReplicas(t *testing.T) {
	property(t, func(draw *rapid.T) {
		s := drawScenario(draw, scenarioOptions{gauge: rapid.Bool().Draw(draw, "gauge"), replicas: 4, resets: 2, gaps: 3})
		for i := range s.replicas {
			s.replicas[i].phase = s.interval * [...]int64{0, 23, 49, 70}[i] / 100
		}
		first := &s.replicas[0]
		first.joins, first.leaves = 0, s.length
		for i := range first.away {
			first.away[i].from += 2 * s.interval
			first.away[i].to += 2 * s.interval
		}
		s.run()
		draw.Log(s)
		want := mergedScenario(draw, t, s)
		order := rapid.Permutation([]int{1, 2, 3}[:len(s.points)-1]).Draw(draw, "order")
		points := s.points[:1:1]
		for _, i := range order {
			points = append(points, s.points[i])
		}
		s.points = points
		if err := samePoints(mergedScenario(draw, t, s), want); err != nil {
			draw.Fatal(err)
		}
	})
}
