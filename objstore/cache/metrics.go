package cache

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/varve-tsdb/varve/internal/registration"
	"github.com/varve-tsdb/varve/objstore"
)

// Where a page was found, as metrics call it.
type tier int

const (
	tierMemory tier = iota
	tierDisk
	tiers
)

func (t tier) String() string { return [tiers]string{"memory", "disk"}[t] }

// kindOther is the kind of what GetRange reads.
const kindOther = "other"

type metrics struct {
	hits         *prometheus.CounterVec
	hitBytes     *prometheus.CounterVec
	misses       *prometheus.CounterVec
	shared       prometheus.Counter
	contradicted prometheus.Counter
	diskEvicted  prometheus.Counter
	diskFailures *prometheus.CounterVec
	diskSkipped  prometheus.Counter
	diskBytes    prometheus.Gauge
	registered   *registration.Set
}

func newMetrics(reg prometheus.Registerer, c *shared) (*metrics, error) {
	opts := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Name: "varve_objstore_cache_" + name, Help: help}
	}
	m := &metrics{
		hits:         prometheus.NewCounterVec(opts("hits_total", "Pages of objects that were found, by what they hold and where."), []string{"data", "tier"}),
		hitBytes:     prometheus.NewCounterVec(opts("hit_bytes_total", "Bytes of the pages that were found."), []string{"data", "tier"}),
		misses:       prometheus.NewCounterVec(opts("misses_total", "Pages of objects that were not found, by what they hold."), []string{"data"}),
		shared:       prometheus.NewCounter(opts("shared_reads_total", "Reads of the bucket that a further reader waited for instead of making its own.")),
		contradicted: prometheus.NewCounter(opts("contradicted_total", "Times that a reader could make no sense of what was remembered, and it was read again.")),
		diskEvicted:  prometheus.NewCounter(opts("disk_evicted_files_total", "Files that were removed from the disk to stay within its budget.")),
		diskFailures: prometheus.NewCounterVec(opts("disk_failures_total", "Operations on the disk that failed, and pages there that failed their checksum."), []string{"operation"}),
		diskSkipped:  prometheus.NewCounter(opts("disk_skipped_pages_total", "Pages that were not written to disk because the disk was too slow or had just failed.")),
		diskBytes: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "varve_objstore_cache_disk_bytes", Help: "Bytes that the cache takes on disk.",
		}),
	}
	for _, op := range []string{opOpen, opRead, opWrite, opRemove, opChecksum} {
		m.diskFailures.WithLabelValues(op)
	}
	m.registered = registration.NewSet(reg, "objstore/cache.Bucket")
	m.registered.MustRegister(m.hits, m.hitBytes, m.misses, m.shared, m.contradicted, m.diskEvicted, m.diskFailures, m.diskSkipped, m.diskBytes,
		prometheus.NewCounterFunc(opts("memory_evicted_pages_total", "Pages that were dropped from memory to stay within its budget."), c.memory.evictions),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "varve_objstore_cache_memory_bytes", Help: "Bytes that the cache takes in memory.",
		}, c.memory.bytes))
	return m, m.registered.Err()
}

// hits counts what one read finds.
type hits struct {
	metrics *metrics
	kind    string
	account *objstore.Account
	pages   [tiers]int64
	bytes   [tiers]int64
}

func (h *hits) add(t tier, bytes int) {
	h.pages[t]++
	h.bytes[t] += int64(bytes)
}

func (h *hits) report(missed int) {
	for t := range tiers {
		if h.pages[t] > 0 {
			h.metrics.hits.WithLabelValues(h.kind, t.String()).Add(float64(h.pages[t]))
			h.metrics.hitBytes.WithLabelValues(h.kind, t.String()).Add(float64(h.bytes[t]))
			h.account.AddCacheHits(h.pages[t], h.bytes[t])
		}
	}
	if missed > 0 {
		h.metrics.misses.WithLabelValues(h.kind).Add(float64(missed))
	}
}
