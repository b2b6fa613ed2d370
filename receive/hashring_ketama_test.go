package receive

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// zonedRing returns JSON of a ketama hashring with an endpoint in each of the
// zones.
func zonedRing(zones []int) string {
	var endpoints []string
	for i, zone := range zones {
		endpoints = append(endpoints, fmt.Sprintf(`{"address": "receive-%d:10901", "az": "zone-%d"}`, i, zone))
	}
	return `[{"algorithm": "ketama", "endpoints": [` + strings.Join(endpoints, ",") + `]}]`
}

// Any zones, any replication factor: the replicas of a series are on different
// endpoints, in as many zones as possible, and fewer of them asked for are the
// first of them.
func TestReplicasAreApart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		zones := rapid.SliceOfN(rapid.IntRange(0, 3), 1, 9).Draw(t, "zones")
		replicas := rapid.IntRange(1, len(zones)).Draw(t, "replication factor")
		h, err := ParseHashrings([]byte(zonedRing(zones)), HashringsOptions{ReplicationFactor: replicas})
		if err != nil {
			t.Fatal(err)
		}
		ring, err := h.Resolve("a")
		if err != nil {
			t.Fatal(err)
		}
		perZone := map[string]int{}
		for _, e := range h.Endpoints() {
			perZone[e.Zone]++
		}
		for range 20 {
			hash := rapid.Uint64().Draw(t, "hash")
			into := make([]uint32, replicas+3)
			if n := ring.Place(hash, into); n != replicas {
				t.Fatalf("%d replicas, want %d", n, replicas)
			}
			first := make([]uint32, replicas/2)
			if n := ring.Place(hash, first); n != len(first) || !slices.Equal(first, into[:n]) {
				t.Fatalf("the first %v of %v", first, into)
			}
			checkApart(t, h.Endpoints(), into[:replicas], perZone)
		}
	})
}

func checkApart(t *rapid.T, endpoints []Endpoint, replicas []uint32, perZone map[string]int) {
	used := map[string]int{}
	for i, r := range replicas {
		if slices.Contains(replicas[:i], r) {
			t.Fatalf("twice on one endpoint: %v", replicas)
		}
		used[endpoints[r].Zone]++
	}
	if want := min(len(replicas), len(perZone)); len(used) != want {
		t.Fatalf("replicas in %d zones, want %d: %v", len(used), want, used)
	}
	// No zone has two more than another that has an endpoint to spare, unless
	// the smallest zone is used up, from where on any will do.
	exhausted := false
	for zone, size := range perZone {
		exhausted = exhausted || used[zone] == size
	}
	for a := range perZone {
		for b := range perZone {
			if used[a] > used[b]+1 && !exhausted {
				t.Fatalf("unbalanced: %v", used)
			}
		}
	}
}

// The table of jumps finds what a search over all sections finds, at the ends
// of sections above all.
func TestSectionsAgainstSearch(t *testing.T) {
	h := parseHashrings(t, zonedRing([]int{0, 1, 2}), HashringsOptions{})
	endpoints := h.Endpoints()
	ring := newKetamaRing(endpoints)
	sections := newKetamaSections(ring, []uint32{0, 1, 2}, make([]string, 3), 2)
	check := func(hash uint64) {
		i := searchRing(ring, hash)
		if got := sections.find(hash); got[0] != ring[i].owner {
			t.Fatalf("hash %x: endpoint %d, want %d", hash, got[0], ring[i].owner)
		}
	}
	check(0)
	check(1<<64 - 1)
	for _, section := range ring {
		for _, hash := range []uint64{section.hash - 1, section.hash, section.hash + 1} {
			check(hash)
		}
	}
}

// One endpoint more takes its share and leaves everything else where it is.
func TestFewSeriesMoveWhenAReceiverComes(t *testing.T) {
	const series = 20_000
	before := parseHashrings(t, ringJSON(4, `"algorithm": "ketama",`), HashringsOptions{})
	after := parseHashrings(t, ringJSON(5, `"algorithm": "ketama",`), HashringsOptions{})
	was, is := resolve(t, before, "a"), resolve(t, after, "a")
	moved := 0
	var hash SeriesHash
	hash.Reset("a")
	for i := range series {
		hash.Label([]byte("i"), fmt.Append(nil, i))
		sum := hash.Sum()
		var from, to [1]uint32
		was.Place(sum, from[:])
		is.Place(sum, to[:])
		old, now := before.Endpoints()[from[0]], after.Endpoints()[to[0]]
		if old == now {
			continue
		}
		if now.Address != "receive-4:10901" {
			t.Fatalf("series %d moved from %s to %s", i, old.Address, now.Address)
		}
		moved++
	}
	if moved < series/5*8/10 || moved > series/5*12/10 {
		t.Errorf("%d of %d series moved, want about a fifth", moved, series)
	}
}
