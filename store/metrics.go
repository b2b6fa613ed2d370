package store

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/varve-tsdb/varve/internal/registration"
)

type metrics struct {
	syncs         prometheus.Counter
	syncFailures  prometheus.Counter
	lastSync      prometheus.Gauge
	blocks        *prometheus.GaugeVec
	queriers      prometheus.Gauge
	requests      *prometheus.CounterVec
	bytes         *prometheus.CounterVec
	refetches     *prometheus.CounterVec
	failures      prometheus.Counter
	headerBuilds  prometheus.Counter
	headerRebuilt prometheus.Counter
	series        prometheus.Counter
	chunks        prometheus.Counter
	registered    *registration.Set
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "varve_store_" + name, Help: help})
	}
	counters := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "varve_store_" + name, Help: help}, []string{label})
	}
	m := &metrics{
		syncs:        counter("syncs_total", "Passes over the bucket's blocks that were started."),
		syncFailures: counter("sync_failures_total", "Passes over the bucket's blocks that failed."),
		lastSync: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "varve_store_last_successful_sync_timestamp_seconds", Help: "When the last successful pass over the bucket's blocks ended.",
		}),
		blocks: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "varve_store_blocks", Help: "Blocks in the bucket by what the store does with them: served, or unreadable because their meta.json is.",
		}, []string{"state"}),
		queriers: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "varve_store_queriers", Help: "Queriers that are open.",
		}),
		requests:      counters("requests_total", "Ranged reads from the bucket by what was read.", "data"),
		bytes:         counters("read_bytes_total", "Bytes read from the bucket by what was read.", "data"),
		refetches:     counters("refetches_total", "Reads that had to be repeated because an entry was longer than expected.", "data"),
		failures:      counter("block_failures_total", "Failures to read a block."),
		headerBuilds:  counter("index_header_builds_total", "Index headers built from the bucket."),
		headerRebuilt: counter("index_headers_discarded_total", "Local index headers that were broken and had to be built anew."),
		series:        counter("series_total", "Series read from blocks."),
		chunks:        counter("chunks_total", "Chunks read from blocks."),
	}
	for _, data := range []string{dataHeader, dataPostings, dataSeries, dataChunks} {
		m.requests.WithLabelValues(data)
		m.bytes.WithLabelValues(data)
	}
	m.registered = registration.NewSet(reg, "store.Bucket")
	m.registered.MustRegister(
		m.syncs, m.syncFailures, m.lastSync, m.blocks, m.queriers, m.requests, m.bytes, m.refetches,
		m.failures, m.headerBuilds, m.headerRebuilt, m.series, m.chunks,
	)
	return m, m.registered.Err()
}
