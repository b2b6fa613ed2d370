package receive

import (
	"fmt"
	"strings"
	"testing"
)

// ringJSON returns one hashring of n endpoints in three zones.
func ringJSON(n int, more string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `[{"hashring": "test", %s "endpoints": [`, more)
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		zone := fmt.Sprintf(`, "az": "zone-%d"`, i%3)
		if strings.Contains(more, "hashmod") {
			zone = ""
		}
		fmt.Fprintf(&b, `{"address": "receive-%d:10901"%s}`, i, zone)
	}
	b.WriteString("]}]")
	return b.String()
}

var benchmarkRings = []struct{ name, json string }{
	{"hashmod/endpoints=9", ringJSON(9, `"algorithm": "hashmod",`)},
	{"ketama/endpoints=3", ringJSON(3, `"algorithm": "ketama",`)},
	{"ketama/endpoints=99", ringJSON(99, `"algorithm": "ketama",`)},
	{"shard/endpoints=99", ringJSON(99, `"algorithm": "ketama", "shuffle_sharding_config": {"shard_size": 6},`)},
}

func parseHashrings(tb testing.TB, text string, opts HashringsOptions) *Hashrings {
	tb.Helper()
	h, err := ParseHashrings([]byte(text), opts)
	if err != nil {
		tb.Fatal(err)
	}
	return h
}

func BenchmarkSeriesHash(b *testing.B) {
	var names, values [][]byte
	for i := range 9 {
		names = append(names, fmt.Appendf(nil, "label_name_%d", i))
		values = append(values, fmt.Appendf(nil, "some-value-of-label-%d", i))
	}
	var h SeriesHash
	h.Reset("default-tenant")
	for b.Loop() {
		for i := range names {
			h.Label(names[i], values[i])
		}
		h.Sum()
	}
}

func BenchmarkHashringPlace(b *testing.B) {
	for _, c := range benchmarkRings {
		b.Run(c.name, func(b *testing.B) {
			ring, err := parseHashrings(b, c.json, HashringsOptions{ReplicationFactor: 3}).Resolve("a")
			if err != nil {
				b.Fatal(err)
			}
			into := make([]uint32, 3)
			hash := uint64(1)
			b.ReportAllocs()
			for b.Loop() {
				hash = hash*6364136223846793005 + 1442695040888963407
				ring.Place(hash, into)
			}
		})
	}
}

// Once a request if the tenant's shard is kept, and if it is not.
func BenchmarkHashringsResolve(b *testing.B) {
	for _, tenants := range []int{1, 1000} {
		for _, c := range benchmarkRings {
			b.Run(fmt.Sprintf("%s/tenants=%d", c.name, tenants), func(b *testing.B) {
				h := parseHashrings(b, c.json, HashringsOptions{ReplicationFactor: 3})
				names := make([]string, tenants)
				for i := range names {
					names[i] = fmt.Sprintf("tenant-%d", i)
				}
				i := 0
				for b.Loop() {
					if _, err := h.Resolve(names[i%tenants]); err != nil {
						b.Fatal(err)
					}
					i++
				}
			})
		}
	}
}

func BenchmarkParseHashrings(b *testing.B) {
	for _, c := range benchmarkRings {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				parseHashrings(b, c.json, HashringsOptions{ReplicationFactor: 3})
			}
		})
	}
}

func BenchmarkQuorumAdd(b *testing.B) {
	q := WriteQuorum(3)
	for b.Loop() {
		var v Votes
		q.Add(&v, ReasonStored)
		q.Add(&v, ReasonUnavailable)
		q.Add(&v, ReasonStored)
	}
}
