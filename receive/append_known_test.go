package receive

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/prompb"
)

// knownHead is a head that knows the series AA, over a handler.
func knownHead(t *testing.T, opts TenantsOptions) (*Tenants, func(want int, series ...prompb.TimeSeries) string) {
	tenants := openTenants(t, t.TempDir(), opts)
	h := newTestHandler(t, tenants, HandlerOptions{TooFarInFuture: -1})
	send := func(want int, series ...prompb.TimeSeries) string {
		t.Helper()
		rec := rwRequest{message: v1(series...)}.send(t, h)
		if rec.Code != want {
			t.Errorf("status %d, want %d: %s", rec.Code, want, rec.Body)
		}
		return rec.Body.String()
	}
	for scrape := range int64(2) {
		send(204, headSeries("first", 1000*scrape), headSeries("AA", 1000*scrape))
	}
	return tenants, send
}

// refusedFirst puts a sample that is refused, and told in the answer, before
// those of a series.
func refusedFirst(s prompb.TimeSeries) prompb.TimeSeries {
	s.Samples = append([]prompb.Sample{{Timestamp: math.MinInt64 + 5}}, s.Samples...)
	return s
}

// A refusal that is described makes the labels of a known series; what is left
// for later is still that series' when others have been decoded since.
func TestDescribedSeriesKeepsItsSamples(t *testing.T) {
	tenants, send := knownHead(t, TenantsOptions{OutOfOrderWindow: time.Hour})
	send(400, headSeries("first", 10_000), headSeries("AA", 10_000), refusedFirst(headSeries("AA", 5000)),
		headSeries("CC", 10_000), headSeries("DD", 10_000))
	if got := countSamples(t, tenants, "AA"); got != 4 {
		t.Errorf("AA has %d samples, want 4", got)
	}
	if got := countSamples(t, tenants, "DD"); got != 1 {
		t.Errorf("DD has %d samples, want 1", got)
	}
}

// A sample of a known series that is refused is looked up under its own labels.
func TestDescribedSeriesIsLookedUp(t *testing.T) {
	_, send := knownHead(t, TenantsOptions{})
	send(204, headSeries("first", 5000), headSeries("DD", 5000))
	send(204, headSeries("first", 10_000), headSeries("AA", 10_000))
	// AA has nothing at 5000, and DD has the same value there.
	text := send(400, headSeries("first", 11_000), refusedFirst(headSeries("AA", 5000)), headSeries("DD", 12_000))
	if !strings.Contains(text, "out_of_order: 1") {
		t.Errorf("AA was found under the labels of DD: %s", text)
	}
}
