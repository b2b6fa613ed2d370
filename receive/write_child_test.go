package receive

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"syscall"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
)

const (
	writeChildMode = "VARVE_WRITE_CHILD"
	writeChildDir  = "VARVE_WRITE_CHILD_DIR"
	// writeChildProfile is set by hand to the path that CPU profiles get.
	writeChildProfile = "VARVE_WRITE_PROFILE"
)

// runWriteChild is the process that a benchmark measures. That of
// BenchmarkRemoteWrite ends with its standard input.
func runWriteChild(mode, dir string) error {
	if run := memoryChild(mode); run != nil {
		return run(dir)
	}
	if path := os.Getenv(writeChildProfile); path != "" {
		f, err := os.Create(path + "." + mode)
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	tenants, err := OpenTenants(dir, TenantsOptions{})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	switch mode {
	case "server", "turns", "bytes", "unlimited":
		h, err := NewHandler(tenants, HandlerOptions{TooFarInFuture: -1, Limits: func() *LimitSet { return writeLimits[mode] }})
		if err != nil {
			return err
		}
		mux.Handle("/write", h)
	default:
		bare, err := openBareHead(filepath.Join(dir, "bare"))
		if err != nil {
			return err
		}
		name, _ := strings.CutPrefix(mode, "floor-")
		f := &writeFloor{to: bare, kind: writeKinds[name]}
		f.build()
		mux.HandleFunc("/append", f.serve)
	}
	mux.HandleFunc("/usage", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("gc") {
			runtime.GC()
		}
		_ = json.NewEncoder(w).Encode(processUsage())
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	go func() { _ = http.Serve(listener, mux) }()
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

func processUsage() writeUsage {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	seconds := func(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	return writeUsage{CPU: seconds(u.Utime) + seconds(u.Stime), RSS: statusBytes("VmRSS"), PeakRSS: statusBytes("VmHWM"), HeapMB: float64(mem.HeapAlloc) / 1e6}
}

// profileHeap writes what is live in memory where CPU profiles go.
func profileHeap(mode string) error {
	path := os.Getenv(writeChildProfile)
	if path == "" {
		return nil
	}
	f, err := os.Create(path + "." + mode)
	if err != nil {
		return err
	}
	runtime.GC()
	return errors.Join(pprof.WriteHeapProfile(f), f.Close())
}

// statusBytes returns what the system tells of the memory of this process, or zero
// where it does not. What getrusage has includes the process that started this one.
func statusBytes(name string) int64 {
	status, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(status), name+":")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kB, _ := strconv.ParseInt(fields[0], 10, 64)
	return kB * 1024
}

// writeFloor appends to a bare head, by reference, what a server is sent.
type writeFloor struct {
	to   *tsdb.DB
	kind writeKind
	lss  []labels.Labels
	refs []storage.SeriesRef
	next []writePoint // of the scrape at hand
}

// openBareHead opens a TSDB as that of a tenant's head, and nothing around it.
func openBareHead(dir string) (*tsdb.DB, error) {
	h := &head{dir: dir, opts: TenantsOptions{}.withDefaults()}
	opts := h.tsdbOptions()
	opts.MaxExemplars = int64(h.opts.MaxExemplars) // As it is once they come.
	opts.SeriesLifecycleCallback = nil
	opts.NewCompactorFunc = nil // It is to cut nothing.
	db, err := tsdb.Open(dir, nil, nil, opts, nil)
	if err != nil {
		return nil, err
	}
	db.DisableCompactions()
	return db, nil
}

func (f *writeFloor) build() {
	builder := labels.NewScratchBuilder(10)
	for i := range f.kind.series {
		builder.Reset()
		for _, l := range writeLabels(i) {
			builder.Add(l.Name, l.Value)
		}
		f.lss = append(f.lss, builder.Labels())
	}
	f.refs = make([]storage.SeriesRef, f.kind.series)
	f.next = make([]writePoint, f.kind.series)
}

// serve appends the scrapes that are asked for, and answers with the time that
// appending took. Making the samples is no part of that.
func (f *writeFloor) serve(w http.ResponseWriter, r *http.Request) {
	from, _ := strconv.Atoi(r.FormValue("from"))
	to, _ := strconv.Atoi(r.FormValue("to"))
	var cpu float64
	for scrape := from; scrape < to; scrape++ {
		for i := range f.next {
			f.next[i] = f.kind.point(i, scrape)
		}
		before := processUsage()
		inParallel(f.kind.series/writeRequest, func(i int) {
			if err := f.append(r, i*writeRequest, scrape); err != nil {
				panic(err) // The benchmark fails for want of an answer.
			}
		})
		cpu += processUsage().CPU - before.CPU
	}
	u := processUsage()
	u.CPU = cpu
	_ = json.NewEncoder(w).Encode(u)
}

func (f *writeFloor) append(r *http.Request, first, scrape int) error {
	app := f.to.AppenderV2(r.Context())
	for i := first; i < first+writeRequest; i++ {
		var err error
		p := f.next[i]
		if f.refs[i], err = app.Append(f.refs[i], f.lss[i], 0, writeTime(scrape), p.v, p.h, nil, storage.AOptions{Exemplars: p.exemplars}); err != nil {
			return err
		}
	}
	return app.Commit()
}
