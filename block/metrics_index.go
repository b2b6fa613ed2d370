package block

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/varve-tsdb/varve/internal/registration"
)

type bucketIndexMetrics struct {
	reconciles *prometheus.CounterVec // by result
	duration   prometheus.Histogram
	success    prometheus.Gauge
	blocks     prometheus.Gauge
	bytes      prometheus.Gauge
	writes     *prometheus.CounterVec // by result
	registered *registration.Set
}

func newBucketIndexMetrics(reg prometheus.Registerer) (*bucketIndexMetrics, error) {
	m := &bucketIndexMetrics{
		reconciles: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "varve_block_index_reconciles_total",
			Help: "Times that the index of the bucket was made from a listing of the bucket, by result.",
		}, []string{"result"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "varve_block_index_reconcile_duration_seconds",
			Help:    "Time that making the index of the bucket takes.",
			Buckets: prometheus.ExponentialBuckets(0.01, 4, 8),
		}),
		success: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "varve_block_index_last_reconcile_timestamp_seconds",
			Help: "When this process last made the index of the bucket. Another may have since.",
		}),
		blocks: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "varve_block_index_blocks",
			Help: "Blocks in the index of the bucket as this process last made it.",
		}),
		bytes: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "varve_block_index_bytes",
			Help: "Size of the index of the bucket as this process last made it.",
		}),
		writes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "varve_block_index_writes_total",
			Help: "Times that news of blocks were written to the index of the bucket, by result.",
		}, []string{"result"}),
	}
	for _, result := range []string{"ok", "error"} {
		m.reconciles.WithLabelValues(result)
		m.writes.WithLabelValues(result)
	}
	var err error
	m.registered, err = registration.Register(reg, "block.BucketIndex",
		m.reconciles, m.duration, m.success, m.blocks, m.bytes, m.writes)
	return m, err
}

func (m *bucketIndexMetrics) reconciled(o *indexObject, size int, err error, took time.Duration) {
	m.duration.Observe(took.Seconds())
	if err != nil {
		m.reconciles.WithLabelValues("error").Inc()
		return
	}
	m.reconciles.WithLabelValues("ok").Inc()
	m.success.SetToCurrentTime()
	m.blocks.Set(float64(len(o.entries)))
	m.bytes.Set(float64(size))
}

func (m *bucketIndexMetrics) wrote(err error) {
	result := "ok"
	if err != nil {
		result = "error"
	}
	m.writes.WithLabelValues(result).Inc()
}
