package receive

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// thanosLimits is a file as people have it for Thanos Receive.
const thanosLimits = `
write:
  global:
    max_concurrency: 30
    meta_monitoring_url: "http://prometheus.example:9090"
    meta_monitoring_limit_query: "sum(prometheus_tsdb_head_series) by (tenant)"
    meta_monitoring_http_client:
      basic_auth: {username: u, password: p}
  default:
    request:
      size_bytes_limit: 1024
      series_limit: 1000
      samples_limit: 10
    head_series_limit: 1000
  tenants:
    acme:
      request:
        size_bytes_limit: 0
        series_limit: 0
        samples_limit: 0
      head_series_limit: 0
    ajax:
      request:
        series_limit: 50000
        samples_limit: 500
`

const ourLimits = `
write:
  global:
    in_flight_bytes_limit: 1048576
    in_flight_requests_limit: 0
  default: &base
    request: {size_bytes_limit: 100, decoded_bytes_limit: 900}
    labels: {count_limit: 30, name_bytes_limit: 100, value_bytes_limit: 2000}
    samples_per_second_limit: 1e5
    samples_burst: 2e5
    in_flight_requests_limit: 7
  tenants:
    acme: {samples_per_second_limit: 0.5, labels: {count_limit: -1}}
    empty:
    same: *base
    merged: {<<: *base, head_series_limit: 5}
`

func TestParseLimits(t *testing.T) {
	ours := Limits{
		RequestBytes: 100, DecodedBytes: 900, LabelCount: 30, LabelNameBytes: 100, LabelValueBytes: 2000,
		SamplesPerSecond: 1e5, SamplesBurst: 2e5, InFlightRequests: 7,
	}
	acme, merged := ours, ours
	acme.SamplesPerSecond, acme.LabelCount = 0.5, -1
	merged.ActiveSeries = 5
	for text, want := range map[string]LimitSet{
		"":             {},
		"# nothing\n":  {},
		"write:\n":     {},
		"write: {}\n":  {},
		"---\n...\n":   {},
		"{write: {}}}": {}, // Below: an error.
		thanosLimits: {
			Global:  GlobalLimits{Concurrency: 30},
			Default: Limits{RequestBytes: 1024, DecodedBytes: 1024, RequestSeries: 1000, RequestSamples: 10, ActiveSeries: 1000},
			Tenants: map[string]Limits{
				"acme": {},
				"ajax": {RequestBytes: 1024, DecodedBytes: 1024, RequestSeries: 50000, RequestSamples: 500, ActiveSeries: 1000},
			},
		},
		ourLimits: {
			Global:  GlobalLimits{InFlightBytes: 1 << 20, InFlightRequests: -1},
			Default: ours,
			Tenants: map[string]Limits{"acme": acme, "empty": ours, "same": ours, "merged": merged},
		},
	} {
		set, err := ParseLimits([]byte(text))
		if text == "{write: {}}}" {
			if !errors.Is(err, ErrInvalidLimits) {
				t.Errorf("%q: error %v", text, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if diff := cmp.Diff(want, *set, cmpopts.IgnoreUnexported(LimitSet{}), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%q: (-want +got)\n%s", text, diff)
		}
	}
}

func TestParseLimitsSaysWhatIsUnused(t *testing.T) {
	set, err := ParseLimits([]byte(thanosLimits))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"write.global.meta_monitoring_url", "write.global.meta_monitoring_limit_query", "write.global.meta_monitoring_http_client"}
	if diff := cmp.Diff(want, set.unused); diff != "" {
		t.Error(diff)
	}
}

// An error names the key and the line, or the tenant.
func TestParseLimitsErrors(t *testing.T) {
	for text, want := range map[string][]string{
		"write:\n  default:\n    series_limit: 1\n":  {"line 3", "series_limit", "not known"},
		"write:\n  global:\n    max_concurency: 1\n": {"line 3", "max_concurency"},
		"writes: {}\n": {"line 1", "writes"},
		"write: {default: {request: {limit: 1}}, tenants: {a: {requests: 1}}}":     {"limit", "requests"},
		"write:\n  default:\n    head_series_limit: many\n":                        {"line 3", "many"},
		"write:\n  default:\n    head_series_limit: 1\n    head_series_limit: 2\n": {"line 4", "head_series_limit"},
		"write: {tenants: {a/b: {}}}":                                              {"write.tenants.a/b", "path separator"},
		"write: {tenants: {'': {}}}":                                               {"empty"},
		"write: {default: {samples_per_second_limit: .inf}}":                       {"write.default.samples_per_second_limit"},
		"write: {tenants: {a: {samples_burst: .nan}}}":                             {"write.tenants.a.samples_burst"},
		"write: {global: {meta_monitoring_url: somewhere}}":                        {"meta_monitoring_url", "leave it out"},
		"write: {}\n---\nwrite: {}\n":                                              {"more than one document"},
		"write: {global: {in_flight_bytes_limit: 99999999999999999999}}":           {"line 1"},
		"[]":       {"line 1"},
		"write: [": {"line"},
		"write: {default: {labels: {count_limit: 1.5}}}":                             {"line 1", "1.5"},
		"write: {default: *nothing}":                                                 {"nothing"},
		strings.Repeat("#", maxLimitsBytes+1):                                        {"longer"},
		"write: {tenants: {a: {head_series_limit: 1}, a: {head_series_limit: 2}}}\n": {"\"a\""},
	} {
		_, err := ParseLimits([]byte(text))
		if !errors.Is(err, ErrInvalidLimits) {
			t.Errorf("%.100q: error %v", text, err)
			continue
		}
		for _, part := range want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%.100q: %v does not say %q", text, err, part)
			}
		}
		if strings.Contains(err.Error(), "YAML") {
			t.Errorf("%.100q: %v names a type of Go", text, err)
		}
	}
}

// Whatever is in the file, it is refused or makes limits that can be used.
func FuzzParseLimits(f *testing.F) {
	for _, text := range []string{"", "write: {}", thanosLimits, ourLimits, "write: {tenants: {a/b: {}}}", "a: &a [*a]", "write: &w {<<: *w}", "write: {default: {samples_burst: .nan}}"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		set, err := ParseLimits(text)
		if err != nil {
			if set != nil || !errors.Is(err, ErrInvalidLimits) {
				t.Fatalf("%v with %v", err, set)
			}
			return
		}
		if again, err := ParseLimits(text); err != nil || !cmp.Equal(set, again, cmp.AllowUnexported(LimitSet{})) {
			t.Fatalf("the same text twice: %v, then %v (%v)", set, again, err)
		}
		for tenant := range set.Tenants {
			if err := ValidateTenant(tenant); err != nil {
				t.Fatal(err)
			}
		}
		for _, l := range append([]Limits{set.Default}, set.For("other")) {
			if b := l.burst(); math.IsNaN(b) {
				t.Fatalf("burst %v of %+v", b, l)
			}
		}
		if g := set.Global.resolved(); g.Concurrency == 0 || g.InFlightBytes == 0 || g.InFlightRequests == 0 {
			t.Fatalf("%+v lets nothing in", g)
		}
	})
}

// What is said of a file is said in the terms of the file.
func TestErrorsOfLimitsNameNoTypes(t *testing.T) {
	for _, text := range []string{
		"write: {defaults: {}}", "writes: {}", "write: []", "write: {default: []}", "write: {global: {max_concurrency: {}}}",
		"write: {default: {request: {series: 1}}}", "write: {default: {labels: 7}}", "write: {tenants: {a: {head: 1}}}", "write: {tenants: 1}",
	} {
		_, err := ParseLimits([]byte(text))
		if err == nil || !strings.Contains(err.Error(), "line 1") || strings.Contains(err.Error(), "receive.") || strings.Contains(err.Error(), "struct") || strings.Contains(err.Error(), "yaml") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
