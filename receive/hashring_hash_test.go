package receive

import (
	"bytes"
	"testing"

	"github.com/cespare/xxhash/v2"
	"pgregory.net/rapid"
)

// Whatever the lengths, the hash is that of one long text.
func TestSeriesHashAgainstModel(t *testing.T) {
	piece := rapid.Custom(func(t *rapid.T) []byte {
		long := rapid.SampledFrom([]int{0, 3, 40, 500, 1100}).Draw(t, "long")
		return bytes.Repeat([]byte{rapid.Byte().Draw(t, "byte")}, rapid.IntRange(0, 30).Draw(t, "bytes")+long)
	})
	rapid.Check(t, func(t *rapid.T) {
		var h SeriesHash
		for range rapid.IntRange(1, 3).Draw(t, "tenants") {
			tenant := piece.Draw(t, "tenant")
			h.Reset(string(tenant))
			for range rapid.IntRange(1, 4).Draw(t, "series") {
				text := append(bytes.Clone(tenant), 0xff)
				for range rapid.IntRange(0, 8).Draw(t, "labels") {
					name, value := piece.Draw(t, "name"), piece.Draw(t, "value")
					h.Label(name, value)
					text = append(append(append(append(text, name...), 0xff), value...), 0xff)
				}
				if got, want := h.Sum(), xxhash.Sum64(text); got != want {
					t.Fatalf("hash %x of %d bytes, want %x", got, len(text), want)
				}
			}
		}
	})
}

func TestPlacingDoesNotAllocate(t *testing.T) {
	for _, c := range benchmarkRings {
		hashrings := parseHashrings(t, c.json, HashringsOptions{ReplicationFactor: 3})
		ring, err := hashrings.Resolve("a")
		if err != nil {
			t.Fatal(err)
		}
		var h SeriesHash
		h.Reset("a")
		into := make([]uint32, 3)
		name, value := []byte("instance"), []byte("10.0.0.1:9100")
		n := testing.AllocsPerRun(100, func() {
			for range 9 {
				h.Label(name, value)
			}
			ring.Place(h.Sum(), into)
		})
		if n != 0 {
			t.Errorf("%s: %v allocations a series", c.name, n)
		}
	}
}
