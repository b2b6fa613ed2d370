package receive

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/golang/snappy"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/relabel"
	"github.com/prometheus/prometheus/prompb"
)

func limitsOf(l Limits) func() *LimitSet {
	return func() *LimitSet { return &LimitSet{Default: l} }
}

// Each limit of a request refuses the whole of it with the status of its reason
// and nothing stored, and what is just within it passes.
func TestRequestLimits(t *testing.T) {
	histogram := prompb.TimeSeries{Labels: []prompb.Label{{Name: "__name__", Value: "h"}}}
	for i := range 3 {
		h := prompb.FromIntHistogram(nowMs()+int64(i), rwHistogram())
		histogram.Histograms = append(histogram.Histograms, h)
	}
	message := v1(v1Series(named("a"), nowMs()), v1Series(named("b"), nowMs(), nowMs()+1), histogram)
	for _, version := range []string{"1.0", "2.0"} {
		req := rwRequest{message: message}
		if version == "2.0" {
			req.message, req.typ = v2Of(message), typeV2
		}
		req.body, _ = req.message.Marshal()
		sent := int64(len(snappy.Encode(nil, req.body)))
		for _, tc := range []struct {
			reason       Reason
			within, over Limits
		}{
			{ReasonRequestBytes, Limits{RequestBytes: sent}, Limits{RequestBytes: sent - 1}},
			{ReasonDecodedBytes, Limits{DecodedBytes: int64(len(req.body))}, Limits{DecodedBytes: int64(len(req.body)) - 1}},
			{ReasonRequestSeries, Limits{RequestSeries: 3}, Limits{RequestSeries: 2}},
			{ReasonRequestSamples, Limits{RequestSamples: 6}, Limits{RequestSamples: 5}},
		} {
			reg := prometheus.NewRegistry()
			to := newFakeStorage()
			rec := req.deliver(newTestHandler(t, to, HandlerOptions{Limits: limitsOf(tc.over), Registerer: reg}))
			wantAnswer(t, rec, http.StatusRequestEntityTooLarge, tc.reason.String()+": ")
			if len(to.stored) != 0 || rec.Header().Get("Retry-After") != "" {
				t.Errorf("%s: %d samples are stored, Retry-After %q", tc.reason, len(to.stored), rec.Header().Get("Retry-After"))
			}
			if version == "2.0" {
				wantWritten(t, rec, 0, 0, 0)
			}
			want := fmt.Sprintf(`
				# HELP varve_receive_limit_refused_requests_total Requests refused as a whole by a limit, by tenant (empty before it has samples) and limit.
				# TYPE varve_receive_limit_refused_requests_total counter
				varve_receive_limit_refused_requests_total{reason=%q,tenant="default-tenant"} 1
			`, tc.reason)
			if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "varve_receive_limit_refused_requests_total"); err != nil {
				t.Error(err)
			}
			wantAnswer(t, req.deliver(newTestHandler(t, to, HandlerOptions{Limits: limitsOf(tc.within)})), http.StatusNoContent)
			if len(to.stored) != 6 {
				t.Errorf("%s: %d samples are stored within the limit, want 6", tc.reason, len(to.stored))
			}
		}
	}
}

// The samples of a request that is refused for its number are counted.
func TestRefusedSamplesAreCounted(t *testing.T) {
	reg := prometheus.NewRegistry()
	h := newTestHandler(t, newFakeStorage(), HandlerOptions{Limits: limitsOf(Limits{RequestSamples: 1}), Registerer: reg})
	wantAnswer(t, rwRequest{message: v1(v1Series(named("a"), 1, 2, 3))}.send(t, h), http.StatusRequestEntityTooLarge)
	want := `
		# HELP varve_receive_samples_total Samples received, histograms included, by tenant (empty before it has any) and what became of them.
		# TYPE varve_receive_samples_total counter
		varve_receive_samples_total{reason="request_samples_limit",tenant="default-tenant"} 3
	`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "varve_receive_samples_total"); err != nil {
		t.Error(err)
	}
}

// A tenant's own limits are in place of the default, and no other's.
func TestLimitsAreTheTenants(t *testing.T) {
	set := &LimitSet{Default: Limits{RequestSeries: 1}, Tenants: map[string]Limits{"large": {RequestSeries: 2}, "free": {}}}
	h := newTestHandler(t, newFakeStorage(), HandlerOptions{Limits: func() *LimitSet { return set }})
	for tenant, most := range map[string]int{"other": 1, "large": 2, "free": 5} {
		for n := 1; n <= 5; n++ {
			msg := v1()
			for i := range n {
				msg.Timeseries = append(msg.Timeseries, v1Series(named(fmt.Sprint("m", i)), nowMs()))
			}
			want := http.StatusNoContent
			if n > most {
				want = http.StatusRequestEntityTooLarge
			}
			rec := rwRequest{message: msg, headers: map[string]string{DefaultTenantHeader: tenant}}.send(t, h)
			if rec.Code != want {
				t.Errorf("tenant %s, %d series: status %d, want %d", tenant, n, rec.Code, want)
			}
		}
	}
}

// Label limits refuse a series, and store the others.
func TestLabelLimits(t *testing.T) {
	for _, tc := range []struct {
		limits Limits
		reason Reason
		good   []string
		bad    []string
	}{
		{Limits{LabelCount: 3}, ReasonLabelCount, named("m", "a", "1", "b", "2", "empty", ""), named("m", "a", "1", "b", "2", "c", "3")},
		{Limits{LabelNameBytes: 8}, ReasonLabelName, named("m", "a2345678", "1"), named("m", "a23456789", "1")},
		{Limits{LabelValueBytes: 4}, ReasonLabelValue, named("abcd", "a", "1234"), named("m", "a", "12345")},
		{Limits{LabelValueBytes: 4}, ReasonLabelValue, named("abcd", "a", "1234"), named("abcde")},
	} {
		for _, version := range []string{"1.0", "2.0"} {
			to := newFakeStorage()
			h := newTestHandler(t, to, HandlerOptions{Limits: limitsOf(tc.limits)})
			msg := v1(v1Series(tc.bad, nowMs()), v1Series(tc.good, nowMs()))
			req := rwRequest{message: msg}
			if version == "2.0" {
				req.message = v2Of(msg)
			}
			wantAnswer(t, req.send(t, h), http.StatusBadRequest, tc.reason.String()+": 1", "1 of 2 samples are stored")
			if len(to.stored) != 1 {
				t.Errorf("%s: stored %v", tc.reason, to.stored)
			}
		}
	}
}

// Label limits look at what is stored: relabelling may bring a series within
// them, or beyond.
func TestLabelLimitsHoldAfterRelabelling(t *testing.T) {
	drop := &relabel.Config{SourceLabels: model.LabelNames{"long"}, Regex: relabel.MustNewRegexp(".*"), TargetLabel: "long", Separator: ";", Action: relabel.Replace, NameValidationScheme: model.UTF8Validation}
	to := newFakeStorage()
	h := newTestHandler(t, to, HandlerOptions{Limits: limitsOf(Limits{LabelValueBytes: 4}), Relabel: []*relabel.Config{drop}})
	wantAnswer(t, rwRequest{message: v1(v1Series(named("m", "long", "12345"), nowMs()))}.send(t, h), http.StatusNoContent)
	wantAnswer(t, rwRequest{message: v1(v1Series(named("m", "other", "12345"), nowMs()))}.send(t, h), http.StatusBadRequest)
}

// What is known of a series under some label limits is not taken for known
// under others: a series that was stored before is refused once they are
// stricter, and stored again when they are not.
func TestLabelLimitsThatChangeHoldForKnownSeries(t *testing.T) {
	tenants := openTenants(t, t.TempDir(), TenantsOptions{MinFreeDisk: -1})
	var set atomic.Pointer[LimitSet]
	h := newTestHandler(t, tenants, HandlerOptions{Limits: set.Load})
	at := nowMs() - 100_000
	send := func(version string) int {
		at++
		msg := v1(v1Series(named("known"), at), v1Series(named("known", "label", "a value"), at))
		req := rwRequest{message: msg}
		if version == "2.0" {
			req.message = v2Of(msg)
		}
		return req.send(t, h).Code
	}
	strict := []Limits{{LabelCount: 1}, {LabelNameBytes: 4}, {LabelValueBytes: 6}}
	for _, version := range []string{"1.0", "2.0"} {
		for range 3 { // New, then known.
			if status := send(version); status != http.StatusNoContent {
				t.Fatalf("without limits: status %d", status)
			}
		}
		for _, l := range strict {
			for _, tenant := range []bool{false, true} {
				set.Store(&LimitSet{Default: l})
				if tenant {
					set.Store(&LimitSet{Tenants: map[string]Limits{DefaultTenant: l}})
				}
				for range 2 {
					if status := send(version); status != http.StatusBadRequest {
						t.Errorf("%s, limits %+v: status %d for a known series over them", version, l, status)
					}
				}
				set.Store(&LimitSet{Default: Limits{LabelCount: 100}})
				for range 2 {
					if status := send(version); status != http.StatusNoContent {
						t.Errorf("%s, limits %+v lifted: status %d", version, l, status)
					}
				}
				set.Store(nil)
			}
		}
	}
}

// Other rules of relabelling hold for series that are known under those of
// before, too.
func TestRelabellingThatChangesHoldsForKnownSeries(t *testing.T) {
	tenants := openTenants(t, t.TempDir(), TenantsOptions{MinFreeDisk: -1})
	at := nowMs() - 100_000
	for _, value := range []string{"", "dropped", "", "dropped"} {
		var opts HandlerOptions
		want := "1"
		if value != "" {
			opts.Relabel = []*relabel.Config{{
				SourceLabels: model.LabelNames{"__name__"}, Regex: relabel.MustNewRegexp("known"), Separator: ";",
				Action: relabel.Drop, NameValidationScheme: model.UTF8Validation,
			}}
			want = "0"
		}
		h := newTestHandler(t, tenants, opts)
		for range 3 {
			at++
			rec := rwRequest{message: v2Of(v1(v1Series(named("known"), at)))}.send(t, h)
			if got := rec.Header().Get(headerSamplesWritten); got != want {
				t.Errorf("relabelling %q: %s samples written, want %s", value, got, want)
			}
		}
	}
}

// A tenant with as many series as it may have keeps those, and gets no more.
func TestActiveSeriesLimit(t *testing.T) {
	dir := t.TempDir()
	const most = 10
	at := nowMs() - 100_000
	send := func(h *Handler, from, to int) (written int, status int, text string) {
		at++
		msg := v1()
		for i := from; i < to; i++ {
			msg.Timeseries = append(msg.Timeseries, v1Series(named("m", "series", fmt.Sprint(i)), at))
		}
		rec := rwRequest{message: v2Of(msg)}.send(t, h)
		written, _ = strconv.Atoi(rec.Header().Get(headerSamplesWritten))
		return written, rec.Code, rec.Body.String()
	}
	for round := range 2 { // The second finds the series in the log, and knows no reference.
		tenants := openTenants(t, dir, TenantsOptions{MinFreeDisk: -1})
		h := newTestHandler(t, tenants, HandlerOptions{Limits: limitsOf(Limits{ActiveSeries: most})})
		for range 3 {
			written, status, text := send(h, 0, most+5)
			if written != most || status != http.StatusBadRequest || !strings.Contains(text, "active_series_limit: 5") {
				t.Fatalf("round %d: %d written, status %d: %s", round, written, status, text)
			}
		}
		if written, status, _ := send(h, 0, most); written != most || status != http.StatusNoContent {
			t.Errorf("round %d: %d written, status %d, of series that are there", round, written, status)
		}
		free := newTestHandler(t, tenants, HandlerOptions{})
		if round == 1 {
			if written, status, _ := send(free, most, most+5); written != 5 || status != http.StatusNoContent {
				t.Errorf("without the limit: %d written, status %d", written, status)
			}
			// Over the limit, as after it was lowered.
			if written, status, _ := send(h, 0, most+10); written != most+5 || status != http.StatusBadRequest {
				t.Errorf("over the limit: %d written, status %d", written, status)
			}
		}
		if err := tenants.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// One tenant at its limit of series does not touch another.
func TestActiveSeriesLimitIsTheTenants(t *testing.T) {
	tenants := openTenants(t, t.TempDir(), TenantsOptions{MinFreeDisk: -1})
	h := newTestHandler(t, tenants, HandlerOptions{Limits: limitsOf(Limits{ActiveSeries: 1})})
	for _, tenant := range []string{"a", "b"} {
		req := rwRequest{message: v1(v1Series(named("x"), nowMs()), v1Series(named("y"), nowMs())), headers: map[string]string{DefaultTenantHeader: tenant}}
		wantAnswer(t, req.send(t, h), http.StatusBadRequest, "1 of 2 samples are stored", "active_series_limit: 1")
	}
}

// A series that a head has dropped, and whose reference is still known, is new.
func TestActiveSeriesLimitHoldsForDroppedSeries(t *testing.T) {
	const hour = 3_600_000
	tenants := openTenants(t, t.TempDir(), TenantsOptions{MinFreeDisk: -1})
	var set atomic.Pointer[LimitSet]
	h := newTestHandler(t, tenants, HandlerOptions{TooFarInFuture: -1, Limits: set.Load})
	var old []prompb.TimeSeries
	for i := range 5 {
		old = append(old, v1Series(named("old", "n", fmt.Sprint(i)), base))
	}
	wantAnswer(t, rwRequest{message: v1(old...)}.send(t, h), http.StatusNoContent)
	wantAnswer(t, rwRequest{message: v1(v1Series(named("kept"), base+12*hour))}.send(t, h), http.StatusNoContent)
	s, err := tenants.existing(DefaultTenant)
	if err != nil {
		t.Fatal(err)
	}
	refs := s.head.refs
	known := slices.Clone(refs.table.learnt)
	if err := tenants.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	refs.learn(known) // As by a request that was under way.
	wantAnswer(t, rwRequest{message: v1(v1Series(named("kept"), base+12*hour+1))}.send(t, h), http.StatusNoContent)
	set.Store(&LimitSet{Default: Limits{ActiveSeries: 1}})
	for i := range old {
		old[i].Samples[0].Timestamp = base + 12*hour + 2
	}
	msg := v1(append(old, v1Series(named("kept"), base+12*hour+2))...)
	wantAnswer(t, rwRequest{message: msg}.send(t, h), http.StatusBadRequest, "1 of 6 samples are stored", "active_series_limit: 5")
}
