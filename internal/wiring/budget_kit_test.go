package wiring

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-tsdb/varve/internal/blocktest"
	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/filesystem"
	"github.com/varve-tsdb/varve/query"
	"github.com/varve-tsdb/varve/store"
)

// gridStart is when the samples of a grid begin, in milliseconds.
const gridStart = 1_700_000_000_000

// manyBlocks is a bucket of equal blocks that differ in the external label
// cluster, with an API over it.
type manyBlocks struct {
	grid   blocktest.Grid
	bucket objstore.Bucket
	hist   *store.Bucket
	api    http.Handler
	budget *query.Budget
	last   atomic.Pointer[query.QueryEnd] // of a query that was refused
}

func openBlocks(tb testing.TB, grid blocktest.Grid, blocks int, limits query.BudgetOptions, around func(objstore.Bucket) objstore.Bucket) *manyBlocks {
	tb.Helper()
	grid.MinTime, grid.Step = gridStart, 60_000
	made, dir := tb.TempDir(), filepath.Join(tb.TempDir(), "bucket")
	id := blocktest.WriteGrid(tb, made, grid)
	for i := range blocks {
		blocktest.LinkAs(tb, made, id, dir, labels.FromStrings("cluster", fmt.Sprintf("c-%03d", i)))
	}
	bkt, err := filesystem.NewBucket(dir)
	if err != nil {
		tb.Fatal(err)
	}
	m := &manyBlocks{grid: grid, bucket: &sharedContent{Bucket: bkt, content: map[string][]byte{}}}
	if around != nil {
		m.bucket = around(m.bucket)
	}
	if m.budget, err = query.NewBudget(limits); err != nil {
		tb.Fatal(err)
	}
	if m.hist, err = store.Open(m.bucket, tb.TempDir(), store.Options{Budget: m.budget}); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := m.hist.Close(); err != nil {
			tb.Error(err)
		}
	})
	if err := m.hist.Sync(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	engine, err := query.NewEngine(query.EngineOptions{})
	if err != nil {
		tb.Fatal(err)
	}
	if m.api, err = query.NewHandler(engine, m.hist, query.HandlerOptions{Budget: m.budget, OnQuery: func(_ context.Context, e query.QueryEnd) {
		if e.Err != nil {
			m.last.Store(&e)
		}
	}}); err != nil {
		tb.Fatal(err)
	}
	return m
}

// sharedContent holds the content of blocks that all have the same in memory,
// once, and hands it out in pieces as a network does, so that what is measured is
// the reader and not the file system.
type sharedContent struct {
	objstore.Bucket
	mu      sync.Mutex
	content map[string][]byte // by name within a block
}

func (b *sharedContent) GetRange(ctx context.Context, name string, off, length int64) (io.ReadCloser, error) {
	_, within, _ := strings.Cut(name, "/")
	b.mu.Lock()
	defer b.mu.Unlock()
	all, ok := b.content[within]
	if !ok {
		r, err := b.Bucket.Get(ctx, name)
		if err != nil {
			return nil, err
		}
		defer r.Close()
		if all, err = io.ReadAll(r); err != nil {
			return nil, err
		}
		b.content[within] = slices.Clip(slices.Clone(all))
	}
	return io.NopCloser(&pieces{bytes.NewReader(all[min(off, int64(len(all))):min(off+length, int64(len(all)))])}), nil
}

type pieces struct{ r io.Reader }

func (p *pieces) Read(b []byte) (int, error) { return p.r.Read(b[:min(len(b), 64<<10)]) }

// answered is what the API said.
type answered struct {
	code   int
	header http.Header
	took   time.Duration
	Status string
	Error  string
	Data   struct {
		Result []struct {
			Metric map[string]string
			Value  [2]any
		}
		Stats struct {
			Cost query.CostReport
		}
	}
}

// ask asks an instant query of the end of the grid, or, with a window, of all of
// it.
func (m *manyBlocks) ask(tb testing.TB, expr string) answered {
	tb.Helper()
	at := float64(m.grid.MaxTime()) / 1000
	target := "/api/v1/query?" + url.Values{"query": {expr}, "time": {fmt.Sprintf("%.3f", at)}, "stats": {"all"}}.Encode()
	began, w := time.Now(), httptest.NewRecorder()
	m.api.ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
	a := answered{code: w.Code, header: w.Header(), took: time.Since(began)}
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
		tb.Fatalf("%s: %v", w.Body, err)
	}
	return a
}

// liveHeap is how many bytes of the heap are in use once garbage is collected.
func liveHeap() int64 {
	runtime.GC()
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64())
}

// peakHeap runs f and returns the most that the live heap exceeded what it was
// before, as seen from one collection to the next.
func peakHeap(f func()) int64 {
	before := liveHeap()
	var peak atomic.Int64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				peak.Store(max(peak.Load(), liveHeap()-before))
			}
		}
	}()
	f()
	close(stop)
	<-stopped
	return peak.Load()
}

// all are the queries that touch everything: of a moment, and of the whole range
// of the blocks.
func (m *manyBlocks) all() (instant, whole string) {
	return `count by (__name__) ({__name__=~".+"})`,
		fmt.Sprintf(`count by (__name__) (count_over_time({__name__=~".+"}[%dm]))`, m.grid.Samples+1)
}
