package receive

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
)

func TestTenantsShowTheirSeriesWithExternalLabels(t *testing.T) {
	leakCheck(t)
	tenants := openTenants(t, t.TempDir(), TenantsOptions{Labels: labels.FromStrings("receiver", "r1")})
	mustWrite(t, tenants, "team-b", base, 1, up("1"), up("2"))
	mustWrite(t, tenants, "team-a", base, 2, up("1"), up("3"))

	want := []readSeries{
		{`{__name__="up", instance="1", receiver="r1", tenant_id="team-a"}`, []point{{base, 2}}},
		{`{__name__="up", instance="1", receiver="r1", tenant_id="team-b"}`, []point{{base, 1}}},
		{`{__name__="up", instance="2", receiver="r1", tenant_id="team-b"}`, []point{{base, 1}}},
		{`{__name__="up", instance="3", receiver="r1", tenant_id="team-a"}`, []point{{base, 2}}},
	}
	if diff := cmp.Diff(want, mustReadAll(t, tenants), cmp.AllowUnexported(readSeries{}, point{})); diff != "" {
		t.Errorf("all series (-want +got):\n%s", diff)
	}
	if got := mustReadAll(t, tenants, equal("tenant_id", "team-a")); len(got) != 2 {
		t.Errorf("a matcher on the tenant label selects %v", labelsOf(got))
	}
	if got := mustReadAll(t, tenants, equal("receiver", "r2")); len(got) != 0 {
		t.Errorf("another receiver's series are %v", labelsOf(got))
	}
	only, err := read(asTenant(t.Context(), "team-b"), tenants, base, base)
	if err != nil || len(only) != 2 {
		t.Errorf("reading as team-b: %v, %v", labelsOf(only), err)
	}
	if got := mustRead(t, tenants, base+1, base+10); len(got) != 0 {
		t.Errorf("outside of the time range there is %v", labelsOf(got))
	}
}

func TestTenantsAnswerLabels(t *testing.T) {
	leakCheck(t)
	tenants := openTenants(t, t.TempDir(), TenantsOptions{})
	mustWrite(t, tenants, "a", base, 1, up("1"), up("2"))
	mustWrite(t, tenants, "b", base, 1, labels.FromStrings(model.MetricNameLabel, "down", "zone", "z"))
	q, err := tenants.ChunkQuerier(base, base)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	for _, c := range []struct {
		name  string
		limit int
		ms    []*labels.Matcher
		want  string
	}{
		{"", 0, nil, "[__name__ instance tenant_id zone]"},
		{"", 2, nil, "[__name__ instance]"},
		{"", 0, []*labels.Matcher{equal("tenant_id", "b")}, "[__name__ tenant_id zone]"},
		{"tenant_id", 0, nil, "[a b]"},
		{"tenant_id", 1, nil, "[a]"},
		{"tenant_id", 0, []*labels.Matcher{equal("zone", "z")}, "[b]"},
		{"instance", 0, nil, "[1 2]"},
		{"instance", 0, []*labels.Matcher{equal("tenant_id", "b")}, "[]"},
	} {
		hints := &storage.LabelHints{Limit: c.limit}
		var got []string
		if c.name == "" {
			got, _, err = q.LabelNames(t.Context(), hints, c.ms...)
		} else {
			got, _, err = q.LabelValues(t.Context(), c.name, hints, c.ms...)
		}
		if err != nil || sprint(got) != c.want {
			t.Errorf("label %q, limit %d, %v: %v, %v; want %s", c.name, c.limit, c.ms, got, err, c.want)
		}
	}
}

func TestWithoutLabelsEqualSeriesFollowEachOther(t *testing.T) {
	leakCheck(t)
	tenants := openTenants(t, t.TempDir(), TenantsOptions{})
	for i, tenant := range []string{"a", "b"} {
		mustWrite(t, tenants, tenant, base, float64(i), up("1"), up("2"))
	}
	q, err := tenants.ChunkQuerierWithout(base, base, []string{"tenant_id"})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	got, err := readFrom(t.Context(), q, base, base)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{up("1").String(), up("1").String(), up("2").String(), up("2").String()}
	if diff := cmp.Diff(want, labelsOf(got)); diff != "" {
		t.Errorf("series (-want +got):\n%s", diff)
	}
}

func TestHintsNarrowAndNeverWiden(t *testing.T) {
	leakCheck(t)
	tenants := openTenants(t, t.TempDir(), TenantsOptions{})
	mustWrite(t, tenants, "a", base, 1, up("1"))
	mustWrite(t, tenants, "a", base+100, 1, up("2"))
	q, err := tenants.ChunkQuerier(base, base+50)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	for _, c := range []struct {
		start, end int64
		want       int
	}{
		{base - 1000, base + 1000, 1}, {base, base, 1}, {base + 60, base + 100, 0}, {base + 40, base + 20, 0},
	} {
		set := q.Select(t.Context(), true, &storage.SelectHints{Start: c.start, End: c.end}, equal(model.MetricNameLabel, "up"))
		n := 0
		for set.Next() {
			n++
		}
		if set.Err() != nil || n != c.want {
			t.Errorf("hints %d to %d: %d series, %v; want %d", c.start-base, c.end-base, n, set.Err(), c.want)
		}
	}
}

func TestStreamsNameTheTenantsWithData(t *testing.T) {
	leakCheck(t)
	dir := t.TempDir()
	tenants := openTenants(t, dir, TenantsOptions{Labels: labels.FromStrings("receiver", "r1")})
	streams := func(of *Tenants) (out []string) {
		of.Streams(func(external labels.Labels, mint, maxt int64) bool {
			if maxt != math.MaxInt64 {
				t.Errorf("%s ends at %d", external, maxt)
			}
			out = append(out, sprint(external.String(), " ", mint-base))
			return true
		})
		return out
	}
	if got := streams(tenants); len(got) != 0 {
		t.Errorf("without data there are %v", got)
	}
	app, err := tenants.Appender(t.Context(), "empty")
	if err != nil {
		t.Fatal(err)
	}
	if err := app.Rollback(); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, tenants, "a", base+7, 1, up("1"))
	want := []string{`{receiver="r1", tenant_id="a"} 7`}
	if diff := cmp.Diff(want, streams(tenants)); diff != "" {
		t.Errorf("with a head (-want +got):\n%s", diff)
	}
	if err := tenants.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, streams(tenants)); diff != "" {
		t.Errorf("with a block (-want +got):\n%s", diff)
	}
	if err := tenants.Close(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, streams(openTenants(t, dir, TenantsOptions{Labels: labels.FromStrings("receiver", "r1")}))); diff != "" {
		t.Errorf("after a restart (-want +got):\n%s", diff)
	}
}

// One sample from as far ahead as MaxLead leaves room for the others, and one
// from much further does not.
func TestMaxLead(t *testing.T) {
	leakCheck(t)
	for _, d := range []time.Duration{2 * time.Second, time.Minute, 2 * time.Hour} {
		tenants := openTenants(t, t.TempDir(), TenantsOptions{BlockDuration: d})
		lead := tenants.MaxLead().Milliseconds()
		for _, tenant := range []string{"a", "b"} {
			mustWrite(t, tenants, tenant, base, 1, up("1"))
		}
		mustWrite(t, tenants, "a", base+lead, 1, up("2"))
		mustWrite(t, tenants, "a", base-lead/2, 1, up("3"))
		mustWrite(t, tenants, "b", base+3*lead, 1, up("2"))
		if err := write(t.Context(), tenants, "b", base-lead/2, 1, up("3")); !errors.Is(err, storage.ErrOutOfBounds) {
			t.Errorf("%v: without the bound a late sample gets %v", d, err)
		}
	}
}

func TestInvalidTenants(t *testing.T) {
	leakCheck(t)
	tenants := openTenants(t, t.TempDir(), TenantsOptions{})
	for _, name := range []string{"", ".", "..", "a/b", `a\b`, "/", "../x", "a\x00b", "a\nb", "\xff", "lost+found", lockName, strings.Repeat("x", 151)} {
		_, err := tenants.Appender(t.Context(), name)
		var typed *TenantError
		if !errors.Is(err, ErrInvalidTenant) || !errors.As(err, &typed) || typed.Tenant != name || typed.Retryable() {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"a", "...", "default-tenant", "team a", "ünïcode", ".hidden", strings.Repeat("x", 150)} {
		if err := write(t.Context(), tenants, name, base, 1, up("1")); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	if got := mustReadAll(t, tenants); len(got) != 7 {
		t.Errorf("there are %v", labelsOf(got))
	}
}

func TestOptionsNameWhatIsWrong(t *testing.T) {
	opts := TenantsOptions{
		Labels: labels.FromStrings("tenant_id", "x", model.MetricNameLabel, "y"), BlockDuration: time.Millisecond,
		OutOfOrderWindow: -time.Second, Interval: -1, Concurrency: -1,
	}
	_, err := OpenTenants(t.TempDir(), opts)
	if err == nil {
		t.Fatal("wrong options were accepted")
	}
	for _, field := range []string{"Labels: tenant_id", "Labels: __name__", "BlockDuration", "OutOfOrderWindow", "Interval", "Concurrency"} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("%q is not named in: %v", field, err)
		}
	}
	if err := (TenantsOptions{}).Validate(); err != nil {
		t.Errorf("the zero value: %v", err)
	}
	if err := (TenantsOptions{Retention: -1, MaxExemplars: -1, MaxMetadataBytes: -1, MinFreeDisk: -1}).Validate(); err != nil {
		t.Errorf("switching things off: %v", err)
	}
}

func TestSameDirectoryTwice(t *testing.T) {
	leakCheck(t)
	dir := t.TempDir()
	first := openTenants(t, dir, TenantsOptions{})
	if _, err := OpenTenants(dir, TenantsOptions{}); err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "in use") {
		t.Errorf("the second: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	openTenants(t, dir, TenantsOptions{})
}

func TestTwoInstancesInOneProcess(t *testing.T) {
	leakCheck(t)
	reg := prometheus.NewRegistry()
	wrapped := func(instance string) prometheus.Registerer {
		return prometheus.WrapRegistererWith(prometheus.Labels{"instance": instance}, reg)
	}
	with := openTenants(t, t.TempDir(), TenantsOptions{Registerer: wrapped("1"), TSDBMetrics: true})
	without := openTenants(t, t.TempDir(), TenantsOptions{})
	for _, tenants := range []*Tenants{with, without} {
		mustWrite(t, tenants, "a", base, 1, up("1"))
		mustWrite(t, tenants, "b", base, 1, up("1"))
	}
	if _, err := OpenTenants(t.TempDir(), TenantsOptions{Registerer: wrapped("1")}); err == nil || !strings.Contains(err.Error(), "WrapRegistererWith") {
		t.Errorf("a second one on the same registry: %v", err)
	}
	second := openTenants(t, t.TempDir(), TenantsOptions{Registerer: wrapped("2"), TSDBMetrics: true})
	mustWrite(t, second, "a", base, 1, up("1"))
	families, err := reg.Gather()
	if err != nil || len(families) < 50 {
		t.Fatalf("%d metric families, %v", len(families), err)
	}
	if err := errors.Join(with.Close(), second.Close()); err != nil {
		t.Fatal(err)
	}
	if families, err = reg.Gather(); err != nil || len(families) != 0 {
		t.Errorf("after closing %d metric families are left, %v", len(families), err)
	}
}

func TestCloseWaitsAndRefuses(t *testing.T) {
	leakCheck(t)
	tenants := openTenants(t, t.TempDir(), TenantsOptions{})
	mustWrite(t, tenants, "a", base, 1, up("1"))
	app, err := tenants.Appender(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	q, err := tenants.ChunkQuerier(base, base)
	if err != nil {
		t.Fatal(err)
	}
	set := q.Select(t.Context(), true, nil, equal(model.MetricNameLabel, "up"))
	if !set.Next() {
		t.Fatal(set.Err())
	}

	closed := make(chan error)
	go func() { closed <- tenants.Close() }()
	for {
		late, err := tenants.Appender(t.Context(), "a")
		if errors.Is(err, ErrClosed) {
			break
		}
		if err == nil {
			_ = late.Rollback()
		}
	}
	if _, err := tenants.ChunkQuerier(base, base); !errors.Is(err, ErrClosed) {
		t.Errorf("a querier after closing: %v", err)
	}
	if _, err := tenants.Appender(t.Context(), "new"); !errors.Is(err, ErrClosed) {
		t.Errorf("a new tenant after closing: %v", err)
	}
	if _, err := app.Append(0, up("2"), 0, base+1, 1, nil, nil, storage.AOptions{}); err != nil {
		t.Errorf("append by an appender from before: %v", err)
	}
	if err := app.Commit(); err != nil {
		t.Errorf("commit by an appender from before: %v", err)
	}
	select {
	case err := <-closed:
		t.Fatalf("closed with a querier open: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	if it := set.At().Iterator(nil); !it.Next() || it.At().Chunk.NumSamples() != 1 {
		t.Errorf("the open querier has lost its chunk: %v", it.Err())
	}
	if err := errors.Join(q.Close(), q.Close(), <-closed, tenants.Close()); err != nil {
		t.Error(err)
	}
	for name, err := range map[string]error{
		"compact": tenants.Compact(t.Context()), "flush": tenants.Flush(t.Context()),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s after closing: %v", name, err)
		}
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	leakCheck(t)
	tenants := openTenants(t, t.TempDir(), TenantsOptions{BlockDuration: time.Second, Interval: time.Millisecond})
	for i := range 100 {
		mustWrite(t, tenants, "a", base+int64(i)*100, 1, up("1"))
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- tenants.Run(ctx) }()
	for {
		if blocks := blocksOf(t, tenants, "a"); len(blocks) >= 8 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	if got := mustReadAll(t, tenants); len(got) != 1 || len(got[0].points) != 100 {
		t.Errorf("after cutting there are %v", got)
	}
}
