package e2e

import (
	"context"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// startDemo serves metrics of every kind that change all the time, and returns
// the address to scrape.
func startDemo(t *testing.T) string {
	t.Helper()
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "demo_requests_total", Help: "Requests."}, []string{"code"})
	queue := prometheus.NewGauge(prometheus.GaugeOpts{Name: "demo_queue_length", Help: "Waiting."})
	classic := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "demo_classic_seconds", Help: "Durations."})
	native := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "demo_native_seconds", Help: "Durations.", NativeHistogramBucketFactor: 1.1,
	})
	summary := prometheus.NewSummary(prometheus.SummaryOpts{
		Name: "demo_summary_seconds", Help: "Durations.", Objectives: map[float64]float64{0.5: 0.05, 0.9: 0.01},
	})
	reg := prometheus.NewRegistry()
	reg.MustRegister(requests, queue, classic, native, summary)

	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			seconds := rand.ExpFloat64() / 10
			requests.WithLabelValues([]string{"200", "404", "500"}[rand.IntN(3)]).(prometheus.ExemplarAdder).AddWithExemplar(1, prometheus.Labels{"trace_id": "demo"})
			queue.Set(float64(rand.IntN(100)))
			classic.Observe(seconds)
			native.Observe(seconds)
			summary.Observe(seconds)
		}
	}()
	server := httptest.NewServer(promhttp.HandlerFor(reg, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	t.Cleanup(func() {
		server.Close()
		stop()
		<-stopped
		http.DefaultClient.CloseIdleConnections()
	})
	return strings.TrimPrefix(server.URL, "http://")
}
