package dedup

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// BenchmarkRateAgainstTruth asks for rate(x[5m]), every minute, of ten counters
// that a pair scrapes for two days, half of them 54 ms apart and half 7 s, both
// replicas with gaps of their own and the targets with restarts. Answers are
// compared with those of the first replica if it had no gaps: printed is how many
// of the 28,210 are missing or off by more than half, and the relative error that
// 99 % of those that are there do not exceed. It does so for each replica alone,
// for the two ways that others go, and for Merge. What the second replica would
// be off without gaps is how far the two differ by themselves, which no merge can
// do much about.
func BenchmarkRateAgainstTruth(b *testing.B) {
	ways := []struct {
		name  string
		merge naive
	}{
		{"first replica", onlyFirst},
		{"second replica", func(replicas ...[]point) []point { return replicas[1] }},
		{"second replica without gaps", nil},
		{"every sample", everySample},
		{"penalties", penalties},
		{"merged", func(replicas ...[]point) []point { return merged(b, replicas...) }},
	}
	for _, way := range ways {
		b.Run(way.name, func(b *testing.B) {
			var sum againstTruth
			for b.Loop() {
				sum = againstTruth{}
				for i := range int64(10) {
					sum.add(b, newTruth(b, i), way.merge)
				}
			}
			slices.Sort(sum.errors)
			b.ReportMetric(float64(sum.points), "points")
			b.ReportMetric(float64(sum.off), "off-by-half")
			b.ReportMetric(float64(sum.offCovered), "off-by-half-though-covered")
			b.ReportMetric(100*sum.errors[len(sum.errors)*99/100], "p99-error-%")
		})
	}
}

const (
	truthInterval = 15_000
	truthRange    = 300_000
	truthStep     = 60_000
	// 2,821 steps after the first range.
	truthEnd = truthRange + 2820*truthStep
)

// truth is what a pair has seen of a target, and what there was to see.
type truth struct {
	replicas [][]point
	second   []point // without gaps
	rates    map[int64]float64
}

func newTruth(tb testing.TB, i int64) truth {
	rng := rand.New(rand.NewPCG(2026, uint64(i)))
	var resets []int64
	for at := int64(0); at < truthEnd; at += 3_600_000 + rng.Int64N(4*3_600_000) {
		resets = append(resets, at)
	}
	g := newTarget(rng, truthEnd, []float64{3, 10, 50, 1000, 20_000}[i%5], 0.3, false, resets)
	// Their clocks differ by more than 54 ms, so that the later of such a pair
	// shows the older value, as in thanos issue 8061.
	apart, skew := int64(54), int64(80)
	if i%2 == 1 {
		apart, skew = 7000, 250
	}
	phase := rng.Int64N(truthInterval)
	scrapers := []scraper{
		{interval: truthInterval, phase: phase, jitter: 5, leaves: truthEnd},
		{interval: truthInterval, phase: (phase + apart) % truthInterval, jitter: 5, skew: -skew, leaves: truthEnd},
	}
	whole, _ := scrapers[0].scrape(rng, g, truthEnd)
	t := truth{rates: ask(tb, replica(tb, whole), rateOverTruth, truthRange, truthEnd, truthStep)}
	t.second, _ = scrapers[1].scrape(rng, g, truthEnd)
	for _, s := range scrapers {
		for at := rng.Int64N(7_200_000); at < truthEnd; at += rng.Int64N(2 * 14_400_000) {
			s.away = append(s.away, span{at, at + truthInterval + rng.Int64N(600_000), rng.IntN(2) == 0})
		}
		points, _ := s.scrape(rng, g, truthEnd)
		t.replicas = append(t.replicas, points)
	}
	return t
}

var rateOverTruth = fmt.Sprintf("rate(x[%dms])", truthRange)

// againstTruth sums up how answers differ from the truth.
type againstTruth struct {
	points, off int
	offCovered  int // of off, those where the replicas together have no gap in the range
	errors      []float64
}

func (s *againstTruth) add(tb testing.TB, t truth, merge naive) {
	shown := t.second
	if merge != nil {
		shown = merge(t.replicas...)
	}
	got := ask(tb, replica(tb, shown), rateOverTruth, truthRange, truthEnd, truthStep)
	every := everySample(t.replicas...)
	for at, want := range t.rates {
		s.points++
		v, ok := got[at]
		if ok && v == want {
			s.errors = append(s.errors, 0)
			continue
		}
		off := math.Abs(v-want) / want
		if ok {
			s.errors = append(s.errors, off)
		}
		if !ok || off > 0.5 {
			s.off++
			if covered(every, at-truthRange, at) {
				s.offCovered++
			}
		}
	}
}

// covered reports whether there is a real sample at least every two intervals
// from one time to another.
func covered(points []point, from, to int64) bool {
	last := from
	for _, p := range within(points, from, to) {
		if math.IsNaN(p.v) {
			continue
		}
		if p.t > last+2*truthInterval {
			return false
		}
		last = p.t
	}
	return to <= last+2*truthInterval
}
