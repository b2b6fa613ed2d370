package receive

import (
	"testing"

	"pgregory.net/rapid"
)

// The first tenants get what a million series want; a thousand share little.
func TestStripes(t *testing.T) {
	if got := stripesFor(0, 0); got != mostStripes {
		t.Errorf("the first tenant gets %d stripes, want %d", got, mostStripes)
	}
	var sum int
	for n := range 1000 {
		got := stripesFor(n, 0)
		if got&(got-1) != 0 || got < fewestStripes || got > mostStripes {
			t.Fatalf("tenant %d gets %d stripes", n, got)
		}
		sum += got
	}
	if sum > 1000*fewestStripes+2*mostStripes {
		t.Errorf("a thousand tenants take %d stripes", sum)
	}
}

// However many others there are, a tenant gets what its series want.
func TestStripesOfKnownSeries(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		others := rapid.IntRange(0, 2000).Draw(t, "others")
		series := rapid.Uint64Range(0, 1<<40).Draw(t, "series")
		got := stripesFor(others, series)
		switch {
		case got&(got-1) != 0 || got < fewestStripes || got > mostStripes:
			t.Fatalf("%d stripes", got)
		case got < mostStripes && uint64(got)*seriesPerStripe < series:
			t.Fatalf("%d stripes for %d series", got, series)
		case others > 20 && got > fewestStripes && uint64(got)*seriesPerStripe > 2*series:
			t.Fatalf("%d stripes are more than %d series want", got, series)
		}
	})
}

// A tenant that comes back gets what its last block says.
func TestStripesOfTheLastBlock(t *testing.T) {
	dir := t.TempDir()
	tenants := openTenants(t, dir, TenantsOptions{})
	for i := range 300 {
		mustWrite(t, tenants, "a", base, 1, up(sprint(i)))
	}
	if err := tenants.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := tenants.slots["a"].newHead().seriesBefore(); got != 300 {
		t.Errorf("%d series are known, want 300", got)
	}
	if got := newSlot(tenants, "b").newHead().seriesBefore(); got != 0 {
		t.Errorf("%d series are known of a tenant that is new", got)
	}
}

// Heads that were closed make room for others.
func TestClosedHeadsGiveTheirStripesBack(t *testing.T) {
	tenants := openTenants(t, t.TempDir(), TenantsOptions{})
	for _, name := range []string{"a", "b", "c"} {
		mustWrite(t, tenants, name, base, 1, up("1"))
	}
	if got := tenants.heads.Load(); got != 3 {
		t.Errorf("%d heads are open, want 3", got)
	}
	if err := tenants.Close(); err != nil {
		t.Fatal(err)
	}
	if got := tenants.heads.Load(); got != 0 {
		t.Errorf("%d heads are open after closing", got)
	}
}
