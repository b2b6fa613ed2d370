package receive

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/prompb"
)

// Receivers of Thanos refuse labels that are not sorted or empty, and all that
// comes with them: peers are sent what a storage makes of the labels. In which
// order they came does not matter for where the series belongs.
func TestRouteTidiesLabels(t *testing.T) {
	sent := &sentMessages{}
	addresses := []string{"a:1", "b:1", "c:1", "d:1", "e:1"}
	router := newTestRouter(t, fixed(testHashrings(t, AlgorithmKetama, 1, addresses...)), "", sent.dial, RouterOptions{})
	h := newTestHandler(t, nil, HandlerOptions{Router: router, TooFarInFuture: -1})
	for i := range 20 {
		n := fmt.Sprint(i)
		want := v1Series(named("m", "a", "1", "n", n), base, base+1)
		want.Exemplars = []prompb.Exemplar{v1Exemplar(base, "trace", "1")}
		want.Histograms = []prompb.Histogram{prompb.FromIntHistogram(base+2, rwHistogram())}
		sentAs := map[string]map[string]string{}
		for order, ls := range map[string][]string{
			"sorted":         named("m", "a", "1", "n", n),
			"unsorted":       {"n", n, "a", "1", "__name__", "m"},
			"with empty":     named("m", "a", "1", "e", "", "n", n),
			"empty, in turn": {"z", "", "n", n, "__name__", "m", "a", "1", "b", ""},
		} {
			for _, two := range []bool{false, true} {
				msg := v1(v1Series(ls, base, base+1))
				msg.Timeseries[0].Exemplars, msg.Timeseries[0].Histograms = want.Exemplars, want.Histograms
				req := rwRequest{message: msg}
				if two {
					req.message = v2Of(msg)
				}
				for range 2 {
					sent.sent = map[string][]byte{}
					wantAnswer(t, req.send(t, h), 204)
					got := map[string]string{}
					for key, message := range sent.sent {
						var msg prompb.WriteRequest
						if err := msg.Unmarshal(bytes.TrimSuffix(message, []byte(" 1 series"))); err != nil {
							t.Fatal(err)
						}
						got[key] = msg.String()
						if d := cmp.Diff(v1(want).String(), got[key]); d != "" {
							t.Errorf("%s, 2.0 %v: %s", order, two, d)
						}
					}
					sentAs[order] = got
				}
			}
		}
		if d := cmp.Diff(sentAs["sorted"], sentAs["unsorted"]); d != "" {
			t.Errorf("unsorted labels go elsewhere: %s", d)
		}
		if d := cmp.Diff(sentAs["sorted"], sentAs["empty, in turn"]); d != "" {
			t.Errorf("labels without values go elsewhere: %s", d)
		}
	}
}
