package wiring

import (
	"context"
	"errors"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"

	"github.com/varve-tsdb/varve/dedup"
	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/cache"
	"github.com/varve-tsdb/varve/objstore/filesystem"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
	"github.com/varve-tsdb/varve/query"
	"github.com/varve-tsdb/varve/store"
)

// The bucket of the figures: 30 ms to the first byte, 100 MB/s a request.
var historySlow = objstoretest.SlowOptions{FirstByte: 30 * time.Millisecond, BytesPerSecond: 100e6}

// historyFloor is what one query takes if the bucket is all it waits for: three
// reads of which each must know the answer of the one before, postings, series
// and chunks.
const historyFloor = 3 * 30 * time.Millisecond

type historyQuery struct {
	expr       string
	back, step time.Duration // both 0 for an instant query
}

var historyQueries = []historyQuery{
	{`node_memory_12_bytes{instance="10.0.6.3:9100"}`, 7 * 24 * time.Hour, 30 * time.Minute},
	{`sum by (job) (rate(http_requests_23_total[5m]))`, 24 * time.Hour, 5 * time.Minute},
	{`sum by (job) (rate(http_requests_23_total[5m]))`, 7 * 24 * time.Hour, 30 * time.Minute},
	{`sum by (__name__) ({__name__=~"node_memory_0[0-9]_bytes|container_memory_4[1-3]_bytes"})`, 24 * time.Hour, 5 * time.Minute},
	{`max by (cluster) (max_over_time(node_memory_12_bytes[30m]))`, 7 * 24 * time.Hour, 30 * time.Minute},
	{`histogram_quantile(0.9, sum by (le) (rate(http_request_duration_seconds_bucket{namespace="team-3"}[5m]))) / sum(rate(http_request_duration_seconds_count[5m]))`, 24 * time.Hour, 5 * time.Minute},
	{`topk(10, rate(node_cpu_seconds_05_total[5m]))`, 0, 0},
	{`count({job="job-3"})`, 0, 0},
}

// historyReader is a bucket of seven days as a program reads it.
type historyReader struct {
	engine promql.QueryEngine
	source storage.Queryable
	store  *store.Bucket
	bkt    objstore.Bucket
}

// openHistory opens the parts over a bucket that is far away, with nothing on
// the disk, and looks once which blocks there are.
func openHistory(tb testing.TB) *historyReader {
	tb.Helper()
	far, err := filesystem.NewBucket(historyDir(tb))
	if err != nil {
		tb.Fatal(err)
	}
	bkt, err := cache.New(objstore.WithRequests(objstoretest.NewSlow(far, historySlow)), cache.Options{Dir: tb.TempDir()})
	if err != nil {
		tb.Fatal(err)
	}
	dir, err := os.MkdirTemp(tb.TempDir(), "")
	if err != nil {
		tb.Fatal(err)
	}
	engine, err := query.NewEngine(query.EngineOptions{})
	if err != nil {
		tb.Fatal(err)
	}
	r := &historyReader{engine: engine, bkt: bkt}
	if r.store, err = store.Open(bkt, dir, store.Options{}); err != nil {
		tb.Fatal(err)
	}
	if err := r.store.Sync(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	all := query.NewFanout([]storage.ChunkQueryable{r.store}, query.FanoutOptions{})
	r.source = query.Samples(dedup.New(all, dedup.Options{ReplicaLabels: []string{"replica"}}))
	return r
}

func (r *historyReader) close(tb testing.TB) {
	tb.Helper()
	if err := errors.Join(r.store.Close(), r.bkt.Close()); err != nil {
		tb.Error(err)
	}
}

// ask returns how many samples the answer has.
func (r *historyReader) ask(tb testing.TB, ctx context.Context, q historyQuery) int {
	tb.Helper()
	var asked promql.Query
	var err error
	if end := historyEnd().Add(-time.Millisecond); q.step == 0 {
		asked, err = r.engine.NewInstantQuery(ctx, r.source, nil, q.expr, end)
	} else {
		asked, err = r.engine.NewRangeQuery(ctx, r.source, nil, q.expr, end.Add(-q.back), end, q.step)
	}
	if err != nil {
		tb.Fatal(err)
	}
	defer asked.Close()
	result := asked.Exec(ctx)
	if result.Err != nil {
		tb.Fatalf("%s: %v", q.expr, result.Err)
	}
	n := 0
	switch v := result.Value.(type) {
	case promql.Matrix:
		for _, s := range v {
			n += len(s.Floats)
		}
	case promql.Vector:
		n = len(v)
	}
	if n == 0 {
		tb.Fatalf("%s selects nothing: it measures nothing", q.expr)
	}
	return n
}

// BenchmarkHistory asks eight questions about a week in a bucket that is 30 ms
// away, for the first time and again. An operation is all the questions.
//
//	go test -run '^$' -bench History -benchtime 5x ./internal/wiring
func BenchmarkHistory(b *testing.B) {
	historyDir(b)
	count := historyQueries[len(historyQueries)-1:]
	b.Run("first time", func(b *testing.B) { benchHistory(b, historyQueries, false) })
	b.Run("again", func(b *testing.B) { benchHistory(b, historyQueries, true) })
	b.Run("count of one job, first time", func(b *testing.B) { benchHistory(b, count, false) })
	b.Run("each, first time", func(b *testing.B) {
		for _, q := range historyQueries {
			b.Run(q.expr, func(b *testing.B) { benchHistory(b, []historyQuery{q}, false) })
		}
	})
}

func benchHistory(b *testing.B, queries []historyQuery, again bool) {
	var account objstore.Account
	var took []time.Duration
	var used time.Duration
	var r *historyReader
	ask := func(ctx context.Context) {
		for _, q := range queries {
			r.ask(b, ctx, q)
		}
	}
	for range b.N {
		b.StopTimer()
		if r == nil || !again {
			if r != nil {
				r.close(b)
			}
			r = openHistory(b)
			if again {
				ask(b.Context())
			}
		}
		ctx := objstore.WithAccount(b.Context(), &account)
		b.StartTimer()
		began, busy := time.Now(), processTime()
		ask(ctx)
		took, used = append(took, time.Since(began)), used+processTime()-busy
	}
	b.StopTimer()
	r.close(b)
	n := float64(b.N)
	slices.Sort(took)
	median := took[len(took)/2].Seconds()
	b.ReportMetric(median, "s/op") // of the median, since others use the machine
	b.ReportMetric(took[0].Seconds(), "least-s/op")
	b.ReportMetric(used.Seconds()/n, "cpu-s/op")
	b.ReportMetric(float64(account.Requests(objstore.OpGet, objstore.OpGetRange))/n, "GETs/op")
	b.ReportMetric(float64(account.BytesRead())/1e6/n, "MB/op")
	b.ReportMetric(median/(historyFloor.Seconds()*float64(len(queries))), "x-floor")
	b.ReportMetric(0, "ns/op")
}

// processTime is how long this process has kept processors busy.
func processTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
