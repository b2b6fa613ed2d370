package receive

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Out-of-order samples survive the death of the process at each step of the
// rewriting of their log, and chunks of them that were noted but not written.
func TestOutOfOrderLogIsReplayedWhole(t *testing.T) {
	leakCheck(t)
	const late = 100 // More than fit into one chunk, so that there are markers.
	for name, crash := range map[string]func(t *testing.T, log string){
		"clean":            func(*testing.T, string) {},
		"half a new log":   func(t *testing.T, log string) { mkdir(t, log+newLogSuffix); touch(t, log+newLogSuffix+"/00000000") },
		"old log aside":    func(t *testing.T, log string) { copyLog(t, log, log+newLogSuffix); rename(t, log, log+oldLogSuffix) },
		"old log not gone": func(t *testing.T, log string) { copyLog(t, log, log+oldLogSuffix) },
		"torn at its end":  func(t *testing.T, log string) { tear(t, log) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			opts := TenantsOptions{OutOfOrderWindow: time.Hour}
			tenants := openTenants(t, dir, opts)
			mustWrite(t, tenants, "a", base, 1, up("1"))
			for i := range late {
				mustWrite(t, tenants, "a", base-seconds(i+1), 1, up("1"))
			}
			if err := tenants.Close(); err != nil {
				t.Fatal(err)
			}
			log := filepath.Join(dir, "a", "wbl")
			if marked, err := hasMarkers(log); err != nil || !marked {
				t.Fatalf("the log has no markers, %v", err)
			}
			crash(t, log)
			for range 3 {
				tenants = openTenants(t, dir, opts)
				if got := mustReadAll(t, tenants); len(got) != 1 || len(got[0].points) != late+1 {
					t.Errorf("%d samples, want %d", len(got[0].points), late+1)
				}
				if err := tenants.Close(); err != nil {
					t.Fatal(err)
				}
				entries, err := os.ReadDir(filepath.Dir(log))
				left := 4
				if exists(filepath.Join(dir, "a", "logs.broken")) {
					left++ // Of a repair, for a while.
				}
				if err != nil || len(entries) != left {
					t.Errorf("left over: %v, %v", entries, err)
				}
				if marked, err := hasMarkers(log); err != nil || marked {
					t.Errorf("the log still has markers, %v", err)
				}
			}
		})
	}
}

func mkdir(t *testing.T, dir string) {
	t.Helper()
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
}

func touch(t *testing.T, file string) {
	t.Helper()
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func copyLog(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// tear leaves the beginning of a record at the end of the log.
func tear(t *testing.T, log string) {
	t.Helper()
	segment := filepath.Join(log, "00000000")
	raw, err := os.ReadFile(segment)
	if err != nil {
		t.Fatal(err)
	}
	end := 0 // Of the fragments, which fit into the first page.
	for raw[end] != 0 {
		end += logHeaderSize + int(binary.BigEndian.Uint16(raw[end+1:]))
	}
	if err := os.WriteFile(segment, append(raw[:end:end], 1, 0, 100), 0o666); err != nil {
		t.Fatal(err)
	}
}
