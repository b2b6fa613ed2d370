package dedup

import (
	"math"
	"testing"

	"github.com/prometheus/prometheus/model/value"
)

// Each test here is named after an issue of thanos-io/thanos, whose data it has
// where the issue gives any.

// between asks for a query over the merged replicas at a time in seconds and
// checks that the answer lies between those of the replicas.
func (c *issue) between(query string, at float64, tolerance float64, replicas ...[]point) {
	t := c.t
	t.Helper()
	ms := int64(math.Round(at * 1000))
	low, high := math.Inf(1), math.Inf(-1)
	for _, points := range replicas {
		if v, ok := ask(t, replica(t, points), query, ms, ms, 1000)[ms]; ok {
			low, high = min(low, v), max(high, v)
		}
	}
	got, ok := ask(t, replica(t, c.merge(replicas...)), query, ms, ms, 1000)[ms]
	switch {
	case math.IsInf(low, 0) && !ok:
	case !ok:
		c.errorf("%s at %g: no answer, replicas say %g to %g", query, at, low, high)
	case got < low*(1-tolerance) || got > high*(1+tolerance):
		c.errorf("%s at %g: %g, replicas say %g to %g", query, at, got, low, high)
	}
}

// orders calls f with the replicas in every order of two or three.
func orders(replicas [][]point, f func(replicas ...[]point)) {
	if len(replicas) == 2 {
		f(replicas[0], replicas[1])
		f(replicas[1], replicas[0])
		return
	}
	for i := range 3 {
		f(replicas[i], replicas[(i+1)%3], replicas[(i+2)%3])
		f(replicas[i], replicas[(i+2)%3], replicas[(i+1)%3])
	}
}

// The first samples of three replicas lie within a second, the latest of them
// lower than another. rate() was 790 instead of 0.31.
func TestThanosIssue7623(t *testing.T) { testIssue(t, thanosIssue7623, everySample) }

func thanosIssue7623(c *issue) {
	base := 1719976000.0
	replicas := [][]point{
		seconds(base+786.6, 78988, base+806.6, 78995, base+826.6, 79001, base+846.6, 79007, base+866.6, 79013, base+886.6, 79019),
		seconds(base+787.488, 78988, base+807.488, 78995, base+827.488, 79001, base+847.488, 79007, base+867.488, 79013, base+887.488, 79019),
		seconds(base+787.413, 78989, base+807.413, 78995, base+827.413, 79001, base+847.413, 79007, base+867.413, 79013, base+887.413, 79019),
	}
	orders(replicas, func(r ...[]point) {
		for at := base + 820.0; at < base+900; at += 5 {
			c.between("rate(x[2m])", at, 0.02, r...)
			c.between("resets(x[2m])", at, 0, r...)
		}
	})
}

// One replica's scrapes time out now and then, which leaves stale markers and
// gaps. The other has none, and still the first was shown.
func TestThanosIssue7364(t *testing.T) { testIssue(t, thanosIssue7364, onlyFirst, everySample) }

func thanosIssue7364(c *issue) {
	var gappy, whole []point
	for i := range 200 {
		at := float64(i) * 30
		switch {
		case i%20 == 7:
			gappy = append(gappy, seconds(at, stale)...)
		case i%20 > 7 && i%20 < 13:
		default:
			gappy = append(gappy, seconds(at, float64(i))...)
		}
		whole = append(whole, seconds(at+11, float64(i))...)
	}
	orders([][]point{gappy, whole}, func(r ...[]point) {
		c.noHoles(c.merge(r...), 45_000)
	})
}

// Both replicas have gaps, never at the same time.
func TestThanosIssue7656(t *testing.T) { testIssue(t, thanosIssue7656, onlyFirst) }

func thanosIssue7656(c *issue) {
	var a, b []point
	for i := range 600 {
		at := float64(i) * 15
		if i%50 < 40 {
			a = append(a, seconds(at, math.Sin(at))...)
		}
		if i%50 < 15 || i%50 > 25 {
			b = append(b, seconds(at+4, math.Sin(at))...)
		}
	}
	orders([][]point{a, b}, func(r ...[]point) {
		c.noHoles(c.merge(r...), 22_500)
	})
}

func (c *issue) noHoles(got []point, longest int64) {
	c.t.Helper()
	for i, p := range got {
		if value.IsStaleNaN(p.v) {
			c.errorf("stale marker at %d though a replica goes on", p.t)
		}
		if i > 0 && p.t-got[i-1].t > longest {
			c.errorf("hole from %d to %d", got[i-1].t, p.t)
		}
	}
}

// Two replicas scrape 54 ms apart and see a counter in the other order.
func TestThanosIssue8061(t *testing.T) { testIssue(t, thanosIssue8061, everySample, penalties) }

func thanosIssue8061(c *issue) {
	var a, b []point
	for i := range 240 {
		at, v := 1733968809.833+float64(i)*15, 3829920.063+float64(i)*0.5
		if i < 50 || i > 70 { // the first goes away and comes back
			a = append(a, seconds(at, v)...)
		}
		if i < 100 || i > 120 {
			b = append(b, seconds(at+0.054, v-0.021)...)
		}
	}
	orders([][]point{a, b}, func(r ...[]point) {
		got := c.merge(r...)
		for i := range got[1:] {
			if got[i+1].v < got[i].v {
				c.errorf("the counter falls from %v to %v", got[i], got[i+1])
			}
		}
		c.noHoles(got, 22_500)
	})
}

// rate and irate at the most recent edge, where one replica already has its
// next sample and the other not yet.
func TestThanosIssue2890(t *testing.T) { testIssue(t, thanosIssue2890, everySample) }

func thanosIssue2890(c *issue) {
	var a, b []point
	for i := range 40 {
		at := float64(i) * 60
		a = append(a, seconds(at, at*10)...)
		// The second replica's clock is 4 s ahead: its values are older.
		b = append(b, seconds(at+23, (at+19)*10)...)
	}
	upTo := func(points []point, t int64) []point {
		n := 0
		for n < len(points) && points[n].t <= t {
			n++
		}
		return points[:n]
	}
	for now := 1800.0; now < 2100; now += 7 {
		ms := int64(now * 1000)
		orders([][]point{upTo(a, ms), upTo(b, ms)}, func(r ...[]point) {
			for _, query := range []string{"irate(x[5m])", "rate(x[5m])", "resets(x[10m])"} {
				c.between(query, now, 0.001, r...)
			}
		})
	}
}

// A restart that one replica sees before the other.
func TestThanosIssue1326(t *testing.T) { testIssue(t, thanosIssue1326, everySample) }

func thanosIssue1326(c *issue) {
	var a, b []point
	for i := range 60 {
		at := float64(i) * 28
		va, vb := 46906+float64(i)*40, 47000+float64(i)*40
		if i >= 30 {
			va, vb = 42+float64(i-30)*40, 66+float64(i-30)*40
		}
		if i == 30 {
			vb = 47000 + 30*40 // not seen yet
		}
		if i < 29 || i > 40 || i == 30 {
			a = append(a, seconds(at, va)...)
		}
		b = append(b, seconds(at+13, vb)...)
	}
	orders([][]point{a, b}, func(r ...[]point) {
		got := c.merge(r...)
		falls := 0
		for i := range got[1:] {
			if got[i+1].v < got[i].v {
				falls++
			}
		}
		if falls != 1 {
			c.errorf("%d resets instead of 1 in %v", falls, got)
		}
		c.noHoles(got, 28_000*(patience+1))
		for at := 700.0; at < 1600; at += 50 {
			c.between("increase(x[10m])", at, 0.2, r...)
		}
	})
}

// A target restarts while one replica is away.
func TestThanosIssue1788(t *testing.T) { testIssue(t, thanosIssue1788, penalties) }

func thanosIssue1788(c *issue) {
	see := func(at float64) float64 {
		if at < 305 {
			return 668153 + math.Floor(at)
		}
		return math.Floor(at - 305)
	}
	for shift := 1.0; shift < 15; shift += 3 {
		var a, b []point
		for i := range 60 {
			at := float64(i) * 15
			if i < 19 || i > 25 {
				a = append(a, seconds(at, see(at))...)
			}
			b = append(b, seconds(at+shift, see(at+shift))...)
		}
		orders([][]point{a, b}, func(r ...[]point) {
			for at := 150.0; at < 890; at += 10 {
				c.between("rate(x[2m])", at, 0.15, r...)
			}
		})
	}
}
