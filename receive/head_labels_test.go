package receive

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"
)

func labelled(region string) TenantsOptions {
	return TenantsOptions{BlockDuration: 10 * time.Second, Labels: labels.FromStrings("region", region)}
}

// wantBlockLabels checks which region blocks are shipped under.
func wantBlockLabels(t *testing.T, tenants *Tenants, blocks []tsdb.BlockMeta, regions ...string) {
	t.Helper()
	for i, b := range blocks {
		external, ready := tenants.BlockLabels(filepath.Join(tenants.dir, "a"), b.ULID)
		if want := labels.FromStrings("region", regions[i], "tenant_id", "a"); !ready || !labels.Equal(external, want) {
			t.Errorf("block %d is to be shipped: %v, as %v, want %v", i, ready, external, want)
		}
	}
}

// wantSamples checks the number of samples, all under the one region.
func wantSamples(t *testing.T, tenants *Tenants, region string, n int) {
	t.Helper()
	got := mustReadAll(t, tenants)
	want := labels.FromStrings("__name__", "up", "instance", "1", "region", region, "tenant_id", "a").String()
	if len(got) != 1 || got[0].labels != want || len(got[0].points) != n {
		t.Errorf("read %v, want %d samples of %s", got, n, want)
	}
}

func TestChangedLabelsLeaveOldBlocksTheirs(t *testing.T) {
	leakCheck(t)
	dir := t.TempDir()
	old := twoBlocks(t, dir, labelled("old"))

	var log bytes.Buffer
	opts := labelled("new")
	opts.Logger = slog.New(slog.NewTextHandler(&log, nil))
	tenants := openTenants(t, dir, opts)
	for _, want := range []string{"level=WARN", "tenant=a", "old", "new", "blocks=2"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %s: %s", want, &log)
		}
	}
	wantBlockLabels(t, tenants, old, "old", "old")
	wantSamples(t, tenants, "new", 3)
	if err := tenants.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	all := blocksOf(t, tenants, "a")
	wantBlockLabels(t, tenants, all, "old", "old", "new")

	// Once shipped, what was cut under the old labels has its place in the
	// bucket; what was cut under the new ones is read from here.
	ship(t, tenants, "a", all[0].ULID, all[2].ULID)
	wantSamples(t, tenants, "new", 2)
	ship(t, tenants, "a", all[0].ULID, all[1].ULID, all[2].ULID)
	wantSamples(t, tenants, "new", 1)

	for _, c := range []struct {
		region  string
		samples int
	}{{"new", 1}, {"third", 0}, {"old", 2}, {"new", 1}} {
		if err := tenants.Close(); err != nil {
			t.Fatal(err)
		}
		wantBlockLabels(t, tenants, all, "old", "old", "new")
		tenants = openTenants(t, dir, labelled(c.region))
		wantBlockLabels(t, tenants, all, "old", "old", "new")
		if c.samples > 0 {
			wantSamples(t, tenants, c.region, c.samples)
		} else if got := mustReadAll(t, tenants); len(got) != 0 {
			t.Errorf("read %v, want nothing", got)
		}
	}
}

// Without a shipper all stays readable, under the labels of today.
func TestChangedLabelsOfWhatIsLocalOnly(t *testing.T) {
	leakCheck(t)
	dir := t.TempDir()
	old := twoBlocks(t, dir, labelled("old"))
	opts := labelled("new")
	opts.LocalOnly = true
	tenants := openTenants(t, dir, opts)
	ship(t, tenants, "a", old[0].ULID, old[1].ULID)
	wantSamples(t, tenants, "new", 3)
}

func TestBrokenLabelsFileIsReplaced(t *testing.T) {
	leakCheck(t)
	for name, content := range map[string]string{"empty": "", "not JSON": "{", "of the future": `{"version":2}`} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			blocks := twoBlocks(t, dir, labelled("old"))
			fill(t, filepath.Join(dir, "a", labelsFile), content)
			tenants := openTenants(t, dir, labelled("new"))
			wantBlockLabels(t, tenants, blocks, "new", "new")
			wantSamples(t, tenants, "new", 3)
			if noted, err := readLabels(filepath.Join(dir, "a")); err != nil || noted.Labels.Get("region") != "new" {
				t.Errorf("noted is %v, %v", noted, err)
			}
		})
	}
	t.Run("unreadable", func(t *testing.T) {
		dir := t.TempDir()
		blocks := twoBlocks(t, dir, labelled("old"))
		file := filepath.Join(dir, "a", labelsFile)
		rename(t, file, file+".away")
		symlink(t, file)
		tenants := openTenants(t, dir, labelled("new"))
		wantFailed(t, "write", write(t.Context(), tenants, "a", base+seconds(30), 1, up("1")), "a")
		if _, ready := tenants.BlockLabels(filepath.Join(dir, "a"), blocks[0].ULID); ready {
			t.Error("a block is to be shipped under nobody knows which labels")
		}
		if err := os.Rename(file+".away", file); err != nil {
			t.Fatal(err)
		}
		if err := tenants.Compact(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantBlockLabels(t, tenants, blocks, "old", "old")
	})
}
