package query

import "github.com/prometheus/client_golang/prometheus"

// queueMetrics of one queue.
type queueMetrics struct {
	running, waiting prometheus.Gauge
	wait             prometheus.Histogram
	refused          *prometheus.CounterVec
}

func newQueueMetrics() *queueMetrics {
	m := &queueMetrics{
		running: prometheus.NewGauge(prometheus.GaugeOpts{Name: "varve_query_queue_running", Help: "Queries that run."}),
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{Name: "varve_query_queue_waiting", Help: "Queries that wait for one that runs to end."}),
		wait: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "varve_query_queue_wait_seconds", Help: "How long queries waited before they ran or gave up.",
			Buckets: []float64{.001, .01, .1, 1, 5, 30, 120},
		}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "varve_query_queue_refused_total", Help: "Queries that did not run, by the limit that was met.",
		}, []string{"limit"}),
	}
	for _, limit := range []string{"MaxQueued", "QueueTimeout"} {
		m.refused.WithLabelValues(limit)
	}
	return m
}
