package receive

import (
	"context"
	"fmt"
	"math"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"pgregory.net/rapid"
)

// headTB is a *testing.T or a *rapid.T.
type headTB interface {
	Helper()
	Fatal(...any)
	Context() context.Context
}

// headSamples returns what a tenant has stored, one text a sample.
func headSamples(t headTB, tenants *Tenants, tenant string) (out []string) {
	t.Helper()
	q, err := tenants.StoredQuerier(t.Context(), tenant, math.MinInt64, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	set := storage.NewSeriesSetFromChunkSeriesSet(q.Select(t.Context(), true, nil, equal("__name__", "m")))
	for set.Next() {
		it := set.At().Iterator(nil)
		for typ := it.Next(); typ != chunkenc.ValNone; typ = it.Next() {
			out = append(out, set.At().Labels().Get("i")+" "+headSample(it, typ))
		}
		if it.Err() != nil {
			t.Fatal(it.Err())
		}
	}
	if set.Err() != nil {
		t.Fatal(set.Err())
	}
	return out
}

func headSample(it chunkenc.Iterator, typ chunkenc.ValueType) string {
	switch typ {
	case chunkenc.ValHistogram:
		at, h := it.AtHistogram(nil)
		if (sampleValue{h: h}).stale() {
			return fmt.Sprintf("%d stale", at-base)
		}
		return fmt.Sprintf("%d h%d", at-base, h.Count)
	case chunkenc.ValFloatHistogram:
		at, fh := it.AtFloatHistogram(nil)
		return fmt.Sprintf("%d fh%v", at-base, fh.Count)
	}
	at, v := it.At()
	if (sampleValue{v: v}).stale() {
		return fmt.Sprintf("%d stale", at-base)
	}
	return fmt.Sprintf("%d %v", at-base, v)
}

func headSeries(i string, offsets ...int64) prompb.TimeSeries {
	s := v1Series(named("m", "i", i))
	for _, o := range offsets {
		s.Samples = append(s.Samples, prompb.Sample{Timestamp: base + o, Value: float64(o)})
	}
	return s
}

// Sending any request again succeeds, changes nothing, and says the same about
// what is stored, whether or not samples may come out of order.
func TestRepeatingARequestSucceeds(t *testing.T) {
	leakCheck(t)
	hist := headSeries("hist", 1)
	hist.Samples[0].Value = 7
	for o := range int64(3) {
		hist.Histograms = append(hist.Histograms, prompb.FromIntHistogram(base+10+o, rwHistogram()))
	}
	hist.Samples = append(hist.Samples, prompb.Sample{Timestamp: base + 20, Value: staleNaN})
	wide := rwHistogram() // makes the chunk add buckets to those before it
	wide.PositiveSpans[1].Length, wide.PositiveBuckets, wide.Count = 3, append(wide.PositiveBuckets, 4), wide.Count+5
	grows := headSeries("grows")
	grows.Histograms = []prompb.Histogram{prompb.FromIntHistogram(base+1, rwHistogram()), prompb.FromIntHistogram(base+2, wide)}
	floats := headSeries("fh")
	for o := range int64(3) {
		floats.Histograms = append(floats.Histograms, prompb.FromFloatHistogram(base+o, rwFloatHistogram()))
	}
	exemplars := headSeries("ex", 1, 2)
	exemplars.Exemplars = []prompb.Exemplar{v1Exemplar(base, "a", "1"), v1Exemplar(base+1, "a", "2")}
	for name, msg := range map[string]*prompb.WriteRequest{
		"one sample a series":    v1(headSeries("1", 1), headSeries("2", 1)),
		"several samples":        v1(headSeries("1", 1, 2, 3, 4)),
		"unsorted, series twice": v1(headSeries("1", 9, 2), headSeries("2", 5), headSeries("1", 12, 10)),
		"hours apart":            v1(headSeries("1", 0, 3_600_000, 3*3_600_000, 9*3_600_000)),
		"stale markers":          v1(headSeries("1", 1), prompb.TimeSeries{Labels: headSeries("1").Labels, Samples: []prompb.Sample{{Timestamp: base + 5, Value: staleNaN}}}),
		"histograms and stale":   v1(hist),
		"histograms that grow":   v1(grows),
		"float histograms":       v1(floats),
		"exemplars":              v1(exemplars),
	} {
		t.Run(name, func(t *testing.T) {
			for _, opts := range []TenantsOptions{{}, {OutOfOrderWindow: 24 * 3600e9}} {
				bothVersions(t, msg, func(t *testing.T, req rwRequest) {
					tenants := openTenants(t, t.TempDir(), opts)
					h := newTestHandler(t, tenants, HandlerOptions{})
					first := req.send(t, h)
					wantAnswer(t, first, 204)
					before := headSamples(t, tenants, DefaultTenant)
					if len(before) == 0 {
						t.Fatal("nothing is stored")
					}
					for range 2 {
						again := req.send(t, h)
						wantAnswer(t, again, 204)
						if diff := cmp.Diff(first.Header()[headerSamplesWritten], again.Header()[headerSamplesWritten]); diff != "" {
							t.Errorf("Written header (-first +again):\n%s", diff)
						}
						if diff := cmp.Diff(before, headSamples(t, tenants, DefaultTenant)); diff != "" {
							t.Errorf("stored (-before +after):\n%s", diff)
						}
					}
				})
			}
		})
	}
}

// Without the power to read back, samples before the newest are refused.
func TestRepeatingNeedsReadingBack(t *testing.T) {
	tenants := openTenants(t, t.TempDir(), TenantsOptions{})
	h := newTestHandler(t, onlyAppends{tenants}, HandlerOptions{})
	req := rwRequest{message: v1(headSeries("1", 1, 2))}
	wantAnswer(t, req.send(t, h), 204)
	wantAnswer(t, req.send(t, h), 400, "out_of_order: 1", "1 of 2 samples")
}

// countingSelects counts the searches that a storage is asked for.
type countingSelects struct {
	*Tenants
	selects int
}

func (c *countingSelects) StoredQuerier(ctx context.Context, tenant string, mint, maxt int64) (storage.ChunkQuerier, error) {
	q, err := c.Tenants.StoredQuerier(ctx, tenant, mint, maxt)
	return countingQuerier{q, &c.selects}, err
}

type countingQuerier struct {
	storage.ChunkQuerier
	n *int
}

func (q countingQuerier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, ms ...*labels.Matcher) storage.ChunkSeriesSet {
	*q.n++
	return q.ChunkQuerier.Select(ctx, sorted, hints, ms...)
}

// A large request is recognised in whole when it is repeated, but one that is
// out of order is given up on soon.
func TestLookingUpIsBounded(t *testing.T) {
	const series = 500
	to := &countingSelects{Tenants: openTenants(t, t.TempDir(), TenantsOptions{})}
	h := newTestHandler(t, to, HandlerOptions{})
	twice, older := v1(), v1()
	for i := range series {
		twice.Timeseries = append(twice.Timeseries, headSeries(strconv.Itoa(i), 10, 20))
		older.Timeseries = append(older.Timeseries, headSeries(strconv.Itoa(i), 15))
	}
	wantAnswer(t, rwRequest{message: twice}.send(t, h), 204)
	wantAnswer(t, rwRequest{message: twice}.send(t, h), 204)
	if to.selects != series {
		t.Errorf("%d searches for a repeated request of %d series", to.selects, series)
	}
	to.selects = 0
	wantAnswer(t, rwRequest{message: older}.send(t, h), 400, "out_of_order: 500")
	if to.selects > maxMisses {
		t.Errorf("%d searches for a request that is out of order, want at most %d", to.selects, maxMisses)
	}
}

func TestHeadRefusals(t *testing.T) {
	leakCheck(t)
	for _, tc := range []struct {
		name    string
		opts    TenantsOptions
		msg     *prompb.WriteRequest
		refused string
		written int
	}{
		{"out of order", TenantsOptions{}, v1(headSeries("1", -5), headSeries("2", 10)), "out_of_order: 1", 1},
		{"out of order, in a longer one", TenantsOptions{}, v1(headSeries("1", -5, -4, 1, 2)), "out_of_order: 2", 2},
		{"other value", TenantsOptions{}, v1(prompb.TimeSeries{Labels: headSeries("1").Labels, Samples: []prompb.Sample{{Timestamp: base, Value: 77}}}), "conflicting_value: 1", 0},
		{"histogram for a float", TenantsOptions{}, v1(prompb.TimeSeries{Labels: headSeries("1").Labels, Histograms: []prompb.Histogram{prompb.FromIntHistogram(base, rwHistogram())}}), "conflicting_value: 1", 0},
		{"before the head", TenantsOptions{}, v1(headSeries("2", -10*3_600_000), headSeries("3", 1)), "out_of_bounds: 1", 1},
		{"before the window", TenantsOptions{OutOfOrderWindow: 3600e9}, v1(headSeries("2", -10*3_600_000), headSeries("1", -1)), "too_old: 1", 1},
		{"end of time", TenantsOptions{}, v1(headSeries("2", math.MaxInt64-base), headSeries("1", 1)), "timestamp_out_of_range: 1", 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bothVersions(t, tc.msg, func(t *testing.T, req rwRequest) {
				tenants := openTenants(t, t.TempDir(), tc.opts)
				h := newTestHandler(t, tenants, HandlerOptions{})
				wantAnswer(t, rwRequest{message: v1(headSeries("1", 0))}.send(t, h), 204)
				for range 2 {
					rec := req.send(t, h)
					wantAnswer(t, rec, 400, tc.refused, fmt.Sprintf("%d of ", tc.written))
					if rec.Header().Get(headerSamplesWritten) != "" {
						wantWritten(t, rec, tc.written, 0, 0)
					}
				}
				if n := len(headSamples(t, tenants, DefaultTenant)); n != 1+tc.written {
					t.Errorf("%d samples stored, want %d", n, 1+tc.written)
				}
			})
		})
	}
}

// The first sample of a tenant sets the bounds of its head. One from the ends
// of time must not spoil it.
func TestFirstSampleFromTheEndsOfTime(t *testing.T) {
	for _, at := range []int64{math.MinInt64, math.MinInt64 + 1, math.MaxInt64, minTimestamp, maxTimestamp} {
		t.Run(strconv.FormatInt(at, 10), func(t *testing.T) {
			tenants := openTenants(t, t.TempDir(), TenantsOptions{})
			h := newTestHandler(t, tenants, HandlerOptions{TooFarInFuture: -1})
			rec := rwRequest{message: v1(headSeries("1", at-base))}.send(t, h)
			if rec.Code != 204 && rec.Code != 400 {
				t.Fatalf("status %d: %s", rec.Code, rec.Body)
			}
			if rec.Code == 204 && at > 0 {
				return // The host has asked for no bound.
			}
			wantAnswer(t, rwRequest{message: v1(headSeries("1", 1), headSeries("2", 2))}.send(t, h), 204)
		})
	}
}

func TestHeadKeepsWhatTravelsAlong(t *testing.T) {
	tenants := openTenants(t, t.TempDir(), TenantsOptions{})
	h := newTestHandler(t, tenants, HandlerOptions{})
	req := &writev2.Request{Symbols: []string{"", "__name__", "m", "Help!", "seconds", "trace_id", "abc"}}
	req.Timeseries = []writev2.TimeSeries{{
		LabelsRefs: []uint32{1, 2}, Samples: []writev2.Sample{{Timestamp: base, Value: 1}},
		Exemplars: []writev2.Exemplar{{LabelsRefs: []uint32{5, 6}, Value: 9, Timestamp: base}},
		Metadata:  writev2.Metadata{Type: writev2.Metadata_METRIC_TYPE_GAUGE, HelpRef: 3, UnitRef: 4},
	}}
	rec := rwRequest{message: req}.send(t, h)
	wantAnswer(t, rec, 204)
	wantWritten(t, rec, 1, 0, 1)
	v1Metadata := &prompb.WriteRequest{Metadata: []prompb.MetricMetadata{{Type: prompb.MetricMetadata_COUNTER, MetricFamilyName: "other", Help: "of 1.0"}}}
	wantAnswer(t, rwRequest{message: v1Metadata}.send(t, h), 204)

	families, err := tenants.MetricMetadata(t.Context(), "", 10)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(families); got != "map[m:[{gauge seconds Help!}] other:[{counter  of 1.0}]]" {
		t.Errorf("metadata %s", got)
	}
	q, err := tenants.ExemplarQuerier(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	found, err := q.Select(base-1, base+1, []*labels.Matcher{equal("__name__", "m")})
	if err != nil || len(found) != 1 || len(found[0].Exemplars) != 1 || found[0].Exemplars[0].Labels.Get("trace_id") != "abc" {
		t.Errorf("exemplars %v, %v", found, err)
	}
}

// Whatever is sent, the Written headers say how many of the samples sent are in
// the storage afterwards, the status is 204 if it is all of them and 400 if
// not, and sending it again gives the same answer.
func TestWrittenIsWhatIsStored(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		tenants, err := OpenTenants(t.TempDir(), TenantsOptions{})
		if err != nil {
			rt.Fatal(err)
		}
		defer tenants.Close()
		h, err := NewHandler(tenants, HandlerOptions{})
		if err != nil {
			rt.Fatal(err)
		}
		for range rapid.IntRange(1, 4).Draw(rt, "requests") {
			msg := drawRequest(rt)
			first := sendV2(rt, h, msg)
			checkWritten(rt, tenants, msg, first)
			again := sendV2(rt, h, msg)
			checkWritten(rt, tenants, msg, again)
			if first.Code != again.Code {
				rt.Fatalf("status %d, and %d the second time", first.Code, again.Code)
			}
		}
	})
}

func drawRequest(t *rapid.T) *prompb.WriteRequest {
	msg := v1()
	offset := rapid.Int64Range(0, 12)
	for range rapid.IntRange(1, 4).Draw(t, "series") {
		s := headSeries(rapid.SampledFrom([]string{"1", "2", "3"}).Draw(t, "i"))
		for range rapid.IntRange(0, 4).Draw(t, "floats") {
			s.Samples = append(s.Samples, prompb.Sample{Timestamp: base + offset.Draw(t, "t"), Value: float64(rapid.IntRange(1, 2).Draw(t, "v"))})
		}
		for range rapid.IntRange(0, 2).Draw(t, "histograms") {
			hist := &histogram.Histogram{Schema: 1, Count: uint64(rapid.IntRange(1, 2).Draw(t, "count"))}
			hist.ZeroCount = hist.Count
			s.Histograms = append(s.Histograms, prompb.FromIntHistogram(base+offset.Draw(t, "t"), hist))
		}
		if len(s.Samples)+len(s.Histograms) > 0 {
			msg.Timeseries = append(msg.Timeseries, s)
		}
	}
	return msg
}

func sendV2(t *rapid.T, h *Handler, msg *prompb.WriteRequest) *httptest.ResponseRecorder {
	body, err := v2Of(msg).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	req := rwRequest{typ: typeV2, body: body}
	return req.deliver(h)
}

// countStored returns how many samples of a request are stored, and how many there
// are in it.
func countStored(t headTB, tenants *Tenants, msg *prompb.WriteRequest) (floats, histograms, all int) {
	t.Helper()
	stored := map[string]bool{}
	if len(msg.Timeseries) > 0 {
		for _, s := range headSamples(t, tenants, DefaultTenant) {
			stored[s] = true
		}
	}
	for _, ts := range msg.Timeseries {
		i := ts.Labels[1].Value
		all += len(ts.Samples) + len(ts.Histograms)
		for _, s := range ts.Samples {
			if stored[fmt.Sprintf("%s %d %v", i, s.Timestamp-base, s.Value)] {
				floats++
			}
		}
		for _, s := range ts.Histograms {
			if stored[fmt.Sprintf("%s %d h%d", i, s.Timestamp-base, s.GetCountInt())] {
				histograms++
			}
		}
	}
	return floats, histograms, all
}

func checkWritten(t *rapid.T, tenants *Tenants, msg *prompb.WriteRequest, rec *httptest.ResponseRecorder) {
	floats, histograms, all := countStored(t, tenants, msg)
	got := rec.Header().Get(headerSamplesWritten) + " " + rec.Header().Get(headerHistogramsWritten)
	if want := fmt.Sprint(floats, histograms); got != want {
		t.Fatalf("Written headers %s, but %s are stored: %s", got, want, rec.Body)
	}
	if want := map[bool]int{true: 204, false: 400}[floats+histograms == all]; rec.Code != want {
		t.Fatalf("status %d with %d of %d stored: %s", rec.Code, floats+histograms, all, rec.Body)
	}
	if rec.Code == 400 && !strings.Contains(rec.Body.String(), fmt.Sprintf("%d of %d samples", floats+histograms, all)) {
		t.Fatalf("the answer counts otherwise than %d of %d: %s", floats+histograms, all, rec.Body)
	}
}

// One sample from the near future must not lock out the others of a tenant
// whose blocks, and so its room for late samples, are short.
func TestShortBlocksBoundTheFuture(t *testing.T) {
	tenants, err := OpenTenants(t.TempDir(), TenantsOptions{BlockDuration: 10 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer tenants.Close()
	h := newTestHandler(t, tenants, HandlerOptions{})
	now := nowMs()
	rec := rwRequest{message: v1(v1Series(named("ahead"), now+9*60_000))}.send(t, h)
	wantAnswer(t, rec, 400, "too_far_in_future: 1")
	wantAnswer(t, rwRequest{message: v1(v1Series(named("other"), now))}.send(t, h), 204)
}
