package receive

import (
	"errors"
	"slices"
	"testing"
)

// Whatever the text: problems are of the documented types, and what is taken
// places every tenant's series on as many different endpoints as asked for.
func FuzzHashrings(f *testing.F) {
	for _, seed := range []string{
		goodHashrings, nextHashrings, badHashrings, "[]", "null", `[null]`, `[{"endpoints": [null]}]`,
		ringJSON(4, `"algorithm": "ketama", "tenants": ["a*", "[^x]", "\\*"], "tenant_matcher_type": "glob",`),
		ringJSON(6, `"external_labels": {"a": "b"}, "algorithm": "ketama", "shuffle_sharding_config": {"shard_size": 3, "cache_size": 1, "overrides": [{"shard_size": 6, "tenants": ["a?"], "tenant_matcher_type": "glob"}]},`),
		ringJSON(6, `"algorithm": "ketama", "shuffle_sharding_config": {"shard_size": 4, "zone_awareness_disabled": true},`),
		`[{"hashring": "a", "tenants": ["a"], "endpoints": ["r1", {"address": "r2", "capnproto_address": "r2:1"}], "algorithm": "hashmod"}, {"endpoints": ["r1", "r3"]}]`,
	} {
		f.Add([]byte(seed), "a", uint64(1), uint8(1), true)
		f.Add([]byte(seed), "team-1", uint64(1)<<63, uint8(2), false)
	}
	f.Fuzz(func(t *testing.T, text []byte, tenant string, hash uint64, replicas uint8, ketama bool) {
		opts := HashringsOptions{ReplicationFactor: max(1, int(replicas%8))}
		if ketama {
			opts.Algorithm = AlgorithmKetama
		}
		h, err := ParseHashrings(text, opts)
		if err != nil {
			if problem := (*HashringError)(nil); !errors.As(err, &problem) {
				t.Fatalf("%v is no *HashringError", err)
			}
			return
		}
		ring, err := h.Resolve(tenant)
		if err != nil {
			if !errors.Is(err, ErrNoHashring) {
				t.Fatal(err)
			}
			return
		}
		into := make([]uint32, opts.ReplicationFactor)
		if n := ring.Place(hash, into); n != len(into) {
			t.Fatalf("%d replicas, want %d", n, len(into))
		}
		members := ring.Endpoints()
		for i, r := range into {
			if int(r) >= len(h.Endpoints()) || !slices.Contains(members, r) || slices.Contains(into[:i], r) {
				t.Fatalf("replicas %v among %v", into, members)
			}
		}
	})
}
