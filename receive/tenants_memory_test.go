package receive

import (
	"runtime"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
)

// An idle tenant must cost little, whatever a TSDB costs by default.
func TestTenantsAreCheap(t *testing.T) {
	leakCheck(t)
	const tenants = 20
	before := heapInUse()
	all := openTenants(t, fastTempDir(t), TenantsOptions{})
	for i := range tenants {
		fillTenant(t, all, sprint("tenant-", i), 100, 130)
	}
	if err := all.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	each := (heapInUse() - before) / tenants
	t.Logf("%.0f KiB a tenant of 100 series", each/1024)
	if each > 1<<20 {
		t.Error("that is more than a megabyte")
	}
}

// BenchmarkTenants prints what an open tenant of 100 series costs in memory,
// with samples enough for a chunk to have gone to its file.
func BenchmarkTenants(b *testing.B) {
	const tenants, series, samples = 300, 100, 130
	for b.Loop() {
		before := heapInUse()
		goroutines := runtime.NumGoroutine()
		all, err := OpenTenants(fastTempDir(b), TenantsOptions{})
		if err != nil {
			b.Fatal(err)
		}
		for i := range tenants {
			fillTenant(b, all, sprint("tenant-", i), series, samples)
		}
		filled := heapInUse()
		if err := all.Compact(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric((filled-before)/tenants/1024, "KiB/tenant")
		b.ReportMetric((heapInUse()-before)/tenants/1024, "KiB/tenant-mapped")
		b.ReportMetric(float64(runtime.NumGoroutine()-goroutines)/tenants, "goroutines/tenant")
		if err := all.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func heapInUse() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

func fillTenant(b testing.TB, to *Tenants, tenant string, series, samples int) {
	b.Helper()
	refs := make([]storage.SeriesRef, series)
	all := make([]labels.Labels, series)
	for i := range all {
		all[i] = labels.FromStrings(model.MetricNameLabel, "http_requests_total", "instance", sprint("10.0.0.", i, ":9100"), "job", "node", "code", "200")
	}
	for n := range samples {
		app, err := to.Appender(b.Context(), tenant)
		if err != nil {
			b.Fatal(err)
		}
		for i, ls := range all {
			if refs[i], err = app.Append(refs[i], ls, 0, base+seconds(15*n), float64(n), nil, nil, storage.AOptions{}); err != nil {
				b.Fatal(err)
			}
		}
		if err := app.Commit(); err != nil {
			b.Fatal(err)
		}
	}
}
