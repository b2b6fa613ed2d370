package receive

import (
	"bytes"
	"encoding/hex"
	"errors"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/wlog"
	"pgregory.net/rapid"
)

// flip damages one byte of a file.
func flip(t *testing.T, file string, at int) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	raw[at] ^= 0xff
	if err := os.WriteFile(file, raw, 0o666); err != nil {
		t.Fatal(err)
	}
}

// written returns how many bytes of a segment are no padding.
func written(t *testing.T, segment string) int {
	t.Helper()
	raw, err := os.ReadFile(segment)
	if err != nil {
		t.Fatal(err)
	}
	return len(bytes.TrimRight(raw, "\x00"))
}

func logged() (*slog.Logger, *bytes.Buffer) {
	var log bytes.Buffer
	return slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelError})), &log
}

// wide has so long a label that the record of it takes a third of a page.
func wide(name string) labels.Labels {
	random := make([]byte, 6000) // Compressing it does not help.
	_, _ = rand.NewChaCha8([32]byte([]byte(name + strings.Repeat(" ", 32-len(name))))).Read(random)
	return labels.FromStrings("__name__", name, "long", hex.EncodeToString(random))
}

// Whether there are samples out of order, or a restart after the repair, what is
// behind a damage in the write-ahead log is kept, and what mapped chunks hold.
func TestDamagedLogKeepsWhatCanBeRead(t *testing.T) {
	leakCheck(t)
	const n = 2000 // A page and a half of log, and chunks of all but some in the last half.
	for name, late := range map[string]int{"in order": 0, "one out of order": 1, "many out of order": 100} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			opts := TenantsOptions{OutOfOrderWindow: 4 * time.Hour, BlockDuration: 24 * time.Hour}
			tenants := openTenants(t, dir, opts)
			for i := range n {
				mustWrite(t, tenants, "a", base+seconds(5*i), 1, up("1"))
			}
			for i := range late {
				mustWrite(t, tenants, "a", base+seconds(5*i)+1, 1, up("1"))
			}
			if err := errors.Join(tenants.Compact(t.Context()), tenants.Close()); err != nil {
				t.Fatal(err)
			}
			segment := wlog.SegmentName(filepath.Join(dir, "a", "wal"), 0)
			if written(t, segment) < logPageSize+4000 {
				t.Fatal("the log is shorter than was thought")
			}
			flip(t, segment, 2000)
			opts.Logger, _ = logged()
			for restart := range 3 {
				tenants = openTenants(t, dir, opts)
				got := mustReadAll(t, tenants)
				if len(got) != 1 || len(got[0].points) != n+late {
					t.Fatalf("after %d restarts %d of %d samples", restart, len(got[0].points), n+late)
				}
				seen := map[int64]bool{}
				for _, p := range got[0].points {
					if seen[p.t] {
						t.Fatalf("the sample at %d is there twice", p.t)
					}
					seen[p.t] = true
				}
				if restart == 2 {
					break
				}
				if err := tenants.Close(); err != nil {
					t.Fatal(err)
				}
			}
			broken := filepath.Join(dir, "a", "logs.broken")
			if aside, err := filepath.Glob(broken + "/wal-00000000"); len(aside) != 1 || err != nil {
				t.Errorf("the damaged segment is not kept: %v", err)
			}
			before := len(mustReadAll(t, tenants)[0].points)
			mustWrite(t, tenants, "a", base+seconds(5*n), 1, up("1"))
			if err := errors.Join(tenants.Flush(t.Context()), tenants.Compact(t.Context())); err != nil {
				t.Fatal(err)
			}
			if exists(broken) {
				t.Error("the damaged segment is still kept after blocks have been cut")
			}
			stored := 0
			for _, b := range blocksOf(t, tenants, "a") {
				stored += int(b.Stats.NumSamples)
			}
			if stored != before+1 {
				t.Errorf("%d samples in blocks, want %d", stored, before+1)
			}
		})
	}
}

// A damaged log of out-of-order samples is told of like any other, and what is
// behind the damage is kept.
func TestDamageInTheLogOfOutOfOrderSamplesIsTold(t *testing.T) {
	leakCheck(t)
	const n = 3000
	dir := t.TempDir()
	opts := TenantsOptions{OutOfOrderWindow: 2 * time.Hour}
	tenants := openTenants(t, dir, opts)
	mustWrite(t, tenants, "a", base+seconds(3600), 1, up("1"))
	for i := range n {
		mustWrite(t, tenants, "a", base+seconds(i), 1, up("1"))
	}
	if err := tenants.Close(); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(dir, "a", wlog.WblDirName)
	if marked, err := hasMarkers(log); err != nil || !marked {
		t.Fatalf("the log has no markers, %v", err)
	}
	flip(t, wlog.SegmentName(log, 0), logPageSize+100)
	// What chunks have of it is not what is tested here.
	if err := os.RemoveAll(filepath.Join(dir, "a", "chunks_head")); err != nil {
		t.Fatal(err)
	}
	var said *bytes.Buffer
	opts.Logger, said = logged()
	tenants = openTenants(t, dir, opts)
	got := mustReadAll(t, tenants)
	first, last := got[0].points[0].t, got[0].points[len(got[0].points)-2].t
	if len(got[0].points) > n || first != base || last != base+seconds(n-1) {
		t.Errorf("%d samples from %d to %d", len(got[0].points), first-base, last-base)
	}
	for _, want := range []string{"out-of-order", "segments=1", "bytes=", "from=2023-11-15T0", "to=2023-11-15T0", "logs.broken"} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("the log lacks %q: %s", want, said)
		}
	}
	m := tenants.metrics
	if r, s, b := testutil.ToFloat64(m.repairs), testutil.ToFloat64(m.logSegmentsDamaged), testutil.ToFloat64(m.logBytesLost); r != 1 || s != 1 || b < 1000 || b > logPageSize {
		t.Errorf("%v repairs of %v segments lost %v bytes", r, s, b)
	}
	if aside, err := filepath.Glob(filepath.Join(dir, "a", "logs.broken", "wbl-00000000")); len(aside) != 1 || err != nil {
		t.Errorf("the damaged segment is not kept: %v", err)
	}
}

// Samples of a series whose record was in the damage are counted as lost, and
// are not taken for those of a series that comes later.
func TestSamplesThatLostTheirSeriesStayLost(t *testing.T) {
	leakCheck(t)
	dir := t.TempDir()
	opts := TenantsOptions{OutOfOrderWindow: 2 * time.Hour}
	tenants := openTenants(t, dir, opts)
	mustWrite(t, tenants, "a", base, 1, up("1"))
	mustWrite(t, tenants, "a", base+seconds(100), 1, wide("lost"))
	for i := range 5 { // On to another page.
		mustWrite(t, tenants, "a", base+seconds(100), 1, wide(sprint("w", i)))
	}
	for i := range 20 {
		mustWrite(t, tenants, "a", base+seconds(101+i), 1, wide("lost"))
		mustWrite(t, tenants, "a", base+seconds(50+i), 1, wide("lost"))
	}
	if err := tenants.Close(); err != nil {
		t.Fatal(err)
	}
	wal := filepath.Join(dir, "a", "wal")
	forgetSeries(t, wlog.SegmentName(wal, 0), "lost")

	var said *bytes.Buffer
	opts.Logger, said = logged()
	tenants = openTenants(t, dir, opts)
	if got := mustReadAll(t, tenants, equal("__name__", "lost")); len(got) != 0 {
		t.Fatalf("the series is known: %v", got[0].points)
	}
	if lost := testutil.ToFloat64(tenants.metrics.logSamplesLost); lost != 41+20 {
		t.Errorf("%v samples are said to be lost, want 41 in one log and 20 of them in the other: %s", lost, said)
	}
	if !strings.Contains(said.String(), "samples_without_series=41 samples_from=2023-11-15T00:00:50.000Z samples_to=2023-11-15T00:02:00.000Z") {
		t.Errorf("their times are not told: %s", said)
	}
	for restart := range 3 {
		instance := sprint("new-", restart)
		mustWrite(t, tenants, "a", base+seconds(1000+restart), 1, up(instance))
		if err := tenants.Close(); err != nil {
			t.Fatal(err)
		}
		tenants = openTenants(t, dir, opts)
		if got := mustReadAll(t, tenants, equal("instance", instance)); len(got) != 1 || len(got[0].points) != 1 {
			t.Errorf("a new series has %v", got)
		}
	}
}

// forgetSeries damages the fragment of a segment in which a series of that name
// is recorded.
func forgetSeries(t *testing.T, segment, name string) {
	t.Helper()
	raw, err := os.ReadFile(segment)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.LastIndex(raw, []byte(name))
	if at < 0 {
		t.Fatal("it is not recorded there in plain")
	}
	flip(t, segment, at)
}

// withCheckpoint makes a tenant in dir whose log has a checkpoint, and closes it.
// It returns how many samples are in blocks.
func withCheckpoint(t *testing.T, dir string) (opts TenantsOptions, checkpoint string, cut int) {
	t.Helper()
	opts = TenantsOptions{BlockDuration: 10 * time.Second}
	tenants := openTenants(t, dir, opts)
	for i := range 100 {
		mustWrite(t, tenants, "a", base+seconds(i), 1, up("1"))
		if err := tenants.Compact(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range blocksOf(t, tenants, "a") {
		cut += int(b.Stats.NumSamples)
	}
	if err := tenants.Close(); err != nil {
		t.Fatal(err)
	}
	checkpoint, _, err := wlog.LastCheckpoint(filepath.Join(dir, "a", "wal"))
	if err != nil {
		t.Fatal(err)
	}
	return opts, checkpoint, cut
}

func TestDamagedCheckpointIsRepaired(t *testing.T) {
	leakCheck(t)
	dir := t.TempDir()
	opts, checkpoint, _ := withCheckpoint(t, dir)
	flip(t, wlog.SegmentName(checkpoint, 0), 10)
	opts.Logger, _ = logged()
	tenants := openTenants(t, dir, opts)
	got := mustReadAll(t, tenants)
	blocks := blocksOf(t, tenants, "a")
	if end := blocks[len(blocks)-1].MaxTime; len(got) != 1 || got[0].points[len(got[0].points)-1].t < end-seconds(1) {
		t.Errorf("read %v, want what is in blocks", got)
	}
	mustWrite(t, tenants, "a", base+seconds(200), 1, up("1"))
}

// Whatever is damaged: what is read had been written, and what is missing is
// accounted for.
func TestDamageIsAccountedFor(t *testing.T) {
	leakCheckButLogs(t)
	rapid.Check(t, func(rt *rapid.T) {
		dir := fastTempDir(t)
		opts := TenantsOptions{OutOfOrderWindow: time.Hour, MinFreeDisk: -1}
		tenants := openTenants(t, dir, opts)
		n := rapid.IntRange(1, 25).Draw(rt, "rounds")
		for i := range n {
			mustWrite(t, tenants, "a", base+seconds(i), float64(i%5), wide(sprint("w", i%5)))
			if i%3 == 0 {
				mustWrite(t, tenants, "a", base-seconds(i+1), float64(i%5), wide(sprint("w", i%5)))
			}
		}
		if err := tenants.Close(); err != nil {
			rt.Fatal(err)
		}
		for range rapid.IntRange(1, 3).Draw(rt, "damages") {
			segment := wlog.SegmentName(filepath.Join(dir, "a", rapid.SampledFrom([]string{"wal", "wbl"}).Draw(rt, "log")), 0)
			flip(t, segment, rapid.IntRange(0, written(t, segment)-1).Draw(rt, "at"))
		}
		covers := surveyed(t, filepath.Join(dir, "a"))
		opts.Logger, _ = logged()
		for restart := range 2 { // The second finds nothing to repair.
			tenants = openTenants(t, dir, opts)
			there, seen := 0, map[int64]bool{}
			for _, s := range mustReadAll(t, tenants) {
				for _, p := range s.points {
					there, seen[p.t] = there+1, true
					if !strings.Contains(s.labels, sprint(`"w`, p.v, `"`)) {
						rt.Fatalf("%.40s has a sample of w%v", s.labels, p.v)
					}
				}
			}
			m := tenants.metrics
			if repaired := testutil.ToFloat64(m.repairs) > 0; repaired && restart > 0 {
				rt.Fatal("what has been repaired is repaired again")
			}
			if restart == 0 && there < n+(n+2)/3 && testutil.ToFloat64(m.logBytesLost)+testutil.ToFloat64(m.logSamplesLost) == 0 {
				rt.Fatalf("%d of %d samples are there and nothing is said to be lost", there, n+(n+2)/3)
			}
			for i := range n {
				if at := base + seconds(i); !seen[at] && !covers(at) {
					rt.Fatalf("the sample of second %d is missing, and not in the time that is told", i)
				}
			}
			if err := tenants.Close(); err != nil {
				rt.Fatal(err)
			}
		}
	})
}

// surveyed returns whether a time is within what the damaged logs are said to
// have lost.
func surveyed(t *testing.T, dir string) (covers func(ms int64) bool) {
	t.Helper()
	var losses []logLoss
	known := newLogSurvey()
	for _, log := range []string{"wal", "wbl"} {
		segments, err := wholeLog(filepath.Join(dir, log), -1)
		if err != nil {
			t.Fatal(err)
		}
		survey := newLogSurvey()
		if err := errors.Join(survey.read(segments), known.read(segments)); err != nil {
			t.Fatal(err)
		}
		losses = append(losses, survey.end(known.known))
	}
	return func(ms int64) bool {
		for _, l := range losses {
			if l.orphans.n > 0 && l.orphans.mint <= ms && ms <= l.orphans.maxt {
				return true
			}
			if l.bytes > 0 && (l.sinceStart || l.around.mint <= ms) && (l.untilTheEnd || ms <= l.around.maxt) {
				return true
			}
		}
		return false
	}
}
