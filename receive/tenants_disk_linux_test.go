package receive

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
)

// smallDisk mounts a disk of a few megabytes, which takes privileges, and fills
// a part of it. Calling free makes that part free.
func smallDisk(t *testing.T, size string, ballast int) (dir string, free func()) {
	t.Helper()
	dir = t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("a small disk cannot be mounted: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	file := filepath.Join(dir, lockName+".ballast")
	if err := os.WriteFile(file, make([]byte, ballast), 0o666); err != nil {
		t.Fatal(err)
	}
	return dir, func() {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
}

// fillDisk writes until that fails, and returns how many samples of each series
// were acknowledged.
func fillDisk(t *testing.T, tenants *Tenants, series []labels.Labels, from int) (acknowledged int, err error) {
	t.Helper()
	for i := from; i < from+100_000; i++ {
		if err := write(t.Context(), tenants, "a", base+seconds(i), rand.Float64(), series...); err != nil {
			return i, err
		}
	}
	t.Fatal("the disk does not fill up")
	return 0, nil
}

func TestSmallDiskFills(t *testing.T) {
	for name, reserve := range map[string]int64{"with a reserve": 1 << 20, "without": -1} {
		t.Run(name, func(t *testing.T) {
			leakCheckButLogs(t)
			dir, free := smallDisk(t, "16m", 14<<20)
			tenants := openTenants(t, dir, TenantsOptions{MinFreeDisk: reserve})
			var series []labels.Labels
			for i := range 200 {
				series = append(series, up(sprint(i)))
			}
			n, err := fillDisk(t, tenants, series, 0)
			if reserve > 0 && !errors.Is(err, ErrNoSpace) {
				t.Errorf("the reserve is reached: %v", err)
			}
			if reserve < 0 && (!errors.Is(err, ErrTenantFailed) || !errors.Is(err, syscall.ENOSPC)) {
				t.Errorf("the disk is full: %v", err)
			}
			readBack := func() {
				t.Helper()
				for _, s := range mustReadAll(t, tenants) {
					// What was not acknowledged may be there, too.
					if len(s.points) < n || len(s.points) > n+1 {
						t.Fatalf("%s has %d samples, %d were acknowledged", s.labels, len(s.points), n)
					}
				}
			}
			readBack()
			if reserve > 0 {
				if err := tenants.Compact(t.Context()); err != nil {
					t.Errorf("a pass over a full disk: %v", err)
				}
			}

			free()
			if err := tenants.Compact(t.Context()); err != nil {
				t.Fatalf("with space again: %v", err)
			}
			readBack()
			mustWrite(t, tenants, "a", base+seconds(n+1), 1, series...)
			if err := tenants.Close(); err != nil && !strings.Contains(err.Error(), "space") {
				t.Fatal(err)
			}
			n += 1
			tenants = openTenants(t, dir, TenantsOptions{MinFreeDisk: -1})
			readBack()
		})
	}
}
