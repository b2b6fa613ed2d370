package dedup

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"

	"github.com/prometheus/prometheus/model/histogram"
	"pgregory.net/rapid"
)

// The simulator: a target whose truth is known at any time, and scrapers that
// see it at their own times, by their own clocks and with their own gaps.

// target is a counter, or a gauge, in steps of simStep.
type target struct {
	gauge  bool
	value  []float64 // what a scrape reads
	total  []float64 // what a counter would be without resets
	resets []int64   // ms
}

const simStep = 100 // ms

// newTarget makes a target that lives for length ms. About once a minute its rate
// changes, by up to swing times what is given.
func newTarget(rng *rand.Rand, length int64, rate, swing float64, gauge bool, resets []int64) *target {
	n := int(length/simStep) + 1
	g := &target{gauge: gauge, resets: resets, value: make([]float64, n), total: make([]float64, n)}
	v, total := math.Floor(rng.Float64()*1e6), 0.0
	level := rate
	next := 0
	for i := range n {
		if rng.IntN(600) == 0 {
			level = rate * (1 - swing + 2*swing*rng.Float64())
		}
		for next < len(resets) && int64(i)*simStep >= resets[next] {
			v = 0
			next++
		}
		inc := 0.0
		if exact := level * simStep / 1000; exact > 0 {
			inc = math.Floor(exact) + math.Floor(rng.Float64()+exact-math.Floor(exact))
		}
		if gauge {
			inc = math.Round(rng.NormFloat64() * rate)
		}
		v, total = v+inc, total+inc
		g.value[i], g.total[i] = v, total
	}
	return g
}

func (g *target) at(list []float64, t int64) float64 {
	return list[min(max(t/simStep, 0), int64(len(list)-1))]
}

// most returns the most that the counter rises within width ms.
func (g *target) most(width int64) float64 {
	w, most := int(width/simStep)+1, 0.0
	for i := range g.total {
		most = max(most, g.total[min(i+w, len(g.total)-1)]-g.total[i])
	}
	return most
}

// resetBetween reports whether the target was reset after a and by b.
func (g *target) resetBetween(a, b int64) bool {
	for _, r := range g.resets {
		if a < r+simStep && r-simStep <= b {
			return true
		}
	}
	return false
}

// span is a time without scrapes. A failed one begins with a stale marker, as
// when the target cannot be reached; else it is the scraper that is away.
type span struct {
	from, to int64 // ms
	failed   bool
}

// scraper is one replica.
type scraper struct {
	interval, phase, jitter, skew int64 // ms; skew is what its clock is ahead
	joins, leaves                 int64 // ms
	away                          []span
}

func (s scraper) String() string {
	return fmt.Sprintf("{every %d+%d ±%d, clock %+d, %d..%d, away %v}", s.interval, s.phase, s.jitter, s.skew, s.joins, s.leaves, s.away)
}

// scrape returns the samples and the true time of each.
func (s scraper) scrape(rng *rand.Rand, g *target, length int64) (list []point, truth map[int64]int64) {
	truth = map[int64]int64{}
	failed := false
	for at := s.phase; at < length; at += s.interval {
		t := at
		if s.jitter > 0 {
			t += rng.Int64N(2*s.jitter+1) - s.jitter
		}
		if t < s.joins || t > s.leaves || t < 0 || t >= length {
			continue
		}
		i := slices.IndexFunc(s.away, func(a span) bool { return a.from <= at && at < a.to })
		if i < 0 {
			list = append(list, point{t: t + s.skew, v: g.at(g.value, t)})
			truth[t+s.skew] = t
			failed = false
			continue
		}
		if s.away[i].failed && !failed && len(list) > 0 {
			list = append(list, point{t: t + s.skew, v: stale})
			failed = true
		}
	}
	return list, truth
}

// scenario is a target and its replicas, as drawn.
type scenario struct {
	seed     uint64
	length   int64
	interval int64
	rate     float64
	gauge    bool
	resets   []int64
	replicas []scraper
	kind     string // of the histograms, if there are

	target *target
	points [][]point
	truths []map[int64]int64
}

func (s *scenario) String() string {
	return fmt.Sprintf("seed %d, length %d, rate %g, gauge %v, resets %v, replicas %v, histograms %q", s.seed, s.length, s.rate, s.gauge, s.resets, s.replicas, s.kind)
}

// scenarioOptions bound what is drawn.
type scenarioOptions struct {
	gauge      bool
	replicas   int // at most
	histograms bool
	skew       int64 // at most, either way, as a part of the interval: 1/skew
	mixed      bool  // replicas of different intervals
	resets     int   // at most
	gaps       int   // at most, a replica
}

func drawScenario(draw *rapid.T, o scenarioOptions) *scenario {
	s := &scenario{
		seed:     rapid.Uint64().Draw(draw, "seed"),
		interval: rapid.SampledFrom([]int64{5000, 15000, 30000, 60000}).Draw(draw, "interval"),
		rate:     rapid.SampledFrom([]float64{0, 0.01, 0.3, 7, 1000}).Draw(draw, "rate"),
		gauge:    o.gauge,
	}
	s.length = s.interval * rapid.Int64Range(60, 400).Draw(draw, "intervals")
	for range rapid.IntRange(0, o.resets).Draw(draw, "resets") {
		s.resets = append(s.resets, rapid.Int64Range(0, s.length).Draw(draw, "reset"))
	}
	sort.Slice(s.resets, func(i, j int) bool { return s.resets[i] < s.resets[j] })
	for range rapid.IntRange(2, o.replicas).Draw(draw, "replicas") {
		s.replicas = append(s.replicas, s.drawScraper(draw, o))
	}
	if o.histograms {
		s.kind = rapid.SampledFrom([]string{"integer", "float", "custom", "float custom"}).Draw(draw, "kind")
	}
	s.run()
	return s
}

func (s *scenario) drawScraper(draw *rapid.T, o scenarioOptions) scraper {
	r := scraper{interval: s.interval, leaves: s.length}
	if o.mixed {
		r.interval *= rapid.SampledFrom([]int64{1, 1, 2, 4}).Draw(draw, "slower")
	}
	r.phase = rapid.Int64Range(0, r.interval-1).Draw(draw, "phase")
	r.jitter = r.interval * rapid.SampledFrom([]int64{0, 0, 2, 20, 100}).Draw(draw, "jitter") / 1000
	if o.skew > 0 {
		r.skew = rapid.Int64Range(-r.interval/o.skew, r.interval/o.skew).Draw(draw, "skew")
	}
	if rapid.IntRange(0, 5).Draw(draw, "late") == 0 {
		r.joins = rapid.Int64Range(0, s.length).Draw(draw, "joins")
	}
	if rapid.IntRange(0, 5).Draw(draw, "early") == 0 {
		r.leaves = rapid.Int64Range(r.joins, s.length).Draw(draw, "leaves")
	}
	for range rapid.IntRange(0, o.gaps).Draw(draw, "gaps") {
		from := rapid.Int64Range(0, s.length).Draw(draw, "from")
		width := rapid.Int64Range(1, 12).Draw(draw, "missed") * r.interval
		r.away = append(r.away, span{from, from + width, rapid.Bool().Draw(draw, "failed")})
	}
	return r
}

func (s *scenario) run() {
	s.points, s.truths = nil, nil
	rng := rand.New(rand.NewPCG(s.seed, 1))
	s.target = newTarget(rng, s.length, s.rate, 1, s.gauge, s.resets)
	for i, r := range s.replicas {
		points, truth := r.scrape(rng, s.target, s.length)
		if s.kind != "" {
			s.observe(points, int32(i))
		}
		s.points = append(s.points, points)
		s.truths = append(s.truths, truth)
	}
}

// observe makes histograms of floats, with as many observations. Each replica has
// another schema, and turns to a coarser one half way through.
func (s *scenario) observe(points []point, replica int32) {
	for i, p := range points {
		schema := 4 - replica
		if p.t > s.length/2 {
			schema--
		}
		if p.stale() {
			points[i] = staleOf(s.kind, p.t)
			continue
		}
		h := &histogram.Histogram{
			Schema: 5, Count: uint64(p.v), Sum: p.v, // the same to all, before
			PositiveSpans: []histogram.Span{{Offset: 77, Length: 1}}, PositiveBuckets: []int64{int64(p.v)},
		}
		if err := h.ReduceResolution(schema); err != nil {
			panic(err) // schema is less than 5
		}
		if s.gauge {
			h.CounterResetHint = histogram.GaugeType
		}
		if strings.HasSuffix(s.kind, "custom") {
			h.Schema, h.PositiveSpans[0].Offset = histogram.CustomBucketsSchema, 0
			h.CustomValues = []float64{float64(schema)}
		}
		if strings.HasPrefix(s.kind, "float") {
			points[i] = point{t: p.t, fh: h.ToFloat(nil)}
		} else {
			points[i] = point{t: p.t, h: h}
		}
	}
}

func staleOf(kind string, t int64) point {
	if strings.HasPrefix(kind, "float") {
		return point{t: t, fh: &histogram.FloatHistogram{Sum: stale}}
	}
	return point{t: t, h: &histogram.Histogram{Sum: stale}}
}
