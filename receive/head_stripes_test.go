package receive

import "testing"

// The first tenants get what a million series want; a thousand share little.
func TestStripes(t *testing.T) {
	if got := stripesFor(0); got != mostStripes {
		t.Errorf("the first tenant gets %d stripes, want %d", got, mostStripes)
	}
	var sum int
	for n := range 1000 {
		got := stripesFor(n)
		if got&(got-1) != 0 || got < fewestStripes || got > mostStripes {
			t.Fatalf("tenant %d gets %d stripes", n, got)
		}
		sum += got
	}
	if sum > 1000*fewestStripes+2*mostStripes {
		t.Errorf("a thousand tenants take %d stripes", sum)
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
