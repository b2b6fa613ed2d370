package dedup

import (
	"context"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"pgregory.net/rapid"
)

// one is a storage of one series.
type one struct{ series storage.ChunkSeries }

func (o one) Querier(int64, int64) (storage.Querier, error) {
	return &storage.MockQuerier{SelectMockFunction: func(bool, *storage.SelectHints, ...*labels.Matcher) storage.SeriesSet {
		return storage.NewSeriesSetFromChunkSeriesSet(&listSet{list: []storage.ChunkSeries{o.series}})
	}}, nil
}

func newEngine() *promql.Engine {
	return promql.NewEngine(promql.EngineOpts{
		MaxSamples: 1e7, Timeout: time.Minute, Parser: parser.NewParser(parser.Options{}),
		NoStepSubqueryIntervalFn: func(int64) int64 { return 15000 },
	})
}

// ask evaluates a query over one series and returns its values by time in ms.
func ask(tb rapid.TB, series storage.ChunkSeries, query string, from, to, step int64) map[int64]float64 {
	tb.Helper()
	q, err := newEngine().NewRangeQuery(context.Background(), one{series}, nil, query,
		time.UnixMilli(from), time.UnixMilli(to), time.Duration(step)*time.Millisecond)
	if err != nil {
		tb.Fatal(err)
	}
	defer q.Close()
	res := q.Exec(context.Background())
	matrix, err := res.Matrix()
	if err != nil {
		tb.Fatal(err)
	}
	values := map[int64]float64{}
	for _, s := range matrix {
		for _, p := range s.Floats {
			values[p.T] = p.F
		}
	}
	return values
}

// rise is how much the target's counter rose, resets made good, in (from, to].
func (g *target) rise(from, to int64) float64 {
	return g.at(g.total, to) - g.at(g.total, from)
}

// checkIncrease checks that an increase over the merged series lies between
// those of the replicas, give or take two samples' worth: one for each end of
// the range, where the emitted samples may be another replica's. Nearer to the
// truth than both is good too.
func (s *scenario) checkIncrease(tb rapid.TB, all []storage.ChunkSeries, query string, width int64, merged []point, subquery bool) error {
	from, to, step := width, s.length, s.interval*7/2
	got := ask(tb, Merge(all...), query, from, to, step)
	each := make([]map[int64]float64, len(all))
	for i, series := range all {
		each[i] = ask(tb, series, query, from, to, step)
	}
	d := s.interval
	for _, r := range s.replicas {
		d = max(d, r.interval+2*r.jitter)
	}
	sample := 1.1 * s.target.most(3*d/2) // extrapolated as the rest is
	for at := from; at <= to; at += step {
		low, high, nearest, n := math.Inf(1), math.Inf(-1), math.Inf(1), 0
		truth := s.target.rise(at-width, at)
		// What a hole that nobody fills is worth depends on which sample next to
		// it is in the range, and a subquery sees the one before a hole in it.
		worth := sample
		for i := 1; i < len(merged); i++ {
			a, b := merged[i-1].t, merged[i].t
			if b-a > 3*d/2 && (a <= at-width+d && b >= at-width-d || a <= at+d && b >= at-d || subquery && a <= at && b >= at-width) {
				worth += s.target.rise(a, b)
			}
		}
		for _, values := range each {
			if v, ok := values[at]; ok {
				low, high, n = min(low, v), max(high, v), n+1
				nearest = min(nearest, math.Abs(v-truth))
			}
		}
		v, ok := got[at]
		switch {
		case !ok && n == len(all) && at < to-width:
			return fmt.Errorf("%s at %d: no answer, though each replica has one between %g and %g", query, at, low, high)
		case !ok || n == 0:
		case v >= low-worth && v <= high+worth, math.Abs(v-truth) <= nearest+worth:
		default:
			return fmt.Errorf("%s at %d: %g, the truth is %g, replicas say %g to %g, a sample is worth %g", query, at, v, truth, low, high, worth)
		}
	}
	return nil
}

func TestPropertyIncrease(t *testing.T) {
	property(t, func(draw *rapid.T) {
		s := drawScenario(draw, scenarioOptions{replicas: 3, resets: 3, gaps: 3, skew: 20})
		draw.Log(s)
		var all []storage.ChunkSeries
		for _, points := range s.points {
			if len(points) > 0 {
				all = append(all, replica(t, points))
			}
		}
		if len(all) == 0 {
			return
		}
		width := 20 * s.interval
		got, err := readPoints(Merge(all...))
		if err != nil {
			draw.Fatal(err)
		}
		plain, sub := fmt.Sprintf("increase(x[%dms])", width), fmt.Sprintf("increase(x[%dms:%dms])", width, s.interval)
		if err := s.checkIncrease(draw, all, plain, width, got, false); err != nil {
			draw.Fatal(err)
		}
		if err := s.checkIncrease(draw, all, sub, width, got, true); err != nil {
			draw.Fatal(err)
		}
	})
}
