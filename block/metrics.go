package block

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/varve-tsdb/varve/internal/registration"
)

type fetcherMetrics struct {
	passes   *prometheus.CounterVec // by result
	duration prometheus.Histogram
	success  prometheus.Gauge
	blocks   *prometheus.GaugeVec   // by state
	reads    *prometheus.CounterVec // by source

	indexReads *prometheus.CounterVec // by result
}

func newFetcherMetrics(reg prometheus.Registerer) (*fetcherMetrics, error) {
	m := &fetcherMetrics{
		passes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "varve_block_fetcher_passes_total",
			Help: "Passes over the bucket, by result.",
		}, []string{"result"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "varve_block_fetcher_pass_duration_seconds",
			Help:    "Time that one pass over the bucket takes.",
			Buckets: prometheus.ExponentialBuckets(0.01, 4, 8),
		}),
		success: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "varve_block_fetcher_last_success_timestamp_seconds",
			Help: "When the last successful pass over the bucket ended.",
		}),
		blocks: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "varve_block_fetcher_blocks",
			Help: "Blocks in the bucket as of the last pass, by what became of them.",
		}, []string{"state"}),
		reads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "varve_block_fetcher_meta_reads_total",
			Help: "Reads of a meta.json, by where it came from.",
		}, []string{"source"}),
		indexReads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "varve_block_fetcher_index_reads_total",
			Help: "Passes over the bucket by what became of its index; all but those that used it listed the whole bucket.",
		}, []string{"result"}),
	}
	for _, result := range []indexUse{indexUsed, indexAbsent, indexStale, indexInvalid, indexUnreadable, indexWrong} {
		m.indexReads.WithLabelValues(string(result))
	}
	for _, result := range []string{"ok", "error"} {
		m.passes.WithLabelValues(result)
	}
	_, err := registration.Register(reg, "block.Fetcher", m.passes, m.duration, m.success, m.blocks, m.reads, m.indexReads)
	return m, err
}

func (m *fetcherMetrics) read(source string) { m.reads.WithLabelValues(source).Inc() }

func (m *fetcherMetrics) observe(v *View, err error, took time.Duration) {
	m.duration.Observe(took.Seconds())
	if err != nil {
		m.passes.WithLabelValues("error").Inc()
		return
	}
	m.passes.WithLabelValues("ok").Inc()
	m.success.SetToCurrentTime()
	for state, n := range v.counts() {
		m.blocks.WithLabelValues(state).Set(float64(n))
	}
}

type shipperMetrics struct {
	passes   *prometheus.CounterVec // by result
	success  prometheus.Gauge
	uploads  prometheus.Counter
	failures prometheus.Counter
	bytes    prometheus.Counter
	duration prometheus.Histogram

	registered *registration.Set
}

func newShipperMetrics(reg prometheus.Registerer, p *progress) (*shipperMetrics, error) {
	m := &shipperMetrics{
		passes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "varve_block_shipper_passes_total",
			Help: "Passes over the local blocks, by result.",
		}, []string{"result"}),
		success: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "varve_block_shipper_last_success_timestamp_seconds",
			Help: "When the last pass without any failure ended.",
		}),
		uploads: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "varve_block_shipper_uploads_total",
			Help: "Blocks that were uploaded.",
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "varve_block_shipper_failures_total",
			Help: "Blocks and directories that a pass could not ship.",
		}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "varve_block_shipper_uploaded_bytes_total",
			Help: "Bytes of chunks and index of the blocks that were uploaded.",
		}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "varve_block_shipper_upload_duration_seconds",
			Help:    "Time that the upload of one block takes.",
			Buckets: prometheus.ExponentialBuckets(0.1, 4, 8),
		}),
	}
	for _, result := range []string{"ok", "error"} {
		m.passes.WithLabelValues(result)
	}
	pending := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "varve_block_shipper_pending_blocks",
		Help: "Local blocks that are still to be uploaded.",
	}, func() float64 { return float64(p.pending().Blocks) })
	age := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "varve_block_shipper_oldest_pending_age_seconds",
		Help: "Time since the oldest block that is still to be uploaded was cut; 0 if there is none.",
	}, func() float64 { return p.pending().age(time.Now()).Seconds() })
	var err error
	m.registered, err = registration.Register(reg, "block.Shipper", m.passes, m.success, m.uploads, m.failures, m.bytes, m.duration, pending, age)
	return m, err
}

func (m *shipperMetrics) pass(err error) {
	if err != nil {
		m.passes.WithLabelValues("error").Inc()
		return
	}
	m.passes.WithLabelValues("ok").Inc()
	m.success.SetToCurrentTime()
}

func (m *shipperMetrics) uploaded(bytes int64, took time.Duration) {
	m.uploads.Inc()
	m.bytes.Add(float64(bytes))
	m.duration.Observe(took.Seconds())
}
