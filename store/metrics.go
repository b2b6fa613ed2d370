package store

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/varve-tsdb/varve/internal/readcost"
	"github.com/varve-tsdb/varve/internal/registration"
)

type metrics struct {
	syncs           prometheus.Counter
	syncFailures    prometheus.Counter
	lastSync        prometheus.Gauge
	blocks          *prometheus.GaugeVec
	queriers        prometheus.Gauge
	requests        *prometheus.CounterVec
	bytes           *prometheus.CounterVec
	refetches       *prometheus.CounterVec
	postponed       prometheus.Counter
	failures        prometheus.Counter
	rereads         prometheus.Counter
	replaced        prometheus.Counter
	quarantined     *prometheus.GaugeVec
	quarantines     *prometheus.CounterVec
	quarantineHits  prometheus.Counter
	headerBuilds    prometheus.Counter
	headerRebuilt   prometheus.Counter
	headersOpen     prometheus.Gauge
	headerBytes     *prometheus.GaugeVec
	headerEvictions *prometheus.CounterVec
	series          prometheus.Counter
	chunks          prometheus.Counter
	costs           *readcost.Metrics // of reads that bring no account
	registered      *registration.Set
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
		requests:  counters("requests_total", "Ranged reads from the bucket by what was read.", "data"),
		bytes:     counters("read_bytes_total", "Bytes read from the bucket by what was read.", "data"),
		refetches: counters("refetches_total", "Reads that had to be repeated because an entry was longer than expected.", "data"),
		postponed: counter("postponed_matchers_total", "Matchers that were checked on the labels of series because that cost less than their postings lists."),
		failures:  counter("block_failures_total", "Failures to read a block."),
		rereads:   counter("rereads_total", "Reads of a block that were repeated because what came back made no sense, which a fault on the way may do."),
		replaced:  counter("blocks_replaced_total", "Reads of a block that was deleted meanwhile, which went on with the block that replaced it."),
		quarantined: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "varve_store_quarantined_blocks", Help: "Blocks of which something is broken, by reason; those with several reasons count for each.",
		}, []string{"reason"}),
		quarantines:    counters("quarantines_total", "Faults of blocks that were taken into quarantine: what is broken is not read again for a while.", "reason"),
		quarantineHits: counter("quarantine_hits_total", "Reads that failed, or lack something, without a request because of a fault that is known."),
		headerBuilds:   counter("index_header_builds_total", "Index headers built from the bucket."),
		headerRebuilt:  counter("index_headers_discarded_total", "Local index headers that were broken and had to be built anew."),
		headersOpen: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "varve_store_index_headers_open", Help: "Index headers that are open.",
		}),
		headerBytes: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "varve_store_index_header_bytes", Help: "Bytes that index headers take, those that are open in memory, and all on disk.",
		}, []string{"place"}),
		headerEvictions: counters("index_header_evictions_total", "Index headers that were closed or removed to stay within the budgets.", "place"),
		series:          counter("series_total", "Series read from blocks."),
		chunks:          counter("chunks_total", "Chunks read from blocks."),
		costs:           readcost.NewMetrics("varve_store_cost_", false),
	}
	for _, data := range []string{dataHeader, dataPostings, dataSeries, dataChunks} {
		m.requests.WithLabelValues(data)
		m.bytes.WithLabelValues(data)
	}
	for _, place := range []string{placeMemory, placeDisk} {
		m.headerEvictions.WithLabelValues(place)
	}
	for _, reason := range reasons {
		m.quarantined.WithLabelValues(reason)
		m.quarantines.WithLabelValues(reason)
	}
	m.registered = registration.NewSet(reg, "store.Bucket")
	m.registered.MustRegister(
		m.syncs, m.syncFailures, m.lastSync, m.blocks, m.queriers, m.requests, m.bytes, m.refetches, m.postponed,
		m.failures, m.rereads, m.replaced, m.quarantined, m.quarantines, m.quarantineHits,
		m.headerBuilds, m.headerRebuilt, m.headersOpen, m.headerBytes, m.headerEvictions, m.series, m.chunks,
	)
	m.registered.MustRegister(m.costs.Collectors()...)
	return m, m.registered.Err()
}
