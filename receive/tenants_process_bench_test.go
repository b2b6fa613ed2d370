package receive

import (
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
	CutPeak      float64 // of RSS, while all is cut into blocks
}

// forgetPeak lets PeakRSS count from here on.
func forgetPeak() error { return os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) }

// memoryNow reads the memory of this process, as Linux tells it.
func memoryNow() processMemory {
	return processMemory{RSS: float64(statusBytes("VmRSS")) / 1e6, PeakRSS: float64(statusBytes("VmHWM")) / 1e6}
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

// memoryWriter appends to a tenant by reference.
type memoryWriter struct {
	tenant string
	lss    []labels.Labels
	refs   []storage.SeriesRef
}

func newMemoryWriter(tenant string, series int) *memoryWriter {
	w := &memoryWriter{tenant: tenant, lss: make([]labels.Labels, series), refs: make([]storage.SeriesRef, series)}
	builder := labels.NewScratchBuilder(10)
	for i := range w.lss {
		builder.Reset()
		for _, l := range writeLabels(i) {
			builder.Add(l.Name, l.Value)
		}
		w.lss[i] = builder.Labels()
	}
	return w
}

// of returns a writer of the same series to another tenant.
func (w *memoryWriter) of(tenant string) *memoryWriter {
	other := &memoryWriter{tenant: tenant, refs: make([]storage.SeriesRef, len(w.refs))}
	for _, ls := range w.lss {
		other.lss = append(other.lss, ls.Copy())
	}
	return other
}

// append appends the scrapes from one up to, but not including, another.
func (w *memoryWriter) append(tenants *Tenants, from, to int) error {
	for scrape := from; scrape < to; scrape++ {
		for first := 0; first < len(w.lss); first += writeRequest {
			app, err := tenants.Appender(context.Background(), w.tenant)
			if err != nil {
				return err
			}
			for i := first; i < min(len(w.lss), first+writeRequest); i++ {
				if w.refs[i], err = app.Append(w.refs[i], w.lss[i], 0, writeTime(scrape), writeValue(i, scrape), nil, nil, storage.AOptions{}); err != nil {
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
	if err := newMemoryWriter(DefaultTenant, writeSeries).append(tenants, 0, writeScrapes); err != nil {
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
// the log of 100,000 series and 20 scrapes, beside what the receiver had in its steady
// state that wrote this log, to which they were sent over real HTTP; and beside the
// floor, which is what a process has that appended the same to a head and does
// nothing else.
//
//	go test ./receive -run '^$' -bench ReplayMemory -benchtime 1x
func BenchmarkReplayMemory(b *testing.B) {
	l := writeLoad{"1.0", writeKinds["floats"]}
	scrapes := l.encodeAll(b)
	for range b.N {
		dir := fastTempDir(b)
		c := startWriteChildIn(b, "server", dir)
		client := writeClient()
		for _, bodies := range scrapes {
			l.send(b, c, client, bodies)
		}
		receiver := c.get(b, "/usage")
		client.CloseIdleConnections()
		c.stop()
		replay := runMemoryChild(b, "memory-replay", dir)
		floor := runMemoryChild(b, "memory-write", fastTempDir(b))
		b.ReportMetric(float64(receiver.RSS)/1e6, "steady-MB")
		b.ReportMetric(floor.RSS, "floor-MB")
		b.ReportMetric(replay.PeakRSS, "replay-peak-MB")
		b.ReportMetric(replay.PeakRSS/(float64(receiver.RSS)/1e6), "of-steady")
		b.ReportMetric(replay.PeakRSS/floor.RSS, "of-floor")
	}
}

const (
	memoryTenantsCount, memoryTenantSeries = 1000, 100
	// memoryTenantScrapes are enough for a chunk to be full.
	memoryTenantScrapes = 130
)

// memoryTenants is a process of many small tenants. They come one after another,
// then chunks go to files as in a pass of Run, and then all are written to in turn.
func memoryTenants(dir string) error {
	tenants, err := OpenTenants(dir, TenantsOptions{IdleAfter: time.Nanosecond})
	if err != nil {
		return err
	}
	first := newMemoryWriter("", memoryTenantSeries)
	before := memoryNow().RSS
	var writers []*memoryWriter
	for i := range memoryTenantsCount {
		w := first.of(fmt.Sprint("tenant-", i))
		writers = append(writers, w)
		if err := w.append(tenants, 0, memoryTenantScrapes); err != nil {
			return err
		}
	}
	for _, s := range tenants.slots {
		if err := s.head.maintain(context.Background()); err != nil {
			return err
		}
	}
	for scrape := memoryTenantScrapes; scrape < memoryTenantScrapes+10; scrape++ {
		for _, w := range writers {
			if err := w.append(tenants, scrape, scrape+1); err != nil {
				return err
			}
		}
	}
	open := memoryNow()
	open.Before = before
	open.Heap = heapInUse() / 1e6
	if err := profileHeap("memory-tenants"); err != nil {
		return err
	}
	if err := errors.Join(forgetPeak(), tenants.Compact(context.Background())); err != nil {
		return err
	}
	open.CutPeak = memoryNow().PeakRSS
	debug.FreeOSMemory()
	open.Idle = memoryNow().RSS - before
	return errors.Join(tenants.Close(), say(open))
}

// BenchmarkTenantsProcess prints what a tenant of 100 series costs a process of
// 1,000 of them, while they are written to, while all are cut into blocks, and when
// they are idle; and how far the peak is from the floor, which is what is live.
//
// A profile of what is live gives an empty TSDB 260 KB, which no option changes:
// maps for 512 names of labels (77), the quantiles of a metric (60), a page of the
// log and its compression buffer (65), and more metrics. 100 series take 150. Each
// tenant that is written to between two collections of garbage keeps another 130
// in pools of the head, for exemplars and histograms, too, if there are none.
//
//	go test ./receive -run '^$' -bench TenantsProcess -benchtime 1x
func BenchmarkTenantsProcess(b *testing.B) {
	for b.Loop() {
		m := runMemoryChild(b, "memory-tenants", fastTempDir(b))
		b.ReportMetric(m.RSS, "MB")
		b.ReportMetric(m.PeakRSS, "peak-MB")
		b.ReportMetric(m.CutPeak, "cut-peak-MB")
		b.ReportMetric(m.Heap, "live-MB")
		b.ReportMetric(m.PeakRSS/m.Heap, "peak-of-live")
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
	if err := newMemoryWriter(DefaultTenant, memoryActiveSeries).append(tenants, 0, 2); err != nil {
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
