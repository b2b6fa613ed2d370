package receive

import (
	"encoding/json"
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
	case "floor":
		bare, err := openBareHead(filepath.Join(dir, "bare"))
		if err != nil {
			return err
		}
		f := &writeFloor{to: bare}
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
	return writeUsage{CPU: seconds(u.Utime) + seconds(u.Stime), PeakRSS: peakRSS(), HeapMB: float64(mem.HeapAlloc) / 1e6}
}

// peakRSS is in bytes, or zero where the system does not tell. What getrusage
// has includes the process that started this one.
func peakRSS() int64 {
	status, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kB, _ := strconv.ParseInt(fields[0], 10, 64)
	return kB * 1024
}

// writeFloor appends to a bare head, by reference, what BenchmarkRemoteWrite sends.
type writeFloor struct {
	to   *tsdb.DB
	lss  []labels.Labels
	refs []storage.SeriesRef
}

// openBareHead opens a TSDB as that of a tenant's head, and nothing around it.
func openBareHead(dir string) (*tsdb.DB, error) {
	h := &head{opts: TenantsOptions{}.withDefaults(), stripes: stripesFor(0)}
	db, err := tsdb.Open(dir, nil, nil, h.tsdbOptions(), nil)
	if err != nil {
		return nil, err
	}
	db.DisableCompactions()
	return db, nil
}

func (f *writeFloor) build() {
	builder := labels.NewScratchBuilder(10)
	for i := range writeSeries {
		builder.Reset()
		for _, l := range writeLabels(i) {
			builder.Add(l.Name, l.Value)
		}
		f.lss = append(f.lss, builder.Labels())
	}
	f.refs = make([]storage.SeriesRef, writeSeries)
}

func (f *writeFloor) serve(w http.ResponseWriter, r *http.Request) {
	from, _ := strconv.Atoi(r.FormValue("from"))
	to, _ := strconv.Atoi(r.FormValue("to"))
	before := processUsage()
	for scrape := from; scrape < to; scrape++ {
		inParallel(writeSeries/writeRequest, func(i int) {
			if err := f.append(r, i*writeRequest, scrape); err != nil {
				panic(err) // The benchmark fails for want of an answer.
			}
		})
	}
	u := processUsage()
	u.CPU -= before.CPU
	_ = json.NewEncoder(w).Encode(u)
}

func (f *writeFloor) append(r *http.Request, first, scrape int) error {
	app := f.to.AppenderV2(r.Context())
	for i := first; i < first+writeRequest; i++ {
		var err error
		if f.refs[i], err = app.Append(f.refs[i], f.lss[i], 0, writeTime(scrape), writeValue(i, scrape), nil, nil, storage.AOptions{}); err != nil {
			return err
		}
	}
	return app.Commit()
}
