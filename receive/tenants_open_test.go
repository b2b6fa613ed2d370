//go:build unix

package receive

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

// stopOpening has the opening of a tenant stop in the middle until go is called:
// it wants to read from a pipe.
func stopOpening(t *testing.T, dir, tenant string) (resume func()) {
	t.Helper()
	file := filepath.Join(dir, tenant, labelsFile)
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(file, 0o666); err != nil {
		t.Skip(err)
	}
	return func() {
		if err := os.WriteFile(file, content, 0o666); err != nil {
			t.Error(err)
		}
	}
}

func closedWith(t *testing.T, dir string, opts TenantsOptions, tenants ...string) {
	t.Helper()
	all := openTenants(t, dir, opts)
	for _, tenant := range tenants {
		mustWrite(t, all, tenant, base, 1, up("1"))
	}
	if err := all.Close(); err != nil {
		t.Fatal(err)
	}
}

// A tenant that takes long to open keeps no other from being written to and
// read, nor the upkeep from going on.
func TestTenantsOpenSideBySide(t *testing.T) {
	leakCheck(t)
	dir := fastTempDir(t)
	opts := TenantsOptions{Concurrency: 2, Interval: time.Millisecond}
	closedWith(t, dir, opts, "fast", "slow", "fast2")
	resume := stopOpening(t, dir, "slow")
	opts.Registerer = prometheus.NewRegistry()
	tenants := findTenants(t, dir, opts)
	if n := tenants.Opening(); n != 3 {
		t.Errorf("%d tenants are to be opened, want 3", n)
	}
	if streams := streamsOf(tenants); len(streams) != 3 {
		t.Errorf("streams of those to be opened: %v", streams)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ran := make(chan error)
	go func() { ran <- tenants.Run(ctx) }()
	for tenants.Opening() > 1 {
		time.Sleep(time.Millisecond)
	}
	for _, tenant := range []string{"fast", "new"} {
		mustWrite(t, tenants, tenant, base+1, 1, up("1"))
	}
	if got := mustReadAll(t, tenants, equal("tenant_id", "fast")); len(got) != 1 || len(got[0].points) != 2 {
		t.Errorf("read %v", got)
	}
	compact(t, tenants)
	impatient, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer stop()
	if err := write(impatient, tenants, "slow", base+1, 1, up("1")); err == nil {
		t.Error("a tenant that is not open takes writes")
	}
	resume()
	mustWrite(t, tenants, "slow", base+1, 1, up("1"))
	if n := tenants.Opening(); n != 0 {
		t.Errorf("%d tenants are to be opened, want none", n)
	}
	if got := mustReadAll(t, tenants); len(got) != 4 {
		t.Errorf("read %v", labelsOf(got))
	}
	cancel()
	if err := <-ran; err != nil {
		t.Error(err)
	}
}

// Who was written to last is opened first, and who is asked for comes next.
func TestOpeningOrder(t *testing.T) {
	leakCheck(t)
	dir := fastTempDir(t)
	names := []string{"c", "a", "d", "b"}
	closedWith(t, dir, TenantsOptions{}, names...)
	for age, name := range names {
		at := time.Now().Add(-time.Duration(age) * time.Hour)
		if err := os.Chtimes(filepath.Join(dir, name, "wal", "00000000"), at, at); err != nil {
			t.Fatal(err)
		}
	}
	tenants := findTenants(t, dir, TenantsOptions{Concurrency: 1})
	mustWrite(t, tenants, "b", base+1, 1, up("1"))
	if n := tenants.Opening(); n != 3 {
		t.Errorf("%d are to be opened after a write to one of four", n)
	}
	resume := stopOpening(t, dir, "d")
	done := make(chan error)
	go func() { done <- tenants.OpenAll(t.Context()) }()
	for tenants.Opening() > 1 {
		time.Sleep(time.Millisecond)
	}
	var open []string
	slots, _ := tenants.all()
	for _, s := range slots {
		if h, _ := s.state(); h != nil {
			open = append(open, s.name)
		}
	}
	if diff := cmp.Diff([]string{"a", "b", "c"}, open); diff != "" {
		t.Errorf("open while d is being opened (-want +got):\n%s", diff)
	}
	resume()
	if err := <-done; err != nil || tenants.Opening() > 0 {
		t.Errorf("%v, %d are to be opened", err, tenants.Opening())
	}
}

// What was never opened is flushed all the same, and a Tenants that has opened
// nothing can be closed.
func TestFlushAndCloseBeforeOpening(t *testing.T) {
	leakCheck(t)
	dir := fastTempDir(t)
	closedWith(t, dir, TenantsOptions{}, "a")
	tenants := findTenants(t, dir, TenantsOptions{})
	if err := tenants.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(closedBlocks(filepath.Join(dir, "a"))); n != 1 {
		t.Errorf("%d blocks", n)
	}
	if err := tenants.Close(); err != nil {
		t.Fatal(err)
	}
	tenants = findTenants(t, dir, TenantsOptions{})
	if err := tenants.Close(); err != nil {
		t.Fatal(err)
	}
	if err := tenants.OpenAll(t.Context()); err == nil {
		t.Error("closed tenants are opened")
	}
}
