package receive

import (
	"net/http"
	"strconv"
	"testing"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"
)

// FuzzHandler sends any body as any version: no panic, only statuses of the
// table, no transaction left open, and Written headers that are true.
func FuzzHandler(f *testing.F) {
	msg := v1(v1Series(named("m", "b", "2", "a", "1"), 3, 1, 2), v1Series(named("m", "a", "1", "b", "2"), 2), v1Series([]string{"x", "y"}, 9))
	msg.Timeseries[0].Exemplars = []prompb.Exemplar{v1Exemplar(1, "a", "1")}
	msg.Timeseries[1].Histograms = []prompb.Histogram{prompb.FromIntHistogram(5, rwHistogram()), prompb.FromFloatHistogram(6, rwFloatHistogram()), prompb.FromIntHistogram(7, rwCustomHistogram())}
	msg.Metadata = []prompb.MetricMetadata{{MetricFamilyName: "m", Help: "?"}}
	one, _ := msg.Marshal()
	two, _ := v2Of(msg).Marshal()
	f.Add(one, false, false)
	f.Add(two, true, false)
	f.Add(snappy.Encode(nil, one), false, true)
	f.Add(snappy.Encode(nil, two), true, true)
	f.Fuzz(func(t *testing.T, body []byte, v2, raw bool) {
		to := newFakeStorage()
		req := rwRequest{body: body}
		if v2 {
			req.typ = typeV2
		}
		if raw {
			req.raw, req.body = body, nil
		}
		rec := req.deliver(newTestHandler(t, to, HandlerOptions{}))
		switch rec.Code {
		case http.StatusNoContent, http.StatusBadRequest, http.StatusRequestEntityTooLarge:
		default:
			t.Fatalf("status %d: %s", rec.Code, rec.Body)
		}
		if to.open != 0 {
			t.Fatal("a transaction is left open")
		}
		if rec.Code == http.StatusBadRequest && (rec.Body.Len() == 0 || rec.Body.Len() > 1500) {
			t.Fatalf("an answer of %d bytes: %s", rec.Body.Len(), rec.Body)
		}
		if !v2 {
			return
		}
		var written int
		for _, name := range []string{headerSamplesWritten, headerHistogramsWritten} {
			n, err := strconv.Atoi(rec.Header().Get(name))
			if err != nil {
				t.Fatal(err)
			}
			written += n
		}
		if written < len(to.stored) || written > 0 && len(to.stored) == 0 {
			t.Fatalf("%d written, %d stored", written, len(to.stored))
		}
	})
}
