package receive

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/tsdb"
)

// The child of TestKilledProcessLosesNothing finds its orders here.
const (
	durabilityDir   = "VARVE_TEST_DURABILITY_DIR"
	durabilityStart = "VARVE_TEST_DURABILITY_START"
)

// durabilityOptions have flushes, of which there are many, cut parts of a range
// rather than several ranges each with a checkpoint of the log.
func durabilityOptions() TenantsOptions {
	return TenantsOptions{BlockDuration: 10 * time.Second, OutOfOrderWindow: 4 * time.Second, MinFreeDisk: -1}
}

var durabilityTenants = []string{"a", "b", "c"}

// A process that is killed while it writes, cuts blocks and flushes has, when it
// is started again, every sample of the requests it answered with 2xx, once.
func TestKilledProcessLosesNothing(t *testing.T) {
	leakCheck(t)
	rounds := 20
	if testing.Short() {
		rounds = 4
	}
	dir := fastTempDir(t)
	acknowledged := map[string]map[int64]bool{} // by series
	next, blocks, cutting := base, 0, 0
	for round := range rounds {
		from := next
		// Three kills of four wait for a block that is being written.
		next = runAndKill(t, dir, next, 200+rand.IntN(1200), round%4 > 0, acknowledged)
		if len(unfinishedBlocks(dir)) > 0 {
			cutting++
		}
		blocks = checkAcknowledged(t, dir, acknowledged)
		if t.Failed() {
			t.Fatalf("after kill %d of a process that wrote from %d to %d", round+1, from, next)
		}
	}
	samples := 0
	for _, s := range acknowledged {
		samples += len(s)
	}
	t.Logf("%d kills, %d of them while a block was written, %d acknowledged samples in %d series, %d blocks", rounds, cutting, samples, len(acknowledged), blocks)
	if samples == 0 || blocks == 0 || cutting == 0 && rounds > 4 {
		t.Error("nothing was tested")
	}
}

// fastTempDir returns a directory in memory if there is one: what a killed
// process has written survives it either way, and syncing costs nothing, so
// that more blocks are cut in the same time.
func fastTempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "varve-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// unfinishedBlocks returns the directories of blocks that are being written, or
// were when the process died.
func unfinishedBlocks(dir string) []string {
	found, _ := filepath.Glob(filepath.Join(dir, "*", "*.tmp-for-creation"))
	return found
}

// killWhileCutting kills a process when it next writes a block, at some moment
// of that.
func killWhileCutting(process *os.Process, dir string) {
	deadline := time.Now().Add(2 * time.Second)
	for time.Now().Before(deadline) && len(unfinishedBlocks(dir)) == 0 {
		time.Sleep(50 * time.Microsecond)
	}
	// Of two blocks the one of out-of-order samples is the first.
	time.Sleep(time.Duration(rand.IntN(5000)) * time.Microsecond)
	_ = process.Kill()
}

// runAndKill starts the child, kills it after it has acknowledged n requests,
// or when it writes a block after that, and returns a time after all it has
// written.
func runAndKill(t *testing.T, dir string, start int64, n int, cutting bool, acknowledged map[string]map[int64]bool) (next int64) {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	child := exec.Command(os.Args[0], "-test.run=^TestDurabilityChild$", "-test.count=1")
	child.Env = append(os.Environ(), durabilityDir+"="+dir, durabilityStart+"="+strconv.FormatInt(start, 10))
	child.ExtraFiles = []*os.File{write}
	child.Stderr = os.Stderr
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	_ = write.Close()
	lines := bufio.NewScanner(read)
	next = start
	for i := 0; lines.Scan(); i++ {
		if i == n {
			if cutting {
				go killWhileCutting(child.Process, dir)
			} else {
				_ = child.Process.Kill()
			}
			// What is in the pipe has been acknowledged all the same.
		}
		var tenant string
		var writer int
		var ts int64
		if _, err := fmt.Sscan(lines.Text(), &tenant, &writer, &ts); err != nil {
			t.Errorf("the child says %q", lines.Text())
			break
		}
		for _, s := range durabilitySamples(writer, ts) {
			key := labels.NewBuilder(s.labels).Set("tenant_id", tenant).Labels().String()
			if acknowledged[key] == nil {
				acknowledged[key] = map[int64]bool{}
			}
			acknowledged[key][s.t] = true
		}
		next = max(next, ts)
	}
	_ = child.Wait()
	return next + 1000
}

// checkAcknowledged returns how many blocks there are.
func checkAcknowledged(t *testing.T, dir string, acknowledged map[string]map[int64]bool) (blocks int) {
	t.Helper()
	opts := durabilityOptions()
	tenants, err := OpenTenants(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := tenants.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, tenant := range durabilityTenants {
		blocks += len(blocksOf(t, tenants, tenant))
	}
	for _, tenant := range durabilityTenants {
		checkOnce(t, tenants, tenant)
	}
	missing := map[string]map[int64]bool{}
	for series, samples := range acknowledged {
		missing[series] = maps.Clone(samples)
	}
	for _, s := range mustReadAll(t, tenants) {
		last := int64(0)
		for _, p := range s.points {
			if p.t <= last || p.v != float64(p.t) {
				t.Errorf("%s has %v at %d after %d", s.labels, p.v, p.t, last)
			}
			last = p.t
			delete(missing[s.labels], p.t)
		}
	}
	for series, times := range missing {
		if len(times) > 0 {
			t.Errorf("%s lacks %d of %d acknowledged samples, of %v ms", series, len(times), len(acknowledged[series]), slices.Sorted(maps.Keys(times)))
		}
	}
	return blocks
}

// checkOnce looks below the reader, which merges equal samples, for samples that
// came in order and are stored twice, in two blocks or in one and in memory.
func checkOnce(t *testing.T, tenants *Tenants, tenant string) {
	t.Helper()
	tenants.mu.RLock()
	s := tenants.slots[tenant]
	tenants.mu.RUnlock()
	if s == nil {
		return // Killed before it came into being.
	}
	h, err := s.current(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stores := map[string]tsdb.BlockReader{"memory": h.db.Head()}
	for _, b := range h.db.Blocks() {
		if meta := b.Meta(); !meta.Compaction.FromOutOfOrder() {
			stores[meta.ULID.String()] = b
		}
	}
	where := map[string]string{}
	for name, store := range stores {
		q, err := tsdb.NewBlockChunkQuerier(store, math.MinInt64, math.MaxInt64)
		if err != nil {
			t.Fatal(err)
		}
		series, err := readFrom(t.Context(), q, math.MinInt64, math.MaxInt64)
		if err := errors.Join(err, q.Close()); err != nil {
			t.Fatal(err)
		}
		for _, s := range series {
			for _, p := range s.points {
				key := sprint(s.labels, "@", p.t)
				if other, ok := where[key]; ok {
					t.Errorf("tenant %s: %s is in %s and in %s", tenant, key, other, name)
				}
				where[key] = name
			}
		}
	}
}

type durabilitySample struct {
	labels labels.Labels
	t      int64
}

// durabilitySamples are what a writer stores for a time: four samples in order
// and one that comes late.
func durabilitySamples(writer int, ts int64) (out []durabilitySample) {
	for i := range 4 {
		out = append(out, durabilitySample{up(sprint(writer, "-", i)), ts})
	}
	return append(out, durabilitySample{up(sprint(writer, "-", 0)), ts - 1005})
}

// TestDurabilityChild is the process that gets killed.
func TestDurabilityChild(t *testing.T) {
	dir := os.Getenv(durabilityDir)
	if dir == "" {
		t.Skip("run by TestKilledProcessLosesNothing")
	}
	start, err := strconv.ParseInt(os.Getenv(durabilityStart), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	tenants, err := OpenTenants(dir, durabilityOptions())
	if err != nil {
		t.Fatal(err)
	}
	handler, err := NewHandler(tenants, HandlerOptions{TooFarInFuture: -1})
	if err != nil {
		t.Fatal(err)
	}
	ack := os.NewFile(3, "acknowledgements")
	var clock atomic.Int64
	clock.Store(start)
	for _, tenant := range durabilityTenants {
		for writer := range 2 {
			go func() {
				for {
					ts := clock.Add(2) // Even, so that late ones, which are odd, are new.
					switch status, err := sendDurable(handler, tenant, writer, ts); {
					case err != nil:
						fmt.Fprintln(ack, "failed:", err)
					case status == http.StatusNoContent:
						fmt.Fprintln(ack, tenant, writer, ts)
					default:
						// Another writer was faster, and a flush came between.
					}
				}
			}()
		}
	}
	for {
		time.Sleep(time.Duration(rand.IntN(10)) * time.Millisecond)
		// A pass waits half a second for an appender that is as far behind as
		// time is fast here. A flush has the appenders wait.
		work := tenants.Flush
		if rand.IntN(10) == 0 {
			work = tenants.Compact
		}
		if err := work(context.Background()); err != nil {
			fmt.Fprintln(ack, "failed:", err)
		}
	}
}

// sendDurable sends one request, with the header of its tenant, and returns the
// status of the answer.
func sendDurable(h *Handler, tenant string, writer int, ts int64) (int, error) {
	var msg prompb.WriteRequest
	for _, s := range durabilitySamples(writer, ts) {
		msg.Timeseries = append(msg.Timeseries, prompb.TimeSeries{
			Labels:  prompb.FromLabels(s.labels, nil),
			Samples: []prompb.Sample{{Timestamp: s.t, Value: float64(s.t)}},
		})
	}
	body, err := msg.Marshal()
	if err != nil {
		return 0, err
	}
	req := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(snappy.Encode(nil, body)))
	req.Header.Set(DefaultTenantHeader, tenant)
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, req)
	if rec.Code/100 == 5 {
		return rec.Code, errors.New(rec.Body.String())
	}
	return rec.Code, nil
}
