package receive

import (
	"context"
	"crypto/rand"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"go.uber.org/goleak"
)

// breakChunkWrites makes the TSDB of a tenant panic when it next writes a
// chunk. Opening the tenant again repairs it.
func breakChunkWrites(t *testing.T, tenants *Tenants, tenant string) {
	t.Helper()
	dir := filepath.Join(tenants.dir, tenant, "chunks_head")
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o666); err != nil {
		t.Fatal(err)
	}
}

// breakOpening keeps a tenant from being opened by a block that cannot be told
// to be broken.
func breakOpening(t *testing.T, tenants *Tenants, tenant string) (repair func()) {
	t.Helper()
	id := ulid.MustNew(1, rand.Reader).String()
	dir := filepath.Join(tenants.dir, tenant, id)
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "meta.json"), []byte(`{"version":1,"ulid":"`+id+`"}`), 0o666); err != nil {
		t.Fatal(err)
	}
	symlink(t, filepath.Join(dir, "chunks"))
	return func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
}

// symlink makes a link to itself, which the operating system refuses to open
// for a reason that says nothing of what it should have been.
func symlink(t *testing.T, path string) {
	t.Helper()
	if err := os.Symlink(filepath.Base(path), path); err != nil {
		t.Fatal(err)
	}
}

func wantFailed(t *testing.T, what string, err error, tenant string) {
	t.Helper()
	var typed *TenantError
	if !errors.Is(err, ErrTenantFailed) || !errors.As(err, &typed) || typed.Tenant != tenant || !typed.Retryable() {
		t.Errorf("%s: %v, want ErrTenantFailed for %s", what, err, tenant)
	}
}

// leakCheckButLogs is leakCheck without the goroutines of write-ahead logs: a
// TSDB that fails to open, or panics while closing, leaves its own running.
func leakCheckButLogs(t *testing.T) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		goleak.VerifyNone(t, before, goleak.IgnoreAnyFunction("github.com/prometheus/prometheus/tsdb/wlog.(*WL).run"))
	})
}

// The TSDB panics when the disk fails under it. That is one tenant's matter.
func TestFailingDiskFailsOneTenantUntilItIsRepaired(t *testing.T) {
	leakCheckButLogs(t)
	tenants := openTenants(t, t.TempDir(), TenantsOptions{})
	for i := range 300 {
		mustWrite(t, tenants, "bad", base+seconds(i), 1, up("1"))
		mustWrite(t, tenants, "good", base+seconds(i), 1, up("1"))
	}
	open, err := tenants.Appender(t.Context(), "bad")
	if err != nil {
		t.Fatal(err)
	}
	breakChunkWrites(t, tenants, "bad")

	err = tenants.Compact(t.Context())
	wantFailed(t, "the pass", err, "bad")
	if strings.Contains(err.Error(), "good") {
		t.Errorf("the other tenant is named in %v", err)
	}
	_, err = open.Append(0, up("1"), 0, base+seconds(300), 1, nil, nil, storage.AOptions{})
	wantFailed(t, "append by an appender from before", err, "bad")
	wantFailed(t, "commit by an appender from before", open.Commit(), "bad")
	wantFailed(t, "write", write(t.Context(), tenants, "bad", base+seconds(301), 1, up("1")), "bad")
	mustWrite(t, tenants, "good", base+seconds(301), 1, up("1"))
	if got := mustReadAll(t, tenants); len(got) != 2 || len(got[0].points) != 300 || len(got[1].points) != 301 {
		t.Errorf("reading beside the failure: %v", labelsOf(got))
	}

	// It cannot be replaced yet.
	repair := breakOpening(t, tenants, "bad")
	wantFailed(t, "a second pass", tenants.Compact(t.Context()), "bad")
	wantFailed(t, "write", write(t.Context(), tenants, "bad", base+seconds(302), 1, up("1")), "bad")
	if _, err := read(t.Context(), tenants, base, base+seconds(1000)); !errors.Is(err, ErrTenantFailed) {
		t.Errorf("strict read of everything: %v", err)
	}
	got, err := read(t.Context(), tenants, base, base+seconds(1000), equal("tenant_id", "good"))
	if err != nil || len(got) != 1 {
		t.Errorf("strict read of the good tenant: %v, %v", labelsOf(got), err)
	}
	wantPartial(t, tenants)

	repair()
	if err := tenants.Compact(t.Context()); err != nil {
		t.Fatalf("after the repair: %v", err)
	}
	mustWrite(t, tenants, "bad", base+seconds(303), 1, up("1"))
	if got := mustReadAll(t, tenants, equal("tenant_id", "bad")); len(got) != 1 || len(got[0].points) != 301 {
		t.Errorf("after the repair: %d samples", len(got[0].points))
	}
}

// wantPartial reads with partial answers allowed, which must name the tenant.
func wantPartial(t *testing.T, tenants *Tenants) {
	t.Helper()
	q, err := tenants.ChunkQuerier(math.MinInt64, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	set := q.Select(partially(t.Context()), true, nil, equal(model.MetricNameLabel, "up"))
	n := 0
	for set.Next() {
		n++
	}
	if n != 1 || set.Err() != nil || !strings.Contains(sprint(set.Warnings().AsErrors()), `tenant "bad"`) {
		t.Errorf("partial read: %d series, warnings %v, %v", n, set.Warnings(), set.Err())
	}
	names, warnings, err := q.LabelNames(partially(t.Context()), nil)
	if len(names) == 0 || err != nil || len(warnings) != 1 {
		t.Errorf("partial label names: %v, %v, %v", names, warnings, err)
	}
	streams := 0
	tenants.Streams(func(labels.Labels, int64, int64) bool { streams++; return true })
	if streams != 2 {
		t.Errorf("%d streams, want the failed one among 2", streams)
	}
}

// A panic in the middle of a commit leaves locks of the TSDB held.
func TestPanicInCommitFailsTheTenant(t *testing.T) {
	leakCheckButLogs(t)
	tenants := openTenants(t, t.TempDir(), TenantsOptions{OutOfOrderWindow: time.Hour})
	mustWrite(t, tenants, "bad", base, 1, up("1"), up("2"))
	mustWrite(t, tenants, "good", base, 1, up("1"))
	breakChunkWrites(t, tenants, "bad")
	acknowledged := 1
	var err error
	for i := 1; err == nil && i < 100; i++ {
		if err = write(t.Context(), tenants, "bad", base-seconds(i), 1, up("1")); err == nil {
			acknowledged++
		}
	}
	wantFailed(t, "commit", err, "bad")
	if _, err := read(t.Context(), tenants, math.MinInt64, math.MaxInt64); !errors.Is(err, ErrTenantFailed) {
		t.Errorf("strict read: %v", err)
	}
	mustWrite(t, tenants, "good", base+1, 1, up("1"))
	if err := tenants.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := mustReadAll(t, tenants, equal("tenant_id", "bad"), equal("instance", "1"))
	if len(got) != 1 || len(got[0].points) < acknowledged {
		t.Errorf("of %d acknowledged samples there are %v", acknowledged, got)
	}
	mustWrite(t, tenants, "bad", base+1, 1, up("1"))
}

func TestDamagedLogIsRepaired(t *testing.T) {
	leakCheck(t)
	dir := t.TempDir()
	opts := TenantsOptions{OutOfOrderWindow: time.Hour}
	tenants := openTenants(t, dir, opts)
	for _, tenant := range []string{"bad", "good"} {
		for i := range 50 {
			mustWrite(t, tenants, tenant, base+seconds(i), 1, up("1"))
			mustWrite(t, tenants, tenant, base-seconds(i+1), 1, up("1"))
		}
	}
	if err := tenants.Close(); err != nil {
		t.Fatal(err)
	}
	segment := filepath.Join(dir, "bad", "wal", "00000000")
	raw, err := os.ReadFile(segment)
	if err != nil {
		t.Fatal(err)
	}
	// Two thirds into what was written; the rest of the page is zero.
	written := len(strings.TrimRight(string(raw), "\x00"))
	raw[written*2/3] ^= 0xff
	if err := os.WriteFile(segment, raw, 0o666); err != nil {
		t.Fatal(err)
	}

	tenants = openTenants(t, dir, opts)
	if got := mustReadAll(t, tenants, equal("tenant_id", "good")); len(got) != 1 || len(got[0].points) != 100 {
		t.Errorf("the other tenant has %v", got)
	}
	got := mustReadAll(t, tenants, equal("tenant_id", "bad"))
	inOrder, late := 0, 0
	for _, p := range got[0].points {
		if p.t < base {
			late++
		} else {
			inOrder++
		}
	}
	if inOrder < 20 || inOrder >= 50 || late != 50 {
		t.Errorf("%d samples in order, want most of those before the damage; %d out of order, want all 50, whose log is whole", inOrder, late)
	}
	mustWrite(t, tenants, "bad", base+seconds(60), 1, up("1"))
	if err := tenants.Close(); err != nil {
		t.Fatal(err)
	}
	tenants = openTenants(t, dir, opts)
	if got := mustReadAll(t, tenants, equal("tenant_id", "bad")); len(got[0].points) != inOrder+late+1 {
		t.Errorf("after another start there are %d samples, want %d", len(got[0].points), inOrder+late+1)
	}
}

func TestTenantThatCannotBeOpenedIsTriedAgain(t *testing.T) {
	leakCheckButLogs(t)
	dir := t.TempDir()
	tenants := openTenants(t, dir, TenantsOptions{})
	mustWrite(t, tenants, "bad", base, 1, up("1"))
	mustWrite(t, tenants, "good", base, 1, up("1"))
	if err := errors.Join(tenants.Flush(t.Context()), tenants.Close()); err != nil {
		t.Fatal(err)
	}
	index, err := filepath.Glob(filepath.Join(dir, "bad", "*", "index"))
	if err != nil || len(index) != 1 {
		t.Fatal(index, err)
	}
	if err := os.Rename(index[0], index[0]+".away"); err != nil {
		t.Fatal(err)
	}
	symlink(t, index[0])

	tenants = openTenants(t, dir, TenantsOptions{})
	err = write(t.Context(), tenants, "bad", base+1, 1, up("1"))
	wantFailed(t, "write", err, "bad")
	if !strings.Contains(err.Error(), filepath.Base(filepath.Dir(index[0]))) {
		t.Errorf("the broken block is not named: %v", err)
	}
	mustWrite(t, tenants, "good", base+1, 1, up("1"))
	wantPartial(t, tenants)
	wantFailed(t, "flush", tenants.Flush(t.Context()), "bad")
	dirs := 0
	tenants.BlockDirs(func(string, labels.Labels) bool { dirs++; return true })
	if dirs != 2 {
		t.Errorf("%d block directories, want those of both tenants", dirs)
	}

	wantFailed(t, "the first pass", tenants.Compact(t.Context()), "bad")
	if err := tenants.Compact(t.Context()); err != nil {
		t.Errorf("the tenant was tried again at once: %v", err)
	}
	if err := os.Rename(index[0]+".away", index[0]); err != nil {
		t.Fatal(err)
	}
	tenants.slots["bad"].retryAt = time.Time{}
	if err := tenants.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, tenants, "bad", base+1, 1, up("1"))
}

func TestReopenDelay(t *testing.T) {
	for before, want := range map[int]time.Duration{0: 0, 1: 5 * time.Second, 2: 10 * time.Second, 4: 40 * time.Second, 20: 5 * time.Minute, 1000: 5 * time.Minute} {
		if got := reopenDelay(before); got != want {
			t.Errorf("after %d failures in a row: %v, want %v", before, got, want)
		}
	}
}

func TestTenantOfAnotherProcessIsLeftAlone(t *testing.T) {
	leakCheck(t)
	dir := t.TempDir()
	other, err := tsdb.Open(filepath.Join(dir, "taken"), nil, nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	tenants := openTenants(t, dir, TenantsOptions{})
	err = write(t.Context(), tenants, "taken", base, 1, up("1"))
	wantFailed(t, "write", err, "taken")
	if !strings.Contains(err.Error(), "lock") {
		t.Errorf("the lock is not named: %v", err)
	}
	mustWrite(t, tenants, "free", base, 1, up("1"))
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if err := tenants.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, tenants, "taken", base, 1, up("1"))
}

func TestFullDiskRefusesWritesAndReadsGoOn(t *testing.T) {
	leakCheck(t)
	dir := t.TempDir()
	tenants := openTenants(t, dir, TenantsOptions{})
	for i := range 300 {
		mustWrite(t, tenants, "a", base+seconds(i), 1, up("1"))
	}
	tenants.space.min = math.MaxInt64
	err := write(t.Context(), tenants, "a", base+seconds(300), 1, up("1"))
	var typed *TenantError
	if !errors.Is(err, ErrNoSpace) || !errors.As(err, &typed) || !typed.Retryable() {
		t.Errorf("write: %v", err)
	}
	if err := tenants.Compact(t.Context()); err != nil {
		t.Errorf("pass: %v", err)
	}
	if got := mustReadAll(t, tenants); len(got) != 1 || len(got[0].points) != 300 {
		t.Errorf("read: %v", got)
	}
	tenants.space.min = 1
	mustWrite(t, tenants, "a", base+seconds(300), 1, up("1"))
	if err := tenants.Close(); err != nil {
		t.Fatal(err)
	}

	tenants = openTenants(t, dir, TenantsOptions{MinFreeDisk: math.MaxInt64})
	if _, err := read(t.Context(), tenants, base, base); !errors.Is(err, ErrNoSpace) {
		t.Errorf("read of what could not be opened: %v", err)
	}
	tenants.space.min = 1
	if err := tenants.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := mustReadAll(t, tenants); len(got) != 1 || len(got[0].points) != 301 {
		t.Errorf("after there was space: %v", got)
	}
}

func TestFailedLogIsReplaced(t *testing.T) {
	leakCheck(t)
	tenants := openTenants(t, t.TempDir(), TenantsOptions{})
	mustWrite(t, tenants, "a", base, 1, up("1"))
	h, err := tenants.slots["a"].state()
	if err != nil {
		t.Fatal(err)
	}
	_ = h.fail("write to the write-ahead log", errors.New("input/output error"), false)
	wantFailed(t, "write", write(t.Context(), tenants, "a", base+1, 1, up("1")), "a")
	if got := mustReadAll(t, tenants); len(got) != 1 {
		t.Errorf("reads go on: %v", got)
	}

	// Not while it is being read.
	q, err := tenants.ChunkQuerier(base, base)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := readFrom(t.Context(), q, base, base); err != nil || len(got) != 1 {
		t.Fatal(got, err)
	}
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := tenants.Compact(short); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "queriers") {
		t.Errorf("a pass while it is read: %v", err)
	}
	if err := errors.Join(q.Close(), tenants.Compact(t.Context())); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, tenants, "a", base+1, 1, up("1"))
}

func TestOneTenantsWorkHoldsUpNoOther(t *testing.T) {
	leakCheck(t)
	tenants := openTenants(t, t.TempDir(), TenantsOptions{})
	slow, err := tenants.slotFor("slow")
	if err != nil {
		t.Fatal(err)
	}
	if err := slow.lock(t.Context()); err != nil { // As if it were being opened.
		t.Fatal(err)
	}
	mustWrite(t, tenants, "quick", base, 1, up("1"))
	short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := tenants.Appender(short, "slow"); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), `"slow"`) {
		t.Errorf("the slow tenant: %v", err)
	}
	slow.unlock()
	mustWrite(t, tenants, "slow", base, 1, up("1"))
}
