package receive

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"
)

// hashringGolden is what Thanos Receive v0.42.4 says, made by a program that
// calls its own code: pkg/receive.NewMultiHashring, labelpb.HashWithPrefix.
type hashringGolden struct {
	Series [][][2]string
	Hashes map[string][]string
	Rings  []struct {
		Name              string
		Algorithm         HashringAlgorithm
		ReplicationFactor int `json:"replication_factor"`
		Config            json.RawMessage
		Tenants           map[string]struct{ Placed, Digest, Error string }
	}
}

func readHashringGolden(tb testing.TB) (g hashringGolden) {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "hashring", "thanos-0.42.4.json"))
	if err != nil {
		tb.Fatal(err)
	}
	if err := json.Unmarshal(text, &g); err != nil {
		tb.Fatal(err)
	}
	return g
}

func hashOf(h *SeriesHash, ls [][2]string) uint64 {
	for _, l := range ls {
		h.Label([]byte(l[0]), []byte(l[1]))
	}
	return h.Sum()
}

func TestSeriesHashIsThanos(t *testing.T) {
	g := readHashringGolden(t)
	var h SeriesHash
	for tenant, want := range g.Hashes {
		h.Reset(tenant)
		for i, ls := range g.Series {
			if got := strconv.FormatUint(hashOf(&h, ls), 16); got != want[i] {
				t.Errorf("tenant of %d bytes, series %d: hash %s, Thanos has %s", len(tenant), i, got, want[i])
			}
		}
	}
}

func TestPlacementIsThanos(t *testing.T) {
	g := readHashringGolden(t)
	for i, ring := range g.Rings {
		t.Run(fmt.Sprintf("%d: %s", i, ring.Name), func(t *testing.T) {
			opts := HashringsOptions{Algorithm: ring.Algorithm, ReplicationFactor: ring.ReplicationFactor}
			hashrings, err := ParseHashrings(ring.Config, opts)
			if err != nil {
				t.Fatal(err)
			}
			for tenant, want := range ring.Tenants {
				resolved, err := hashrings.Resolve(tenant)
				if want.Error != "" {
					if !errors.Is(err, ErrNoHashring) {
						t.Errorf("tenant %s: %v, Thanos says %s", tenant, err, want.Error)
					}
					continue
				}
				if err != nil {
					t.Fatalf("tenant %s: %v", tenant, err)
				}
				p := goldenPlacer{hashrings.Endpoints(), resolved, make([]uint32, ring.ReplicationFactor), SeriesHash{}}
				p.hash.Reset(tenant)
				if want.Placed != "" && p.placed(t, g.Series) != want.Placed {
					t.Errorf("tenant %s: the series are placed otherwise than by Thanos", tenant)
				}
				if got := p.digest(t); got != want.Digest {
					t.Errorf("tenant %s: of 5000 more series some are placed otherwise than by Thanos", tenant)
				}
			}
		})
	}
}

type goldenPlacer struct {
	endpoints []Endpoint
	ring      *Hashring
	into      []uint32
	hash      SeriesHash
}

func (p *goldenPlacer) place(t *testing.T, ls [][2]string) (addresses []string) {
	t.Helper()
	if n := p.ring.Place(hashOf(&p.hash, ls), p.into); n != len(p.into) {
		t.Fatalf("placed %d of %d replicas", n, len(p.into))
	}
	for _, i := range p.into {
		addresses = append(addresses, p.endpoints[i].Address)
	}
	return addresses
}

func (p *goldenPlacer) placed(t *testing.T, series [][][2]string) string {
	const digits = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	var addresses []string
	for _, e := range p.endpoints {
		addresses = append(addresses, e.Address)
	}
	addresses = slices.Compact(addresses)
	var b strings.Builder
	for _, ls := range series {
		for _, address := range p.place(t, ls) {
			b.WriteByte(digits[slices.Index(addresses, address)])
		}
	}
	return b.String()
}

func (p *goldenPlacer) digest(t *testing.T) string {
	d := xxhash.New()
	for i := range 5000 {
		for _, address := range p.place(t, [][2]string{{"__name__", "golden"}, {"i", strconv.Itoa(i)}}) {
			_, _ = d.WriteString(address + "\n")
		}
	}
	return fmt.Sprintf("%016x", d.Sum64())
}
