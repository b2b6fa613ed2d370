package receive

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/storage"
)

// processMemory is what a process has in memory, in MB.
type processMemory struct {
	RSS, PeakRSS float64
	Before       float64 // RSS before there was anything to keep
	Idle         float64 // RSS beyond that when all is idle
	Heap         float64 // live, after a collection
}

// memoryNow reads the memory of this process, as Linux tells it.
func memoryNow() (m processMemory) {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return m
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var kb float64
		if _, err := fmt.Sscanf(lines.Text(), "VmRSS: %f kB", &kb); err == nil {
			m.RSS = kb / 1000
		}
		if _, err := fmt.Sscanf(lines.Text(), "VmHWM: %f kB", &kb); err == nil {
			m.PeakRSS = kb / 1000
		}
	}
	return m
}

// memoryChild returns what a process does to say then what it took, or nil.
func memoryChild(mode string) func(dir string) error {
	return map[string]func(dir string) error{
		"memory-write":   memoryWrite,
		"memory-replay":  memoryReplay,
		"memory-tenants": memoryTenants,
		"memory-floor":   memoryFloor,
		"memory-handler": memoryHandler,
	}[mode]
}

// runMemoryChild runs a process of its own, since memory is counted by process.
func runMemoryChild(b *testing.B, mode, dir string) (m processMemory) {
	b.Helper()
	if runtime.GOOS != "linux" {
		b.Skip("the memory of a process is read from /proc")
	}
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), writeChildMode+"="+mode, writeChildDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		b.Fatalf("%s: %v", mode, err)
	}
	if err := json.Unmarshal(out, &m); err != nil {
		b.Fatalf("%s says %q: %v", mode, out, err)
	}
	return m
}

func say(m processMemory) error { return json.NewEncoder(os.Stdout).Encode(m) }

// memoryAppend appends the same scrapes to a tenant by reference.
func memoryAppend(tenants *Tenants, tenant string, series, scrapes int) error {
	refs := make([]storage.SeriesRef, series)
	lss := make([]labels.Labels, series)
	builder := labels.NewScratchBuilder(10)
	for i := range lss {
		builder.Reset()
		for _, l := range writeLabels(i) {
			builder.Add(l.Name, l.Value)
		}
		lss[i] = builder.Labels()
	}
	for scrape := range scrapes {
		for first := 0; first < series; first += writeRequest {
			app, err := tenants.Appender(context.Background(), tenant)
			if err != nil {
				return err
			}
			for i := first; i < min(series, first+writeRequest); i++ {
				if refs[i], err = app.Append(refs[i], lss[i], 0, writeTime(scrape), writeValue(i, scrape), nil, nil, storage.AOptions{}); err != nil {
					return err
				}
			}
			if err := app.Commit(); err != nil {
				return err
			}
		}
	}
	return nil
}

// memoryWrite is a process that was written to.
func memoryWrite(dir string) error {
	tenants, err := OpenTenants(dir, TenantsOptions{})
	if err != nil {
		return err
	}
	if err := memoryAppend(tenants, DefaultTenant, writeSeries, writeScrapes); err != nil {
		return err
	}
	steady := memoryNow()
	return errors.Join(tenants.Close(), say(steady))
}

// memoryReplay is one that starts again.
func memoryReplay(dir string) error {
	tenants, err := OpenTenants(dir, TenantsOptions{})
	if err != nil {
		return err
	}
	if err := tenants.OpenAll(context.Background()); err != nil {
		return err
	}
	replayed := memoryNow()
	return errors.Join(tenants.Close(), say(replayed))
}

// BenchmarkReplayMemory prints the peak of the memory of a process that replays
// the log of 100,000 series and 20 scrapes, beside what the process had that
// wrote them.
//
//	go test ./receive -run '^$' -bench ReplayMemory -benchtime 1x
func BenchmarkReplayMemory(b *testing.B) {
	for b.Loop() {
		dir := fastTempDir(b)
		steady := runMemoryChild(b, "memory-write", dir)
		replay := runMemoryChild(b, "memory-replay", dir)
		b.ReportMetric(steady.RSS, "steady-MB")
		b.ReportMetric(steady.PeakRSS, "steady-peak-MB")
		b.ReportMetric(replay.PeakRSS, "replay-peak-MB")
		b.ReportMetric(replay.PeakRSS/steady.RSS, "of-steady")
	}
}

const memoryTenantsCount, memoryTenantSeries = 1000, 100

// memoryTenants is a process of many small tenants, each with samples enough for
// a chunk to have gone to its file.
func memoryTenants(dir string) error {
	tenants, err := OpenTenants(dir, TenantsOptions{IdleAfter: time.Nanosecond})
	if err != nil {
		return err
	}
	empty := memoryNow()
	for i := range memoryTenantsCount {
		if err := memoryAppend(tenants, fmt.Sprint("tenant-", i), memoryTenantSeries, 130); err != nil {
			return err
		}
	}
	open := memoryNow()
	open.Before = empty.RSS
	if err := tenants.Compact(context.Background()); err != nil {
		return err
	}
	debug.FreeOSMemory()
	open.Idle = memoryNow().RSS - empty.RSS
	return errors.Join(tenants.Close(), say(open))
}

// BenchmarkTenantsProcess prints what a tenant of 100 series costs a process of
// 1,000 of them, while they are written to and when they are idle.
//
//	go test ./receive -run '^$' -bench TenantsProcess -benchtime 1x
func BenchmarkTenantsProcess(b *testing.B) {
	for b.Loop() {
		m := runMemoryChild(b, "memory-tenants", fastTempDir(b))
		b.ReportMetric(m.RSS, "MB")
		b.ReportMetric(m.PeakRSS, "peak-MB")
		b.ReportMetric((m.RSS-m.Before)/memoryTenantsCount, "MB/tenant")
		b.ReportMetric(m.Idle/memoryTenantsCount*1000, "KB/idle-tenant")
	}
}

const memoryActiveSeries = 200_000

// memoryFloor is a head alone.
func memoryFloor(dir string) error {
	tenants, err := OpenTenants(dir, TenantsOptions{})
	if err != nil {
		return err
	}
	before := heapInUse()
	if err := memoryAppend(tenants, DefaultTenant, memoryActiveSeries, 2); err != nil {
		return err
	}
	m := processMemory{Heap: (heapInUse() - before) / 1e6}
	return errors.Join(tenants.Close(), say(m))
}

// memoryHandler is a Handler before a head, to which the same comes as requests.
func memoryHandler(dir string) error {
	tenants, err := OpenTenants(dir, TenantsOptions{})
	if err != nil {
		return err
	}
	h, err := NewHandler(tenants, HandlerOptions{TooFarInFuture: -1})
	if err != nil {
		return err
	}
	before := heapInUse()
	for scrape := range 2 {
		for first := 0; first < memoryActiveSeries; first += writeRequest {
			msg := &prompb.WriteRequest{}
			for i := first; i < first+writeRequest; i++ {
				msg.Timeseries = append(msg.Timeseries, prompb.TimeSeries{
					Labels:  writeLabels(i),
					Samples: []prompb.Sample{{Timestamp: writeTime(scrape), Value: writeValue(i, scrape)}},
				})
			}
			body, err := msg.Marshal()
			if err != nil {
				return err
			}
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(snappy.Encode(nil, body))))
			if rec.Code != http.StatusNoContent {
				return fmt.Errorf("status %d: %s", rec.Code, rec.Body)
			}
		}
	}
	m := processMemory{Heap: (heapInUse() - before) / 1e6}
	return errors.Join(tenants.Close(), say(m))
}

// BenchmarkSeriesMemory prints the live heap of a Handler that remembers the
// references of 200,000 active series, and of a head that has them and nothing
// else.
//
//	go test ./receive -run '^$' -bench SeriesMemory -benchtime 1x
func BenchmarkSeriesMemory(b *testing.B) {
	for b.Loop() {
		floor := runMemoryChild(b, "memory-floor", fastTempDir(b))
		handler := runMemoryChild(b, "memory-handler", fastTempDir(b))
		b.ReportMetric(floor.Heap, "floor-MB")
		b.ReportMetric(handler.Heap, "handler-MB")
		b.ReportMetric(handler.Heap/floor.Heap, "of-floor")
	}
}
