package receive

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/prometheus/prompb"
)

// What comes out of order while such samples are cut into a block is in that block
// or still in memory: the TSDB looks through its series one by one, and drops what
// is older than the newest it has found.
func TestLateSamplesWhileSuchAreCut(t *testing.T) {
	const first, last = 3000, 20_000 // series that the TSDB comes to first, and last
	dir, opts := t.TempDir(), TenantsOptions{OutOfOrderWindow: 3 * time.Hour}
	tenants := openTenants(t, dir, opts)
	h := newTestHandler(t, tenants, HandlerOptions{TooFarInFuture: -1, DefaultTenant: "a"})
	fill := func(prefix string, n int, offset int64) {
		var series []prompb.TimeSeries
		for i := range n {
			series = append(series, headSeries(fmt.Sprintf("%s%05d", prefix, i), offset))
		}
		wantAnswer(t, rwRequest{message: v1(series...)}.send(t, h), 204)
	}
	fill("z", last, 2*hour)
	fill("z", last, hour)
	fill("a", first, 2*hour)

	// More than a chunk of late samples, in each request of one series.
	late := make([]int64, 40)
	for i := range late {
		late[i] = hour + int64(i)
	}
	var stop atomic.Bool
	sent := make(chan int)
	go func() {
		n := 0
		for ; n < first && !stop.Load(); n++ {
			if rec := (rwRequest{message: v1(headSeries(fmt.Sprintf("a%05d", n), late...))}).send(t, h); rec.Code != 204 {
				t.Error(rec.Body)
			}
		}
		sent <- n
	}()
	cut := func() {
		if err := tenants.slots["a"].head.cutOutOfOrder(t.Context()); err != nil {
			t.Error(err)
		}
	}
	cut()
	stop.Store(true)
	n := <-sent
	check := func(when string) {
		missing := n * (len(late) + 1)
		for _, s := range mustReadAll(t, tenants) {
			if strings.Contains(s.labels, `i="a`) && len(s.points) > 1 {
				missing -= len(s.points)
			}
		}
		if missing != 0 {
			t.Errorf("%s: %d samples of %d series are missing", when, missing, n)
		}
	}
	check("after the cut")
	cut() // empties the log of late samples
	if err := tenants.Close(); err != nil {
		t.Fatal(err)
	}
	tenants = openTenants(t, dir, opts)
	check("after the next cut and a restart")
}
