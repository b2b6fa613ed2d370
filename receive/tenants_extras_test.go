package receive

import (
	"errors"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/storage"
	"pgregory.net/rapid"
)

func TestExemplarsOfAllTenants(t *testing.T) {
	leakCheck(t)
	for _, c := range []struct{ most, added, want int }{
		{0, 1000, 1000}, {100, 1000, 100}, {-1, 10, 0}, {3, 10, 3},
	} {
		tenants := openTenants(t, t.TempDir(), TenantsOptions{MaxExemplars: c.most})
		for _, tenant := range []string{"b", "a"} {
			for i := range c.added {
				appendExemplar(t, tenants, tenant, base+seconds(i))
			}
		}
		q, err := tenants.ExemplarQuerier(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got, err := q.Select(base, base+seconds(c.added), []*labels.Matcher{equal(model.MetricNameLabel, "up")})
		if err != nil {
			t.Fatal(err)
		}
		if c.want == 0 {
			if len(got) != 0 {
				t.Errorf("switched off, there are %v", got)
			}
			continue
		}
		if len(got) != 2 || got[0].SeriesLabels.Get("tenant_id") != "a" || got[1].SeriesLabels.Get("tenant_id") != "b" {
			t.Fatalf("at most %d: %v", c.most, got)
		}
		list := got[0].Exemplars
		if len(list) != c.want || list[len(list)-1].Ts != base+seconds(c.added-1) {
			t.Errorf("at most %d: %d are left, want the newest %d", c.most, len(list), c.want)
		}
		for _, m := range []struct {
			name, value string
			want        int
		}{{"tenant_id", "a", 1}, {"tenant_id", "c", 0}, {"instance", "2", 0}} {
			got, err := q.Select(base, base+seconds(c.added), []*labels.Matcher{equal(m.name, m.value)})
			if err != nil || len(got) != m.want {
				t.Errorf("%s=%s: %v, %v", m.name, m.value, got, err)
			}
		}
		q, err = tenants.ExemplarQuerier(asTenant(t.Context(), "b"))
		if err != nil {
			t.Fatal(err)
		}
		if got, err = q.Select(base, base, []*labels.Matcher{equal(model.MetricNameLabel, "up")}, []*labels.Matcher{equal("tenant_id", "a")}); err != nil || len(got) > 1 {
			t.Errorf("as tenant b: %v, %v", got, err)
		}
	}
}

// Series that only a label of an external label's name tells apart are one for
// who reads exemplars, too.
func TestExemplarsOfSeriesThatExternalLabelsMakeEqual(t *testing.T) {
	tenants := openTenants(t, t.TempDir(), TenantsOptions{})
	for i, written := range []string{"x", "y"} {
		app, err := tenants.Appender(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		one := exemplar.Exemplar{Labels: labels.FromStrings("trace_id", written), Value: 1, Ts: base + seconds(i), HasTs: true}
		series := labels.FromStrings("__name__", "up", "tenant_id", written)
		if _, err := app.Append(0, series, 0, base+seconds(i), 1, nil, nil, storage.AOptions{Exemplars: []exemplar.Exemplar{one}}); err != nil {
			t.Fatal(err)
		}
		if err := app.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	q, err := tenants.ExemplarQuerier(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got, err := q.Select(base, base+seconds(9), []*labels.Matcher{equal(model.MetricNameLabel, "up")})
	if err != nil || len(got) != 1 || len(got[0].Exemplars) != 2 {
		t.Errorf("got %v, %v; want one series with both exemplars", got, err)
	}
}

func appendExemplar(t *testing.T, tenants *Tenants, tenant string, ts int64) {
	t.Helper()
	app, err := tenants.Appender(t.Context(), tenant)
	if err != nil {
		t.Fatal(err)
	}
	one := exemplar.Exemplar{Labels: labels.FromStrings("trace_id", sprint(ts)), Value: 1, Ts: ts, HasTs: true}
	_, err = app.Append(0, up("1"), 0, ts, 1, nil, nil, storage.AOptions{Exemplars: []exemplar.Exemplar{one}})
	if err != nil {
		t.Fatal(err)
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
}

func TestExemplarsWithoutASample(t *testing.T) {
	leakCheck(t)
	one := func(i int) exemplar.Exemplar {
		return exemplar.Exemplar{Labels: labels.FromStrings("trace_id", sprint(i)), Value: float64(i), Ts: base + seconds(i), HasTs: true}
	}
	for _, c := range []struct {
		name   string
		most   int
		series labels.Labels
		add    []exemplar.Exemplar
		errs   int
		want   int
	}{
		{"new", 0, up("1"), []exemplar.Exemplar{one(2), one(3)}, 0, 3},
		{"stored already", 0, up("1"), []exemplar.Exemplar{one(1), one(2)}, 0, 2},
		{"older", 0, up("1"), []exemplar.Exemplar{one(0), one(2)}, 1, 2},
		{"no such series", 0, up("2"), []exemplar.Exemplar{one(2), one(3)}, 2, 1},
		{"switched off", -1, up("1"), []exemplar.Exemplar{one(2)}, 1, 0},
	} {
		tenants := openTenants(t, t.TempDir(), TenantsOptions{MaxExemplars: c.most})
		var partial *storage.AppendPartialError
		if err := tenants.AppendExemplars(t.Context(), "a", up("1"), []exemplar.Exemplar{one(1)}); c.most >= 0 && (!errors.As(err, &partial) || len(partial.ExemplarErrors) != 1) {
			t.Errorf("%s: before there was a series: %v", c.name, err)
		}
		mustWrite(t, tenants, "a", base, 1, up("1"))
		_ = tenants.AppendExemplars(t.Context(), "a", up("1"), []exemplar.Exemplar{one(1)})
		partial = &storage.AppendPartialError{}
		if err := tenants.AppendExemplars(t.Context(), "a", c.series, c.add); err != nil && !errors.As(err, &partial) {
			t.Fatal(err)
		}
		if len(partial.ExemplarErrors) != c.errs {
			t.Errorf("%s: %v, want %d errors", c.name, partial, c.errs)
		}
		q, err := tenants.ExemplarQuerier(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got, err := q.Select(base, base+seconds(100), []*labels.Matcher{equal(model.MetricNameLabel, "up")})
		n := 0
		for _, s := range got {
			n += len(s.Exemplars)
		}
		if err != nil || n != c.want {
			t.Errorf("%s: %v, %v; want %d", c.name, got, err, c.want)
		}
	}
	tenants := openTenants(t, t.TempDir(), TenantsOptions{})
	if err := tenants.AppendExemplars(t.Context(), "..", up("1"), nil); !errors.Is(err, ErrInvalidTenant) {
		t.Errorf("for an invalid tenant: %v", err)
	}
}

func TestMetadataComesWithSamplesAndApart(t *testing.T) {
	leakCheck(t)
	tenants := openTenants(t, t.TempDir(), TenantsOptions{})
	app, err := tenants.Appender(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	gauge := metadata.Metadata{Type: model.MetricTypeGauge, Unit: "", Help: "is up"}
	for _, opts := range []storage.AOptions{{Metadata: gauge}, {Metadata: metadata.Metadata{Type: model.MetricTypeHistogram}, MetricFamilyName: "latency"}, {}} {
		if _, err := app.Append(0, up("1"), 0, base, 1, nil, nil, opts); err != nil {
			t.Fatal(err)
		}
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
	other := metadata.Metadata{Type: model.MetricTypeGauge, Help: "runs"}
	mustWrite(t, tenants, "b", base, 1, up("1"))
	for _, m := range []metadata.Metadata{gauge, other} {
		if err := tenants.AppendMetadata(t.Context(), "b", "up", m); err != nil {
			t.Fatal(err)
		}
	}
	if err := tenants.AppendMetadata(t.Context(), "../x", "up", gauge); err == nil {
		t.Error("metadata for an invalid tenant was taken")
	}
	for _, c := range []struct {
		metric, tenant string
		limit          int
		want           string
	}{
		{"up", "", 0, "map[up:[{gauge  is up} {gauge  runs}]]"},
		{"up", "b", 0, "map[up:[{gauge  runs}]]"},
		{"down", "", 0, "map[]"},
		{"", "a", 0, "map[latency:[{histogram  }] up:[{gauge  is up}]]"},
		{"", "b", 1, "map[up:[{gauge  runs}]]"},
	} {
		got, err := tenants.MetricMetadata(asTenant(t.Context(), c.tenant), c.metric, c.limit)
		if err != nil || sprint(got) != c.want {
			t.Errorf("%q of tenant %q, at most %d: %v, %v; want %s", c.metric, c.tenant, c.limit, got, err, c.want)
		}
	}
	if got, err := tenants.MetricMetadata(t.Context(), "", 1); err != nil || len(got) != 1 {
		t.Errorf("at most 1: %v, %v", got, err)
	}
}

// What is kept is right and within the budget, and what was heard of last is
// kept if it has room at all.
func TestMetadataStaysWithinItsBudget(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := metadataStore{budget: rapid.IntRange(-1, 4000).Draw(t, "budget")}
		truth := map[string]metadata.Metadata{}
		for range rapid.IntRange(0, 60).Draw(t, "n") {
			family := sprint("m", rapid.IntRange(0, 20).Draw(t, "family"))
			m := metadata.Metadata{Type: model.MetricTypeCounter, Help: strings.Repeat("x", rapid.IntRange(0, 400).Draw(t, "help"))}
			keptFamily, kept := s.set(family, m)
			if keptFamily != family || kept != m {
				t.Fatalf("set returned %s %v", keptFamily, kept)
			}
			truth[family] = m
			got := map[string][]metadata.Metadata{}
			s.collect(got, "", 0)
			size := 0
			for family, list := range got {
				if len(list) != 1 {
					t.Fatalf("%s has %d entries", family, len(list))
				}
				size += len(family) + len(list[0].Help) + metadataOverhead
			}
			if size > max(s.budget, 0) {
				t.Fatalf("%d bytes with a budget of %d", size, s.budget)
			}
			if fits := len(family)+len(m.Help)+metadataOverhead <= s.budget/maxMetadataShare; fits && (len(got[family]) != 1 || got[family][0] != m) {
				t.Fatalf("%s is %v, want %v", family, got[family], m)
			}
		}
	})
}

func TestStoredQuerierShowsWhatWasAppended(t *testing.T) {
	leakCheck(t)
	tenants := openTenants(t, t.TempDir(), TenantsOptions{Labels: labels.FromStrings("instance", "external")})
	mustWrite(t, tenants, "a", base, 1, up("1"))
	for tenant, want := range map[string]string{"a": "[" + up("1").String() + "]", "unknown": "[]"} {
		q, err := tenants.StoredQuerier(t.Context(), tenant, base, base)
		if err != nil {
			t.Fatal(err)
		}
		got, err := readFrom(t.Context(), q, base, base)
		if err != nil || sprint(labelsOf(got)) != want {
			t.Errorf("tenant %s: %v, %v; want %s", tenant, got, err, want)
		}
		if err := q.Close(); err != nil {
			t.Error(err)
		}
	}
	if got := mustReadAll(t, tenants); got[0].labels != `{__name__="up", instance="external", tenant_id="a"}` {
		t.Errorf("from outside it is %v", labelsOf(got))
	}
}
