package receive

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseHashringsReadsAllThereIs(t *testing.T) {
	h := parseHashrings(t, `[
	  {
	    "hashring": "big", "tenants": ["a", "b*"], "tenant_matcher_type": "glob", "algorithm": "ketama",
	    "endpoints": [
	      {"address": "r1:10901", "capnproto_address": "r1:1", "az": "x"},
	      {"address": "[::1]:10901", "az": null},
	      "r0:10901"
	    ],
	    "external_labels": {"team": "a", "env": "prod"},
	    "shuffle_sharding_config": {"shard_size": 2, "cache_size": 0, "zone_awareness_disabled": true, "overrides": []}
	  },
	  {"tenants": null, "endpoints": ["r2"], "shuffle_sharding_config": {"shard_size": 0}, "tenant_matcher_type": ""}
	]`, HashringsOptions{})
	want := []Endpoint{
		{Address: "[::1]:10901", CapnProtoAddress: "[::1]:19391"},
		{Address: "r0:10901", CapnProtoAddress: "r0:19391"},
		{Address: "r1:10901", CapnProtoAddress: "r1:1", Zone: "x"},
		{Address: "r2", CapnProtoAddress: "r2:19391"},
	}
	if diff := cmp.Diff(want, h.Endpoints()); diff != "" {
		t.Error(diff)
	}
	for _, tenant := range []string{"a", "bb"} {
		ring := resolve(t, h, tenant)
		if ring.Name() != "big" {
			t.Errorf("tenant %s: hashring %s", tenant, ring.Name())
		}
		if got := ring.Endpoints(); len(got) != 2 {
			t.Errorf("tenant %s: a shard of %d endpoints, want 2", tenant, len(got))
		}
	}
	rest := resolve(t, h, "c")
	if rest.Name() != "1" || !slices.Equal(rest.Endpoints(), []uint32{3}) || rest.ReplicationFactor() != 1 {
		t.Errorf("tenant c: hashring %s, endpoints %v", rest.Name(), rest.Endpoints())
	}
}

func resolve(tb testing.TB, h *Hashrings, tenant string) *Hashring {
	tb.Helper()
	ring, err := h.Resolve(tenant)
	if err != nil {
		tb.Fatal(err)
	}
	return ring
}

// Each line of want must be one of the problems, and there must be no others.
func TestParseHashringsNamesAllThatIsWrong(t *testing.T) {
	for _, c := range []struct{ name, json, want string }{
		{"nothing", ` `, `hashrings: the text is empty: it must be an array of hashrings`},
		{"empty array", `[]`, `hashrings: the array is empty: at least one hashring is needed`},
		{"null", `null`, `hashrings: the array is empty: at least one hashring is needed`},
		{"not an array", `{"endpoints": ["a"]}`, `hashrings: it must be an array of hashrings`},
		{"not JSON", "[\n{\"endpoints\": [\"a\"],}\n]", `hashrings: line 2: no valid JSON: invalid character '}' looking for beginning of object key string`},
		{"cut short", "[\n{\"endpoints\":", `hashrings: line 2: no valid JSON: unexpected end of JSON input`},
		{"more after the end", `[{"endpoints": ["a"]}]]`, `hashrings: line 1: no valid JSON: invalid character ']' after top-level value`},
		{"not UTF-8", "[{\"endpoints\": [\"\xff\"]}]", `hashrings: the text is not UTF-8`},
		{"hashring is no object", `[[], "a", {"endpoints": ["a", "b"]}]`, `
			hashring[0]: it must be an object, but is []
			hashring[1]: it must be an object, but is "a"
			hashring[1] "1": no tenant gets here, as hashring[0] has no tenants and so takes all: move that to the end
			hashring[2] "2": no tenant gets here, as hashring[0] has no tenants and so takes all: move that to the end`},
		{"unknown and repeated keys", `[{"hashring": "a", "endpoint": ["x"], "Tenants": ["a"], "hashring": "b", "endpoints": [{"address": "a", "zone": "b"}, "b"],
			"shuffle_sharding_config": {"size": 1, "shard_size": 2, "overrides": [{"tenant": ["a"], "tenants": ["a"], "shard_size": 2, "tenant_matcher_type": "exact"}]}}]`, `
			hashring[0] "a": endpoint: the key is not known: mind its spelling, or leave it out
			hashring[0] "a": Tenants: the key is not known: mind its spelling, or leave it out
			hashring[0] "a": hashring: the key comes twice
			hashring[0] "a": endpoints[0].zone: the key is not known: mind its spelling, or leave it out
			hashring[0] "a": shuffle_sharding_config.size: the key is not known: mind its spelling, or leave it out
			hashring[0] "a": shuffle_sharding_config.overrides[0].tenant: the key is not known: mind its spelling, or leave it out
			hashring[0] "a": shuffle_sharding_config.shard_size: hashmod has no shuffle sharding: set algorithm to "ketama", or leave it out`},
		{"wrong types", `[{"hashring": 1, "tenants": "a", "tenant_matcher_type": [], "endpoints": {"a": "b"}, "algorithm": true, "external_labels": ["a"],
			"shuffle_sharding_config": {"shard_size": "3", "cache_size": 1.5, "zone_awareness_disabled": 1, "overrides": [1]}}]`, `
			hashring[0]: hashring: it must be a string, but is 1
			hashring[0]: tenants: it must be an array of strings, but is "a"
			hashring[0]: tenant_matcher_type: it must be a string, but is []
			hashring[0]: endpoints: it must be an array, but is {"a": "b"}
			hashring[0]: algorithm: it must be a string, but is true
			hashring[0]: external_labels: it must be an object, but is ["a"]
			hashring[0]: shuffle_sharding_config.shard_size: it must be a whole number, but is "3"
			hashring[0]: shuffle_sharding_config.cache_size: it must be a whole number, but is 1.5
			hashring[0]: shuffle_sharding_config.zone_awareness_disabled: it must be true or false, but is 1
			hashring[0]: shuffle_sharding_config.overrides[0]: it must be an object, but is 1`},
		{"no endpoints", `[{"hashring": "a"}]`, `hashring[0] "a": endpoints: there are none: name at least one`},
		{"no address", `[{"endpoints": ["", {"az": "a"}, {}, "b"]}]`, `
			hashring[0]: endpoints[0]: it has no address
			hashring[0]: endpoints[1]: it has no address
			hashring[0]: endpoints[2]: it has no address`},
		{"the same endpoint twice", `[{"endpoints": ["a", "b", {"address": "a", "capnproto_address": "c"}]}]`, `hashring[0]: endpoints[2]: "a" is endpoints[0] already: leave one of them out`},
		{"unknown algorithm", `[{"endpoints": ["a", "b"], "algorithm": "rendezvous"}]`, `hashring[0]: algorithm: "rendezvous" is not known: use "hashmod" or "ketama"`},
		{"too few endpoints", `[{"endpoints": ["a"]}]`, `hashring[0]: endpoints: 1 are too few for the replication factor 2: add some, or lower it`},
		{"tenants", `[{"tenants": ["a", "", "[a", "a\\"], "tenant_matcher_type": "glob", "endpoints": ["a", "b"]}, {"tenants": ["[a"], "tenant_matcher_type": "regex", "endpoints": ["a", "b"]}]`, `
			hashring[0]: tenants[1]: it is empty: name a tenant
			hashring[0]: tenants[2]: "[a" is not a shell pattern: mind brackets and a backslash at the end
			hashring[0]: tenants[3]: "a\\" is not a shell pattern: mind brackets and a backslash at the end
			hashring[1]: tenant_matcher_type: "regex" is not known: use "exact" or "glob"`},
		{"external labels", `[{"endpoints": ["a", "b"], "external_labels": {"a": 1, "": "b", "c": "", "__name__": "d"}}]`, `
			hashring[0]: external_labels.a: it must be a string, but is 1
			hashring[0]: external_labels[""]: names and values of labels must not be empty
			hashring[0]: external_labels.c: names and values of labels must not be empty
			hashring[0]: external_labels.__name__: it is the metric's name and cannot be an external label`},
		{"long external labels", `[{"endpoints": ["a", "b"], "external_labels": {"a": "` + strings.Repeat("x", MaxLabelBytes) + `"}}]`, `
			hashring[0]: external_labels: they are longer than 65536 bytes together`},
		{"hashmod can do less", `[{"endpoints": ["a", {"address": "b", "az": "c"}], "shuffle_sharding_config": {"shard_size": 2}}]`, `
			hashring[0]: endpoints[1].az: hashmod knows no zones: set algorithm to "ketama", or leave az out
			hashring[0]: shuffle_sharding_config.shard_size: hashmod has no shuffle sharding: set algorithm to "ketama", or leave it out`},
		{"overrides of nothing", `[{"endpoints": ["a", "b"], "algorithm": "ketama", "shuffle_sharding_config": {"overrides": [{"shard_size": 2, "tenants": ["a"], "tenant_matcher_type": "exact"}]}}]`, `
			hashring[0]: shuffle_sharding_config.shard_size: it is not set, so that the overrides mean nothing: set it, or leave them out`},
		{"sizes of shards", `[{"endpoints": ["a", "b", "c"], "algorithm": "ketama", "shuffle_sharding_config": {"shard_size": 1, "overrides": [
			{"tenants": ["a"], "tenant_matcher_type": "exact"},
			{"shard_size": 4, "tenants": ["[a", "a"]},
			{"shard_size": 3, "tenants": ["["], "tenant_matcher_type": "glob"},
			{"shard_size": 2, "tenant_matcher_type": "exact"}]}}]`, `
			hashring[0]: shuffle_sharding_config.shard_size: 1 makes shards of 1 endpoints, too few for the replication factor 2
			hashring[0]: shuffle_sharding_config.overrides[0].shard_size: 0 is less than 1
			hashring[0]: shuffle_sharding_config.overrides[1].shard_size: 4 is more than the 3 endpoints
			hashring[0]: shuffle_sharding_config.overrides[1].tenant_matcher_type: it is not set, and Thanos does without such an override: use "exact" or "glob"
			hashring[0]: shuffle_sharding_config.overrides[2].tenants[0]: "[" is not a shell pattern: mind brackets and a backslash at the end
			hashring[0]: shuffle_sharding_config.overrides[3].tenants: there are none: name some, or leave the override out`},
		{"negative shard", `[{"endpoints": ["a", "b", "c"], "algorithm": "ketama", "shuffle_sharding_config": {"shard_size": -1}}]`, `
			hashring[0]: shuffle_sharding_config.shard_size: -1 is less than 1`},
		{"shards and zones", `[{"endpoints": [{"address": "a", "az": "x"}, {"address": "b", "az": "y"}, {"address": "c", "az": "y"}], "algorithm": "ketama", "shuffle_sharding_config": {"shard_size": 3}}]`, `
			hashring[0]: shuffle_sharding_config.shard_size: 3 takes 2 endpoints of each zone, zone "x" has 1: lower it, or set zone_awareness_disabled`},
		{"hashrings beside each other", `[{"hashring": "1", "tenants": ["a"], "endpoints": ["a", "b"]}, {"endpoints": ["a", "b"]}, {"hashring": "c", "endpoints": ["a", "b"]}]`, `
			hashring[1] "1": hashring: hashring[0] has this name already: choose another
			hashring[2] "c": no tenant gets here, as hashring[1] has no tenants and so takes all: move that to the end`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParseHashrings([]byte(c.json), HashringsOptions{ReplicationFactor: 2})
			if err == nil {
				t.Fatal("no error")
			}
			var want []string
			for line := range strings.Lines(strings.TrimSpace(c.want)) {
				want = append(want, strings.TrimSpace(line))
			}
			if diff := cmp.Diff(strings.Join(want, "\n"), err.Error()); diff != "" {
				t.Error(diff)
			}
			var typed *HashringError
			if !errors.As(err, &typed) || typed.Problem == "" {
				t.Errorf("no *HashringError in %v", err)
			}
		})
	}
}

func TestParseHashringsTooMuch(t *testing.T) {
	endpoints := make([]string, maxHashringEndpoints+1)
	for i := range endpoints {
		endpoints[i] = fmt.Sprintf(`"r%d"`, i)
	}
	for name, text := range map[string]string{
		"endpoints": `[{"endpoints": [` + strings.Join(endpoints, ",") + `]}]`,
		"longer":    `[{"endpoints": ["a"]}]` + strings.Repeat(" ", maxHashringsBytes),
	} {
		if _, err := ParseHashrings([]byte(text), HashringsOptions{}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHashringsOptions(t *testing.T) {
	_, err := ParseHashrings([]byte(`[]`), HashringsOptions{Algorithm: "crush", ReplicationFactor: 256})
	if err == nil || !strings.Contains(err.Error(), "Algorithm: ") || !strings.Contains(err.Error(), "ReplicationFactor: 256 ") {
		t.Errorf("%v does not name both fields", err)
	}
}

// What a tenant without a hashring is told can be tried again: it helps once
// there is one.
func TestResolveWithoutHashring(t *testing.T) {
	var none *Hashrings
	some := parseHashrings(t, `[{"tenants": ["a"], "endpoints": ["r"]}]`, HashringsOptions{})
	for want, h := range map[error]*Hashrings{ErrHashringsNotLoaded: none, ErrNoHashring: some} {
		_, err := h.Resolve("b")
		if !errors.Is(err, want) || !strings.Contains(err.Error(), `"b"`) || ReasonOf(err).Class() != Retryable {
			t.Errorf("%v (%v), want it to name the tenant and be %v", err, ReasonOf(err), want)
		}
	}
	if none.Endpoints() != nil {
		t.Error("no hashrings have endpoints")
	}
}

// Few shards are kept, and what they are does not depend on which. Many
// requests at once.
func TestShardsAreTheSameEachTime(t *testing.T) {
	text := ringJSON(12, `"algorithm": "ketama", "shuffle_sharding_config": {"shard_size": 3, "cache_size": 4},`)
	h := parseHashrings(t, text, HashringsOptions{ReplicationFactor: 3})
	want := make([][]uint32, 20)
	different := map[string]bool{}
	for i := range want {
		want[i] = resolve(t, h, fmt.Sprint("tenant-", i)).Endpoints()
		different[fmt.Sprint(want[i])] = true
	}
	if len(different) < 10 {
		t.Errorf("20 tenants have %d different shards", len(different))
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for n := range 200 {
				i := n * 7 % len(want)
				ring, err := h.Resolve(fmt.Sprint("tenant-", i))
				if err != nil || !slices.Equal(ring.Endpoints(), want[i]) {
					t.Errorf("tenant-%d: %v, %v, want %v", i, ring.Endpoints(), err, want[i])
				}
			}
		})
	}
	wg.Wait()
	if kept, made := h.entries[0].shards.stats(); kept != 4 || made < 20 {
		t.Errorf("%d shards are kept, of %d made, want 4 of at least 20", kept, made)
	}
}

// As in Thanos, the first hashring counts that names the tenant, and a pattern
// names nobody but who is called so.
func TestExternalLabelsOfHashrings(t *testing.T) {
	h := parseHashrings(t, `[
	  {"tenants": ["a*", "b", "?"], "tenant_matcher_type": "glob", "endpoints": ["r"], "external_labels": {"ring": "glob"}},
	  {"tenants": ["b", "c", "ab"], "endpoints": ["r"], "external_labels": {"ring": "names", "team": "x"}},
	  {"tenants": ["c", "d", "n"], "endpoints": ["r"], "external_labels": {"ring": "late"}},
	  {"tenants": ["n"], "endpoints": ["r"]},
	  {"endpoints": ["r"], "external_labels": {"ring": "all"}}
	]`, HashringsOptions{})
	for tenant, want := range map[string]string{
		"b": `{ring="glob"}`, "a*": `{ring="glob"}`, "?": `{ring="glob"}`, "a": "{}",
		"ab": `{ring="names", team="x"}`, // though the first hashring takes it
		"c":  `{ring="names", team="x"}`, "d": `{ring="late"}`, "n": `{ring="late"}`,
		"other": "{}", "": "{}",
	} {
		if got := h.ExternalLabels(tenant).String(); got != want {
			t.Errorf("tenant %q: %s, want %s", tenant, got, want)
		}
	}
	if got := (*Hashrings)(nil).ExternalLabels("b"); !got.IsEmpty() {
		t.Errorf("without hashrings: %s", got)
	}
}

// A ring must not take all memory, however many replicas somebody asks for.
func TestParseHashringsBoundsTheTable(t *testing.T) {
	var endpoints []string
	for i := range 10_000 {
		endpoints = append(endpoints, fmt.Sprintf("%q", fmt.Sprint("receiver-", i)))
	}
	config := fmt.Sprintf(`[{"algorithm": "ketama", "endpoints": [%s]}]`, strings.Join(endpoints, ","))
	const want = `hashring[0]: endpoints: 10000 with the replication factor 9 would take a table of 343 MiB: put them into several hashrings, or use "hashmod"`
	if _, err := ParseHashrings([]byte(config), HashringsOptions{ReplicationFactor: 9}); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}
