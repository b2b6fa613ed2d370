package objstore

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/varve-tsdb/varve/internal/registration"
)

// meterMetrics are those of WithMetrics.
type meterMetrics struct {
	operations *prometheus.CounterVec
	failures   *prometheus.CounterVec
	duration   *prometheus.HistogramVec
	read       *prometheus.CounterVec
	written    *prometheus.CounterVec
	registered *registration.Set
}

func newMeterMetrics(reg prometheus.Registerer) (*meterMetrics, error) {
	labels := []string{"operation"}
	m := &meterMetrics{
		operations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "varve_objstore_operations_total",
			Help: "Operations begun on the bucket.",
		}, labels),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "varve_objstore_operation_failures_total",
			Help: "Operations that failed. Missing objects and canceled operations are no failures.",
		}, labels),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:                            "varve_objstore_operation_duration_seconds",
			Help:                            "Time spent waiting for the bucket, bodies included, the time their readers took between reads not.",
			Buckets:                         []float64{0.001, 0.005, 0.02, 0.05, 0.1, 0.3, 1, 3, 10, 30, 120},
			NativeHistogramBucketFactor:     1.1,
			NativeHistogramMaxBucketNumber:  100,
			NativeHistogramMinResetDuration: time.Hour,
		}, labels),
		read: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "varve_objstore_read_bytes_total",
			Help: "Bytes of objects read from the bucket.",
		}, labels),
		written: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "varve_objstore_written_bytes_total",
			Help: "Bytes of objects sent to the bucket.",
		}, labels),
	}
	for _, op := range operations {
		m.operations.WithLabelValues(op)
		m.failures.WithLabelValues(op)
		m.duration.WithLabelValues(op)
	}
	for _, op := range []string{OpGet, OpGetRange} {
		m.read.WithLabelValues(op)
	}
	m.written.WithLabelValues(OpUpload)
	var err error
	m.registered, err = registration.Register(reg, "objstore.WithMetrics", m.operations, m.failures, m.duration, m.read, m.written)
	return m, err
}

// retryMetrics are those of WithRetry.
type retryMetrics struct {
	retries    *prometheus.CounterVec
	registered *registration.Set
}

func newRetryMetrics(reg prometheus.Registerer) (*retryMetrics, error) {
	m := &retryMetrics{retries: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "varve_objstore_retries_total",
		Help: "Attempts beyond the first, and resumed bodies, by the operation they belong to.",
	}, []string{"operation"})}
	for _, op := range operations {
		m.retries.WithLabelValues(op)
	}
	var err error
	m.registered, err = registration.Register(reg, "objstore.WithRetry", m.retries)
	return m, err
}
