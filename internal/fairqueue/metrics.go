package fairqueue

import "github.com/prometheus/client_golang/prometheus"

// Metrics of one Queue.
type Metrics struct {
	Running, Waiting prometheus.Gauge
	Wait             prometheus.Histogram
	Refused          *prometheus.CounterVec

	full, late prometheus.Counter
}

// NewMetrics returns metrics whose names begin with prefix and whose help speaks of
// the jobs by that word. full and late are what the limits are called that refuse jobs:
// of how many wait, and of how long.
func NewMetrics(prefix, jobs, full, late string) *Metrics {
	m := &Metrics{
		Running: prometheus.NewGauge(prometheus.GaugeOpts{Name: prefix + "_running", Help: jobs + " that run."}),
		Waiting: prometheus.NewGauge(prometheus.GaugeOpts{Name: prefix + "_waiting", Help: jobs + " that wait for one that runs to end."}),
		Wait: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: prefix + "_wait_seconds", Help: "How long it took until " + jobs + " ran or gave up.",
			Buckets: []float64{.001, .01, .1, 1, 5, 30, 120},
		}),
		Refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "_refused_total", Help: jobs + " that did not run, by the limit that was met.",
		}, []string{"limit"}),
	}
	m.full, m.late = m.Refused.WithLabelValues(full), m.Refused.WithLabelValues(late)
	return m
}

// All are the metrics, to be registered.
func (m *Metrics) All() []prometheus.Collector {
	return []prometheus.Collector{m.Running, m.Waiting, m.Wait, m.Refused}
}
