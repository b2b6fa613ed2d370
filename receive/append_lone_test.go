package receive

import (
	"os"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/prompb"
)

// What comes without samples makes no tenant, or anybody who may write could
// make any number of them.
func TestOnlySamplesMakeTenants(t *testing.T) {
	leakCheck(t)
	dir := t.TempDir()
	tenants := openTenants(t, dir, TenantsOptions{})
	reg := prometheus.NewRegistry()
	h := newTestHandler(t, tenants, HandlerOptions{Registerer: reg})
	lone := v1Series(named("m"))
	lone.Exemplars = []prompb.Exemplar{v1Exemplar(nowMs(), "trace", "x")}
	send := func(tenant string, msg *prompb.WriteRequest, status int) {
		t.Helper()
		wantAnswer(t, rwRequest{headers: map[string]string{"THANOS-TENANT": tenant}, message: msg}.send(t, h), status)
	}
	for i := range 5 {
		send("a"+sprint(i), &prompb.WriteRequest{Metadata: []prompb.MetricMetadata{{MetricFamilyName: "m", Help: "h"}}}, 204)
		send("b"+sprint(i), v1(lone), 204)
		send("c"+sprint(i), v1(v1Series([]string{"no", "name"}, nowMs())), 400)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() {
			t.Errorf("there is a tenant %s", e.Name())
		}
	}
	send("c1", v1(v1Series(named("m"), nowMs()), v1Series([]string{"no", "name"}, nowMs())), 400)
	want := `
# HELP varve_receive_samples_total Samples received, histograms included, by tenant (empty before it has any) and what became of them.
# TYPE varve_receive_samples_total counter
varve_receive_samples_total{reason="missing_metric_name",tenant=""} 5
varve_receive_samples_total{reason="missing_metric_name",tenant="c1"} 1
varve_receive_samples_total{reason="stored",tenant="c1"} 1
# HELP varve_receive_exemplars_total Exemplars received, by tenant (empty before it has samples) and what became of them.
# TYPE varve_receive_exemplars_total counter
varve_receive_exemplars_total{reason="refused",tenant=""} 5
# HELP varve_receive_metadata_total Entries of metadata received apart from series, by tenant (empty before it has samples) and whether the storage took them.
# TYPE varve_receive_metadata_total counter
varve_receive_metadata_total{reason="storage_failed",tenant=""} 5
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "varve_receive_samples_total", "varve_receive_exemplars_total", "varve_receive_metadata_total"); err != nil {
		t.Error(err)
	}
	send("c1", &prompb.WriteRequest{Metadata: []prompb.MetricMetadata{{MetricFamilyName: "m", Help: "h"}}}, 204)
	if known, err := tenants.MetricMetadata(t.Context(), "m", 0); err != nil || len(known) != 1 {
		t.Errorf("metadata of a tenant that exists: %v, %v", known, err)
	}
}

// Exemplars without samples that the storage does not keep are not counted as written.
func TestExemplarsSwitchedOffAreNotWritten(t *testing.T) {
	leakCheck(t)
	at := nowMs()
	with := v1Series(named("m"), at)
	lone := v1Series(named("m"))
	lone.Exemplars = []prompb.Exemplar{v1Exemplar(at+1, "trace", "y")}
	for most, want := range map[int]int{-1: 0, 10: 1} {
		h := newTestHandler(t, openTenants(t, t.TempDir(), TenantsOptions{MaxExemplars: most}), HandlerOptions{})
		rec := rwRequest{message: v2Of(v1(with, lone))}.send(t, h)
		wantAnswer(t, rec, 204)
		wantWritten(t, rec, 1, 0, want)
	}
}

// Exemplars leave the reserve on the disk alone, as samples do.
func TestExemplarsLeaveTheDiskFree(t *testing.T) {
	leakCheck(t)
	tenants := openTenants(t, t.TempDir(), TenantsOptions{})
	mustWrite(t, tenants, "a", base, 1, up("1"))
	tenants.space.min = 1 << 62
	err := tenants.AppendExemplars(t.Context(), "a", up("1"), nil)
	if ReasonOf(err) != ReasonUnavailable || !strings.Contains(err.Error(), "MinFreeDisk") {
		t.Errorf("got %v, want that the disk is full", err)
	}
	if _, err := tenants.Appender(t.Context(), "a"); ReasonOf(err) != ReasonUnavailable {
		t.Errorf("samples: %v", err)
	}
}
