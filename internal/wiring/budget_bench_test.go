package wiring

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/varve-tsdb/varve/internal/blocktest"
	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
	"github.com/varve-tsdb/varve/query"
)

// BenchmarkCountOfEverything asks for a count of all series of 30 blocks of a
// million series each in a bucket with 30 ms to the first byte, and prints what became of it, how much the live heap grew,
// and how the time of small queries changes while a client asks for it again
// 200 ms after each answer.
//
//	go test ./internal/wiring -run '^$' -bench CountOfEverything -benchtime 1x
func BenchmarkCountOfEverything(b *testing.B) {
	const blocks, budget = 30, 512 << 20
	m := openBlocks(b, blocktest.Grid{Metrics: 1000, Instances: 1000, Samples: 120}, blocks,
		query.BudgetOptions{QueryBytes: budget, TotalBytes: budget + 256<<20},
		func(b objstore.Bucket) objstore.Bucket {
			slow := objstoretest.NewFaulty(b)
			slow.Set(objstoretest.Rule{Op: objstore.OpGetRange, Fault: objstoretest.Delay(30 * time.Millisecond)})
			return slow
		})
	small := func(i int) time.Duration {
		expr := fmt.Sprintf(`sum by (job) (rate(grid_metric_%06d_total{instance=~"host-00000%d.*",cluster="c-%03d"}[5m]))`, i%1000, i%10, i%blocks)
		got := m.ask(b, expr)
		if got.code != 200 || len(got.Data.Result) != 1 {
			b.Fatalf("%s: %d %s %v", expr, got.code, got.Error, got.Data.Result)
		}
		return got.took
	}
	for i := range blocks {
		small(i) // builds the headers
	}
	instant, whole := m.all()
	for name, expr := range map[string]string{"instant": instant, "range": whole} {
		b.Run(name, func(b *testing.B) {
			for range b.N {
				before := cpuSeconds()
				got := m.ask(b, expr)
				spent := cpuSeconds() - before
				cost := m.last.Load().Cost
				alone, median := percentiles(small)
				done, stop := make(chan int), make(chan struct{})
				go func() {
					n := 0
					for {
						select {
						case <-stop:
							done <- n
							return
						case <-time.After(200 * time.Millisecond):
							m.ask(b, expr)
							n++
						}
					}
				}()
				beside, medianBeside := percentiles(small)
				close(stop)
				asked := <-done
				heap := peakHeap(func() { m.ask(b, expr) })
				b.ReportMetric(float64(got.code), "status")
				b.ReportMetric(got.took.Seconds(), "s/answer")
				b.ReportMetric(spent, "cpu-s/answer")
				b.ReportMetric(float64(heap)/(1<<20), "MiB-live")
				b.ReportMetric(alone.Seconds()*1000, "ms-p99-alone")
				b.ReportMetric(beside.Seconds()*1000, "ms-p99-beside")
				b.ReportMetric(median.Seconds()*1000, "ms-p50-alone")
				b.ReportMetric(medianBeside.Seconds()*1000, "ms-p50-beside")
				b.ReportMetric(float64(asked), "asked-beside")
				b.Logf("until it was refused: %d requests, %d MiB, %d series, seconds by step, of all blocks together: %v",
					cost.Requests(), cost.Bytes()>>20, cost.SeriesRead, cost.Seconds)
				b.Logf("%s: %d in %s and %.2f CPU s, live heap +%d MiB of a budget of %d MiB; others' p99 %s alone, %s beside %d of it: %s",
					expr, got.code, got.took, spent, heap>>20, budget>>20, alone, beside, asked, got.Error)
			}
		})
	}
}

// cpuSeconds is what the process has spent so far, in user and system mode.
func cpuSeconds() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
}

// percentiles runs small queries and returns the time of the slowest but 1 %, and
// the median.
func percentiles(small func(int) time.Duration) (p99, p50 time.Duration) {
	times := make([]time.Duration, 200)
	for i := range times {
		times[i] = small(i)
	}
	slices.Sort(times)
	return times[len(times)*99/100], times[len(times)/2]
}
