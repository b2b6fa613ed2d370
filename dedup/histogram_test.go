package dedup

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
)

// histograms are the kinds there are; n grows with what was observed.
var histograms = map[string]func(n int64) point{
	"integer":     func(n int64) point { return point{h: tsdbutil.GenerateTestHistogram(n)} },
	"float":       func(n int64) point { return point{fh: tsdbutil.GenerateTestFloatHistogram(n)} },
	"gauge":       func(n int64) point { return point{h: tsdbutil.GenerateTestGaugeHistogram(n)} },
	"float gauge": func(n int64) point { return point{fh: tsdbutil.GenerateTestGaugeFloatHistogram(n)} },
	"custom":      func(n int64) point { return point{h: tsdbutil.GenerateTestCustomBucketsHistogram(n)} },
	"float custom": func(n int64) point {
		return point{fh: tsdbutil.GenerateTestCustomBucketsFloatHistogram(n)}
	},
}

// count returns how much was observed, and the hint.
func (p point) count() (float64, histogram.CounterResetHint) {
	if p.h != nil {
		return float64(p.h.Count), p.h.CounterResetHint
	}
	return p.fh.Count, p.fh.CounterResetHint
}

// observed makes points of histograms: one each 15 s from start, without those
// from lost to until, and with a reset before the sample numbered reset.
func observed(kind func(int64) point, start int64, n, lost, until, reset int) []point {
	var list []point
	for i := range n {
		if i >= lost && i < until {
			continue
		}
		seen := int64(i)
		if i >= reset {
			seen -= int64(reset)
		}
		p := kind(seen + 1)
		p.t = start + int64(i)*15_000
		list = append(list, p)
	}
	return list
}

func TestMergeHistograms(t *testing.T) {
	for name, kind := range histograms {
		t.Run(name, func(t *testing.T) {
			a := observed(kind, 0, 300, 50, 60, 200)
			b := observed(kind, 8_000, 300, 150, 160, 200)
			got := merged(t, a, b)
			sources := map[int64]point{}
			for _, p := range append(a, b...) {
				sources[p.t] = p
			}
			switches, falls := 0, 0
			for i, p := range got {
				source := sources[p.t]
				if !samePoint(source, p) {
					t.Fatalf("got %v, replica has %v", p, source)
				}
				if i == 0 {
					continue
				}
				if gap := p.t - got[i-1].t; gap > 22_500 {
					t.Errorf("hole of %d ms before %d", gap, p.t)
				}
				now, hint := p.count()
				before, _ := got[i-1].count()
				if now < before {
					falls++
					if hint == histogram.NotCounterReset {
						t.Errorf("the fall at %d claims to be none", p.t)
					}
				} else if hint == histogram.CounterReset {
					t.Errorf("a reset is claimed at %d", p.t)
				}
				if p.t%15_000 != got[i-1].t%15_000 {
					switches++
				}
			}
			if switches < 2 || falls != 1 {
				t.Errorf("%d switches, %d resets", switches, falls)
			}
		})
	}
}

// samePoint compares without counter reset hints and empty buckets.
func samePoint(a, b point) bool {
	switch {
	case a.h != nil && b.h != nil:
		return a.h.Copy().Compact(0).Equals(b.h.Copy().Compact(0))
	case a.fh != nil && b.fh != nil:
		return a.fh.Copy().Compact(0).Equals(b.fh.Copy().Compact(0))
	}
	return a.same(b)
}

func TestMergeHistogramThatLags(t *testing.T) {
	a := observed(histograms["integer"], 0, 60, 30, 60, 99)
	b := observed(histograms["integer"], 8_000+30_000, 60, 99, 99, 99) // its clock is 30 s ahead
	got := merged(t, a, b)
	for i := range got[1:] {
		now, _ := got[i+1].count()
		before, _ := got[i].count()
		if now < before {
			t.Errorf("count falls from %v to %v", got[i], got[i+1])
		}
	}
	if last := got[len(got)-1].t; last < b[len(b)-1].t {
		t.Errorf("ends at %d", last)
	}
}

func TestMergeStaleHistograms(t *testing.T) {
	ended := point{t: 150_000, h: &histogram.Histogram{Sum: stale}}
	a := append(observed(histograms["integer"], 0, 10, 99, 99, 99), ended)
	b := observed(histograms["integer"], 8_000, 20, 99, 99, 99)
	got := merged(t, a, b)
	for _, p := range got {
		if value.IsStaleNaN(p.h.Sum) {
			t.Errorf("stale marker at %d though a replica goes on", p.t)
		}
	}
	(&issue{t: t, report: t.Errorf}).noHoles(got, 22_500)
	alone := merged(t, a, b[:3])
	if last := alone[len(alone)-1]; !value.IsStaleNaN(last.h.Sum) {
		t.Errorf("ends with %v instead of a stale marker", last)
	}
}

// A stale marker ends a chunk of histograms. Where the followed replica goes on in
// the next is not left for another replica's, however long the interval seems that
// two samples far apart make expect.
func TestMergeGoesOnAfterAStaleHistogram(t *testing.T) {
	points := func(times ...int64) (list []point) {
		for _, at := range times {
			p := histograms["integer"](1)
			p.t = at
			list = append(list, p)
		}
		return list
	}
	first, second := append(points(5_000), staleOf("integer", 25_000)), append(points(0), staleOf("integer", 20_000))
	for at := int64(30_000); at <= 300_000; at += 5_000 {
		first = append(first, points(at)...)
	}
	for at := int64(50_000); at <= 300_000; at += 10_000 {
		second = append(second, points(at)...)
	}
	if err := samePoints(merged(t, first, second), first); err != nil {
		t.Error(err)
	}
}

func TestMergeFloatsThatBecomeHistograms(t *testing.T) {
	kind := histograms["integer"]
	mixed := func(start int64, turn, lost, until int) []point {
		list := observed(kind, start, 100, lost, until, 999)
		for i := range list {
			if n := int(list[i].t-start) / 15_000; n < turn {
				list[i].h, list[i].v = nil, float64(n)
			}
		}
		return list
	}
	a, b := mixed(0, 50, 45, 55), mixed(8_000, 50, 70, 80)
	got := merged(t, a, b)
	for i, p := range got[1:] {
		if p.t-got[i].t > 22_500 {
			t.Errorf("hole from %d to %d", got[i].t, p.t)
		}
	}
	if fmt.Sprint(got[0]) != fmt.Sprint(a[0]) || got[len(got)-1].h == nil {
		t.Errorf("got %v", got)
	}
}

// A chunk that is taken over whole although its replica was not followed before
// must not tell of its own predecessor. Its header does, and that is only right
// as long as Prometheus' iterators leave it at that.
func TestMergeForgetsHintsOfChunksAfterASwitch(t *testing.T) {
	kind := histograms["integer"]
	b := observed(kind, 8_000, 240, 999, 999, 120) // reset exactly where a chunk begins
	first := encode(t, b[:120], 120)
	full := encode(t, b, 500) // the reset cuts the chunk and marks it
	if len(full) != 2 {
		t.Fatalf("%d chunks", len(full))
	}
	if header := full[1].Chunk.(*chunkenc.HistogramChunk).GetCounterResetHeader(); header != chunkenc.CounterReset {
		t.Fatalf("the second chunk's header is %b, which tests nothing", header)
	}
	a := observed(kind, 0, 119, 999, 999, 999)
	got, err := readPoints(Merge(replica(t, a), seriesOf(testLabels, first[0], full[1])))
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range got[1:] {
		if _, hint := p.count(); p.t%15_000 != got[i].t%15_000 && hint != histogram.UnknownCounterReset {
			t.Errorf("at the switch at %d the hint is %v", p.t, hint)
		}
	}
}

// Samples that are shown without chunks tell of no predecessor they do not follow.
func TestSamplesForgetHintsAtASwitch(t *testing.T) {
	for name, kind := range histograms {
		t.Run(name, func(t *testing.T) {
			series := Merge(replica(t, observed(kind, 0, 300, 50, 60, 200)), replica(t, observed(kind, 8_000, 300, 150, 160, 200)))
			samples, err := series.(*mergedSeries).Samples(0, 1<<60)
			if err != nil {
				t.Fatal(err)
			}
			var last point
			switches, claims := 0, 0
			it := samples.Iterator(nil)
			for typ := it.Next(); typ != chunkenc.ValNone; typ = it.Next() {
				p := pointAt(it, typ)
				now, hint := p.count()
				if last.typ() != chunkenc.ValFloat {
					before, _ := last.count()
					jumped := p.t%15_000 != last.t%15_000
					if jumped {
						switches++
					}
					if (jumped || now < before) && hint == histogram.NotCounterReset {
						t.Errorf("at %d, after %d, the hint is %v", p.t, last.t, hint)
					}
					if hint == histogram.NotCounterReset {
						claims++
					}
				}
				last = p
			}
			if gauge := strings.Contains(name, "gauge"); switches < 2 || !gauge && claims < 100 {
				t.Errorf("%d switches, %d times it is known that there is no reset", switches, claims)
			}
		})
	}
}

// fine makes points of histograms with a count each, one each 15 s from start.
func fine(t *testing.T, start int64, schema int32, counts ...int64) (list []point) {
	t.Helper()
	for i, n := range counts {
		h := tsdbutil.GenerateTestHistogram(n)
		h.Schema = 5
		if err := h.ReduceResolution(schema); err != nil {
			t.Fatal(err)
		}
		list = append(list, point{t: start + int64(i)*15_000, h: h})
	}
	return list
}

// rising are n counts from first on.
func rising(first int64, n int) (list []int64) {
	for i := range n {
		list = append(list, first+int64(i))
	}
	return list
}

// What is as coarse as the replica before remains so for the next one.
func TestMergeHistogramsOfThreeResolutions(t *testing.T) {
	got := merged(t, fine(t, 0, 1, rising(100, 50)...), fine(t, 14_000, 4, rising(100, 100)...), fine(t, 5_000, 3, rising(100, 200)...))
	for i, p := range got[1:] {
		if p.resets(got[i]) {
			t.Errorf("%v after %v is a reset", p, got[i])
		}
	}
	if last := got[len(got)-1].t; last != 5_000+199*15_000 {
		t.Errorf("the last is at %d", last)
	}
}

// A counter that climbs beyond where it was within a scrape shows its reset by
// nothing but a finer resolution.
func TestMergeHistogramResetThatOnlyRefines(t *testing.T) {
	b := append(fine(t, 8_000, 3, rising(100, 80)...), fine(t, 8_000+80*15_000, 4, rising(10_000, 40)...)...)
	got := merged(t, fine(t, 0, 1, rising(100, 50)...), b)
	var resets []int64
	for i, p := range got[1:] {
		if p.resets(got[i]) {
			resets = append(resets, p.t)
		}
	}
	if len(resets) != 1 || resets[0] != b[80].t {
		t.Errorf("resets at %v, want one at %d", resets, b[80].t)
	}
}

// Replicas whose histograms are of different resolution see the same counter: what
// follows a switch to the finer one is no reset, however it is read. A reset that
// there really is makes buckets finer again.
func TestMergeHistogramsOfDifferentResolution(t *testing.T) {
	const reset = 250
	see := func(start int64, schema int32, lost, until int) (list []point) {
		for i := range 400 {
			if i >= lost && i < until {
				continue
			}
			seen := int64(1000 + i)
			if i >= reset {
				seen = int64(i - reset)
			}
			h := tsdbutil.GenerateTestHistogram(seen)
			h.Schema = 5
			if err := h.ReduceResolution(schema); err != nil {
				t.Fatal(err)
			}
			list = append(list, point{t: start + int64(i)*15_000, h: h})
		}
		return list
	}
	for name, schemas := range map[string][2]int32{"coarser first": {1, 4}, "finer first": {4, 1}, "the same": {2, 2}} {
		for _, kind := range []string{"integer", "float"} {
			t.Run(name+", "+kind, func(t *testing.T) {
				a, b := see(0, schemas[0], 100, 110), see(8_000, schemas[1], 999, 999)
				if kind == "float" {
					for _, list := range [][]point{a, b} {
						for i := range list {
							list[i].fh, list[i].h = list[i].h.ToFloat(nil), nil
						}
					}
				}
				got := merged(t, a, b)
				var resets []int
				for i, p := range got[1:] {
					if p.resets(got[i]) {
						resets = append(resets, int(p.t/15_000))
					}
				}
				if len(resets) != 1 || resets[0] != reset {
					t.Errorf("resets at samples %v, want one at %d", resets, reset)
				}
				if last := got[len(got)-1].float(); last.Schema != schemas[0] {
					t.Errorf("after the reset the schema is %d, the followed replica's is %d", last.Schema, schemas[0])
				}
				series := Merge(replica(t, a), replica(t, b))
				for at, v := range ask(t, series, "resets(x[1h])", 3_600_000, 3_700_000, 15_000) {
					if v != 0 {
						t.Errorf("resets() at %d is %g", at, v)
					}
				}
			})
		}
	}
}
