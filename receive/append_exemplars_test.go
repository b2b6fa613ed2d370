package receive

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
)

func v1Exemplar(ts int64, pairs ...string) prompb.Exemplar {
	return prompb.Exemplar{Labels: v1Series(pairs).Labels, Value: 5, Timestamp: ts}
}

func TestExemplars(t *testing.T) {
	at := nowMs()
	stale := prompb.Sample{Timestamp: at, Value: staleNaN}
	sample := prompb.Sample{Timestamp: at, Value: 1}
	later := prompb.Sample{Timestamp: at + 1, Value: 1}
	for _, tc := range []struct {
		name      string
		samples   []prompb.Sample
		exemplars []prompb.Exemplar
		kept      string // labels@time relative to at
		outcomes  string
	}{
		{"one", []prompb.Sample{sample}, []prompb.Exemplar{v1Exemplar(at-5, "trace", "x")}, `{trace="x"}@-5`, "stored=1"},
		{"two, unsorted", []prompb.Sample{sample}, []prompb.Exemplar{v1Exemplar(at-1, "b", "2"), v1Exemplar(at-2, "b", "1")}, `{b="1"}@-2 {b="2"}@-1`, "stored=2"},
		{"labels unsorted, one empty", []prompb.Sample{sample}, []prompb.Exemplar{v1Exemplar(at, "b", "2", "a", "1", "c", "")}, `{a="1", b="2"}@0`, "stored=1"},
		{"without labels", []prompb.Sample{sample}, []prompb.Exemplar{v1Exemplar(at)}, `{}@0`, "stored=1"},
		{"without time", []prompb.Sample{sample, later}, []prompb.Exemplar{v1Exemplar(0, "a", "1")}, `{a="1"}@1`, "stored=1"},
		{"once for two samples", []prompb.Sample{sample, later}, []prompb.Exemplar{v1Exemplar(at, "a", "1")}, `{a="1"}@0`, "stored=1"},
		{"after a stale marker", []prompb.Sample{stale, later}, []prompb.Exemplar{v1Exemplar(at, "a", "1")}, `{a="1"}@0`, "stored=1"},
		{"only with a stale marker", []prompb.Sample{stale}, []prompb.Exemplar{v1Exemplar(at, "a", "1")}, "", "refused=1"},
		{"out of order", []prompb.Sample{sample}, []prompb.Exemplar{v1Exemplar(at, "refuse", "1"), v1Exemplar(at, "a", "1")}, `{a="1"}@0`, "out_of_order=1 stored=1"},
		{"label twice", []prompb.Sample{sample}, []prompb.Exemplar{v1Exemplar(at, "a", "1", "a", "2")}, "", "invalid=1"},
		{"no UTF-8", []prompb.Sample{sample}, []prompb.Exemplar{v1Exemplar(at, "a", "\xff")}, "", "invalid=1"},
		{"far ahead", []prompb.Sample{sample}, []prompb.Exemplar{v1Exemplar(at+3_600_000, "a", "1")}, "", "invalid=1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			series := v1Series(named("m"))
			series.Samples, series.Exemplars = tc.samples, tc.exemplars
			bothVersions(t, v1(series), func(t *testing.T, req rwRequest) {
				to := newFakeStorage()
				reg := prometheus.NewRegistry()
				h := newTestHandler(t, to, HandlerOptions{Registerer: reg})
				// Exemplars never make a request fail.
				wantAnswer(t, req.send(t, h), 204)
				var kept []string
				for _, e := range to.exemplars {
					kept = append(kept, fmt.Sprintf("%s@%d", e.Labels, e.Ts-at))
				}
				if strings.Join(kept, " ") != tc.kept {
					t.Errorf("kept %v, want %s", kept, tc.kept)
				}
				if len(to.stored) != len(tc.samples) {
					t.Errorf("stored %v", to.stored)
				}
				want := "# HELP varve_receive_exemplars_total Exemplars received, by tenant (empty before it has samples) and what became of them.\n# TYPE varve_receive_exemplars_total counter\n"
				for _, outcome := range strings.Fields(tc.outcomes) {
					name, n, _ := strings.Cut(outcome, "=")
					want += fmt.Sprintf("varve_receive_exemplars_total{reason=%q,tenant=\"default-tenant\"} %s\n", name, n)
				}
				if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "varve_receive_exemplars_total"); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// Exemplars of a sample that has to wait for the next transaction go with it.
func TestExemplarsWait(t *testing.T) {
	at := nowMs()
	first, second := v1Series(named("m"), at), v1Series(named("m"), at-1)
	second.Exemplars = []prompb.Exemplar{v1Exemplar(at, "a", "1")}
	to := newFakeStorage()
	rec := rwRequest{message: v2Of(v1(first, second))}.send(t, newTestHandler(t, to, HandlerOptions{}))
	wantAnswer(t, rec, 400, "out_of_order: 1")
	wantWritten(t, rec, 1, 0, 0) // Their sample is refused.

	second.Samples[0].Timestamp = at + 1
	third := v1Series(named("n"), at)
	to = newFakeStorage()
	rec = rwRequest{message: v2Of(v1(first, second, third))}.send(t, newTestHandler(t, to, HandlerOptions{}))
	wantAnswer(t, rec, 204)
	wantWritten(t, rec, 3, 0, 1)
}

// Prometheus sends exemplars in series of their own, before or after the one
// with the samples, in the same request or a later one.
func TestExemplarsWithoutSamples(t *testing.T) {
	at := nowMs()
	lone := func(name string, e ...prompb.Exemplar) prompb.TimeSeries {
		s := v1Series(named(name))
		s.Exemplars = e
		return s
	}
	sampled := v1Series(named("m"), at)
	for _, tc := range []struct {
		name     string
		requests []*prompb.WriteRequest
		kept     string // relative to at
		written  string // exemplars by request
	}{
		{"before the sample", []*prompb.WriteRequest{v1(lone("m", v1Exemplar(at, "id", "1")), sampled)}, `{id="1"}@0`, "1"},
		{"after the sample", []*prompb.WriteRequest{v1(sampled, lone("m", v1Exemplar(at, "id", "1")))}, `{id="1"}@0`, "1"},
		{
			"in the next request, and again",
			[]*prompb.WriteRequest{v1(sampled), v1(lone("m", v1Exemplar(at+1, "id", "2"), v1Exemplar(at, "id", "1"))), v1(lone("m", v1Exemplar(at+1, "id", "2")))},
			`{id="1"}@0 {id="2"}@1`, "0 2 1",
		},
		{"of an unknown series", []*prompb.WriteRequest{v1(sampled, lone("other", v1Exemplar(at, "id", "1")))}, "", "0"},
		{"without time", []*prompb.WriteRequest{v1(sampled, lone("m", v1Exemplar(0, "id", "1")))}, "", "0"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, version := range []string{"1.0", "2.0"} {
				tenants, err := OpenTenants(t.TempDir(), TenantsOptions{})
				if err != nil {
					t.Fatal(err)
				}
				defer tenants.Close()
				h := newTestHandler(t, tenants, HandlerOptions{})
				var written []string
				for _, message := range tc.requests {
					req := rwRequest{message: message}
					if version == "2.0" {
						req.message = v2Of(message)
					}
					rec := req.send(t, h)
					wantAnswer(t, rec, 204)
					written = append(written, rec.Header().Get("X-Prometheus-Remote-Write-Exemplars-Written"))
				}
				if version == "2.0" && strings.Join(written, " ") != tc.written {
					t.Errorf("%s: wrote %v, want %s", version, written, tc.written)
				}
				if got := keptExemplars(t, tenants, at); got != tc.kept {
					t.Errorf("%s: kept %s, want %s", version, got, tc.kept)
				}
			}
		})
	}
}

func keptExemplars(t *testing.T, tenants *Tenants, at int64) string {
	t.Helper()
	q, err := tenants.ExemplarQuerier(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	found, err := q.Select(at-10, at+10, []*labels.Matcher{labels.MustNewMatcher(labels.MatchRegexp, "__name__", ".+")})
	if err != nil {
		t.Fatal(err)
	}
	var kept []string
	for _, series := range found {
		for _, e := range series.Exemplars {
			kept = append(kept, fmt.Sprintf("%s@%d", e.Labels, e.Ts-at))
		}
	}
	return strings.Join(kept, " ")
}
