package receive

import (
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
)

// atOnce has a tenant be idle in the next pass.
const atOnce = time.Nanosecond

const (
	opensMetric    = "varve_receive_tenants_opens_total"
	idleMetric     = "varve_receive_tenants_idle"
	closingsMetric = "varve_receive_tenants_idle_closings_total"
	removalsMetric = "varve_receive_tenants_removals_total"
)

func compact(t *testing.T, tenants *Tenants) {
	t.Helper()
	if err := tenants.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func wantMetrics(t *testing.T, reg *prometheus.Registry, want map[string]float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, family := range families {
		if _, ok := want[family.GetName()]; ok {
			got[family.GetName()] = family.GetMetric()[0].GetCounter().GetValue() + family.GetMetric()[0].GetGauge().GetValue()
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}

type stream struct {
	labels     string
	mint, maxt int64
}

func streamsOf(tenants *Tenants) (out []stream) {
	tenants.Streams(func(external labels.Labels, mint, maxt int64) bool {
		out = append(out, stream{external.String(), mint, maxt})
		return true
	})
	return out
}

// A tenant without writes has its samples in blocks and no log. It is read from
// them, and comes back with the next write.
func TestIdleTenantIsReadFromItsBlocks(t *testing.T) {
	leakCheck(t)
	dir, reg := fastTempDir(t), prometheus.NewRegistry()
	opts := TenantsOptions{IdleAfter: atOnce, OutOfOrderWindow: time.Hour, BlockDuration: time.Minute, Registerer: reg}
	tenants := openTenants(t, dir, opts)
	for i := range 200 {
		mustWrite(t, tenants, "a", base+seconds(i), float64(i), up("1"), up("2"))
	}
	mustWrite(t, tenants, "a", base+seconds(100)+1, 1, up("1")) // out of order
	before := mustReadAll(t, tenants)
	compact(t, tenants)
	wantMetrics(t, reg, map[string]float64{opensMetric: 1, closingsMetric: 1, idleMetric: 1, "varve_receive_tenants_open": 0, "varve_receive_tenants_failed": 0})
	for _, log := range []string{"wal", "wbl", "chunks_head", "lock"} {
		if exists(filepath.Join(dir, "a", log)) {
			t.Errorf("%s is still there", log)
		}
	}
	if diff := cmp.Diff(before, mustReadAll(t, tenants), cmp.AllowUnexported(readSeries{}, point{})); diff != "" {
		t.Errorf("idle (-before +after):\n%s", diff)
	}
	want := []stream{{`{tenant_id="a"}`, base, base + seconds(199)}}
	if diff := cmp.Diff(want, streamsOf(tenants), cmp.AllowUnexported(stream{})); diff != "" {
		t.Errorf("streams (-want +got):\n%s", diff)
	}
	if got := mustRead(t, tenants, base+seconds(200), math.MaxInt64); got != nil {
		t.Errorf("after the last sample: %v", got)
	}
	if got := mustRead(t, tenants, base+seconds(199), base+seconds(199)); len(got) != 2 {
		t.Errorf("at the last sample: %v", got)
	}
	wantMetrics(t, reg, map[string]float64{opensMetric: 1}) // reading opens no head

	mustWrite(t, tenants, "a", base+seconds(200), 200, up("1"))
	if got := mustReadAll(t, tenants, equal("instance", "1")); len(got) != 1 || len(got[0].points) != 202 {
		t.Errorf("after a write: %d samples", len(got[0].points))
	}
	wantMetrics(t, reg, map[string]float64{opensMetric: 2, idleMetric: 0, "varve_receive_tenants_open": 1})
	compact(t, tenants)
	wantMetrics(t, reg, map[string]float64{closingsMetric: 2})

	// It needs no opening after a restart either.
	if err := tenants.Close(); err != nil {
		t.Fatal(err)
	}
	tenants = openTenants(t, dir, opts)
	wantMetrics(t, reg, map[string]float64{opensMetric: 0, idleMetric: 1})
	if got := mustReadAll(t, tenants, equal("instance", "1")); len(got) != 1 || len(got[0].points) != 202 {
		t.Errorf("after a restart: %d samples", len(got[0].points))
	}
	wantMetrics(t, reg, map[string]float64{opensMetric: 0})
}

// What makes no new tenant does not wake an idle one either.
func TestIdleTenantSleepsOn(t *testing.T) {
	leakCheck(t)
	reg := prometheus.NewRegistry()
	tenants := openTenants(t, fastTempDir(t), TenantsOptions{IdleAfter: atOnce, Registerer: reg})
	mustWrite(t, tenants, "a", base, 1, up("1"))
	mustWrite(t, tenants, "b", base, 1, up("1"))
	compact(t, tenants)
	if err := tenants.AppendExemplars(t.Context(), "a", up("1"), []exemplar.Exemplar{{Ts: base, Value: 1}}); err == nil {
		t.Error("an exemplar of a series that is not in memory is kept")
	}
	if err := tenants.AppendMetadata(t.Context(), "a", "up", metadata.Metadata{Type: model.MetricTypeGauge}); err != nil {
		t.Error(err)
	}
	if got, err := tenants.MetricMetadata(t.Context(), "up", 0); err != nil || len(got) != 1 {
		t.Errorf("metadata: %v, %v", got, err)
	}
	q, err := tenants.ExemplarQuerier(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if found, err := q.Select(base, base, []*labels.Matcher{equal("instance", "1")}); len(found) > 0 || err != nil {
		t.Errorf("exemplars: %v, %v", found, err)
	}
	if err := tenants.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	compact(t, tenants)
	wantMetrics(t, reg, map[string]float64{opensMetric: 2, idleMetric: 2})
}

// Who is using a tenant keeps it from being closed, without being held up.
func TestUsedTenantIsNotIdle(t *testing.T) {
	leakCheck(t)
	reg := prometheus.NewRegistry()
	tenants := openTenants(t, fastTempDir(t), TenantsOptions{IdleAfter: atOnce, Registerer: reg})
	mustWrite(t, tenants, "a", base, 1, up("1"))
	app, err := tenants.Appender(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	compact(t, tenants)
	wantMetrics(t, reg, map[string]float64{idleMetric: 0})
	if err := app.Rollback(); err != nil {
		t.Fatal(err)
	}
	q, err := tenants.StoredQuerier(t.Context(), "a", base+seconds(1), base+seconds(2))
	if err != nil {
		t.Fatal(err)
	}
	q2, err := tenants.StoredQuerier(t.Context(), "a", base, base)
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		// Cutting waits for those who read what is cut.
		time.Sleep(10 * time.Millisecond)
		done <- q2.Close()
	}()
	compact(t, tenants)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	mustWrite(t, tenants, "a", base+seconds(1), 1, up("1"))
	compact(t, tenants)
	wantMetrics(t, reg, map[string]float64{idleMetric: 1})
}

// A querier over the blocks of an idle tenant reads on when a write opens the
// head, and when the blocks are deleted.
func TestReaderOutlivesIdleness(t *testing.T) {
	leakCheck(t)
	tenants := openTenants(t, fastTempDir(t), TenantsOptions{IdleAfter: atOnce, Retention: atOnce, LocalOnly: true})
	mustWrite(t, tenants, "a", base, 1, up("1"))
	compact(t, tenants)
	q, err := tenants.StoredQuerier(t.Context(), "a", base, base)
	if err != nil {
		t.Fatal(err)
	}
	compact(t, tenants)
	mustWrite(t, tenants, "a", base+seconds(1), 1, up("1"))
	compact(t, tenants)
	compact(t, tenants)
	if got, err := readFrom(t.Context(), q, base, base); err != nil || len(got) != 1 || len(got[0].points) != 1 {
		t.Errorf("read %v, %v", got, err)
	}
	if err := q.Close(); err != nil {
		t.Error(err)
	}
}

// A tenant leaves the disk and the list when the last of its blocks does, and
// the next write makes it anew.
func TestIdleTenantIsRemoved(t *testing.T) {
	leakCheck(t)
	dir, reg := fastTempDir(t), prometheus.NewRegistry()
	tenants := openTenants(t, dir, TenantsOptions{IdleAfter: atOnce, Retention: atOnce, Registerer: reg})
	for _, tenant := range []string{"a", "kept"} {
		mustWrite(t, tenants, tenant, base, 1, up("1"))
	}
	compact(t, tenants)
	time.Sleep(2 * time.Millisecond)
	compact(t, tenants)
	if got := mustReadAll(t, tenants); len(got) != 2 {
		t.Fatalf("blocks that are not shipped are gone: %v", got)
	}
	for _, tenant := range []string{"a", "kept"} {
		ship(t, tenants, tenant, closedBlocks(filepath.Join(dir, tenant))[0].id)
	}
	notOurs := filepath.Join(dir, "kept", "somebody-elses")
	if err := os.WriteFile(notOurs, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	compact(t, tenants)
	if exists(filepath.Join(dir, "a")) || !exists(notOurs) {
		t.Errorf("a is there: %v; what is not ours is there: %v", exists(filepath.Join(dir, "a")), exists(notOurs))
	}
	wantMetrics(t, reg, map[string]float64{removalsMetric: 1, idleMetric: 1})
	dirs := 0
	tenants.BlockDirs(func(string, labels.Labels) bool { dirs++; return true })
	if streams := streamsOf(tenants); len(streams) > 0 || dirs != 1 {
		t.Errorf("streams %v and %d directories are left", streams, dirs)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, removedPrefix+"*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	mustWrite(t, tenants, "a", base, 2, up("1"))
	if got := mustReadAll(t, tenants); len(got) != 1 || got[0].points[0].v != 2 {
		t.Errorf("anew: %v", got)
	}
}

// What a crash has left of the closing of an idle tenant, or of its removal, is
// put right at the next start.
func TestCrashWhileIdleIsClosed(t *testing.T) {
	leakCheck(t)
	dir := fastTempDir(t)
	opts := TenantsOptions{IdleAfter: atOnce, OutOfOrderWindow: time.Hour}
	for _, gone := range [][]string{nil, {"wbl"}, {"wbl", "chunks_head"}, {"wbl", "chunks_head", "wal"}} {
		tenants := openTenants(t, dir, opts)
		tenant := sprint("a", len(gone))
		mustWrite(t, tenants, tenant, base+seconds(1), 1, up("1"))
		mustWrite(t, tenants, tenant, base, 1, up("1"))
		if err := tenants.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := tenants.Close(); err != nil {
			t.Fatal(err)
		}
		for _, log := range gone {
			path := filepath.Join(dir, tenant, log)
			if exists(path) {
				rename(t, path, path+goneSuffix)
			}
		}
		mkdir(t, filepath.Join(dir, removedPrefix+"1"))
		touch(t, filepath.Join(dir, removedPrefix+"1", "x"))
		tenants = openTenants(t, dir, opts)
		if got := mustReadAll(t, tenants, equal("tenant_id", tenant)); len(got) != 1 || len(got[0].points) != 2 {
			t.Errorf("with %v gone: %v", gone, got)
		}
		mustWrite(t, tenants, tenant, base+seconds(2), 1, up("1"))
		if left, _ := filepath.Glob(filepath.Join(dir, "*", "*"+goneSuffix)); len(left) > 0 || exists(filepath.Join(dir, removedPrefix+"1")) {
			t.Errorf("with %v gone, %v is left", gone, left)
		}
		if err := tenants.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A broken block of an idle tenant is set aside as that of any other, and the
// others are read.
func TestBrokenBlockOfAnIdleTenant(t *testing.T) {
	leakCheck(t)
	dir := fastTempDir(t)
	opts := TenantsOptions{IdleAfter: atOnce, BlockDuration: time.Minute}
	tenants := openTenants(t, dir, opts)
	mustWrite(t, tenants, "a", base, 1, up("1"))
	mustWrite(t, tenants, "a", base+seconds(60), 1, up("1"))
	compact(t, tenants)
	blocks := closedBlocks(filepath.Join(dir, "a"))
	if len(blocks) != 2 {
		t.Fatalf("%d blocks", len(blocks))
	}
	breakIndex := func(id ulid.ULID) {
		if err := os.Truncate(filepath.Join(dir, "a", id.String(), "index"), 10); err != nil {
			t.Fatal(err)
		}
	}
	breakIndex(blocks[0].id)
	if got := mustReadAll(t, tenants); len(got) != 1 || len(got[0].points) != 1 {
		t.Errorf("read %v", got)
	}
	compact(t, tenants)
	if !exists(filepath.Join(dir, "a", blocks[0].id.String()+brokenSuffix)) {
		t.Error("the block is not set aside")
	}
	if err := tenants.Close(); err != nil {
		t.Fatal(err)
	}
	breakIndex(blocks[1].id)
	tenants = openTenants(t, dir, opts)
	if _, ready := tenants.BlockLabels(filepath.Join(dir, "a"), blocks[1].id); ready {
		t.Error("a broken block is shipped")
	}
	if got := mustReadAll(t, tenants); got != nil {
		t.Errorf("read %v", got)
	}
}

// Blocks that were cut under other external labels are shipped under those.
func TestIdleBlocksKeepTheirLabels(t *testing.T) {
	leakCheck(t)
	dir := fastTempDir(t)
	opts := TenantsOptions{IdleAfter: atOnce, Labels: labels.FromStrings("region", "x")}
	tenants := openTenants(t, dir, opts)
	mustWrite(t, tenants, "a", base, 1, up("1"))
	compact(t, tenants)
	if err := tenants.Close(); err != nil {
		t.Fatal(err)
	}
	opts.Labels = labels.FromStrings("region", "y")
	tenants = openTenants(t, dir, opts)
	id := closedBlocks(filepath.Join(dir, "a"))[0].id
	if external, ready := tenants.BlockLabels(filepath.Join(dir, "a"), id); !ready || external.Get("region") != "x" {
		t.Errorf("labels %v, ready %v", external, ready)
	}
	if got := mustReadAll(t, tenants); len(got) != 1 {
		t.Errorf("before it is shipped: %v", got)
	}
	ship(t, tenants, "a", id)
	if got := mustReadAll(t, tenants); len(got) != 0 {
		t.Errorf("after it was shipped: %v", got)
	}
}

func counterValue(t *testing.T, c prometheus.Counter) float64 {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}
