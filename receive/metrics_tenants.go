package receive

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/tsdb"

	"github.com/varve-tsdb/varve/internal/registration"
)

type tenantsMetrics struct {
	failures prometheus.Counter
	reopens  prometheus.Counter
	repairs  prometheus.Counter

	logSegmentsDamaged prometheus.Counter
	logBytesLost       prometheus.Counter
	logSamplesLost     prometheus.Counter

	opens        prometheus.Counter
	idleClosings prometheus.Counter
	removals     prometheus.Counter

	syncs        prometheus.Histogram
	passesFailed prometheus.Counter
	blocksCut    prometheus.Counter
	blocksBroken prometheus.Counter
	registered   *registration.Set
	// unseenCuts is what heads count the cutting of blocks by whose TSDBs show no
	// metrics.
	unseenCuts *tsdb.CompactorMetrics
}

func newTenantsMetrics(t *Tenants) (*tenantsMetrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "varve_receive_tenants_" + name, Help: help})
	}
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "varve_receive_tenants_" + name, Help: help}, value)
	}
	m := &tenantsMetrics{
		failures:           counter("failures_total", "Times a tenant's TSDB broke or could not be opened."),
		reopens:            counter("reopens_total", "Times a tenant became available again after a failure."),
		repairs:            counter("log_repairs_total", "Damaged logs, of samples in order or out of order, that were repaired on opening."),
		logSegmentsDamaged: counter("log_segments_damaged_total", "Segments of logs that were found damaged, or missing, on opening."),
		logBytesLost:       counter("log_lost_bytes_total", "Bytes of damaged logs that could not be read."),
		logSamplesLost:     counter("log_lost_samples_total", "Samples in damaged logs that could be read, but not which series they are of. Those out of order are in two logs and count in each."),
		opens:              counter("opens_total", "Times a tenant's TSDB was opened: at the start, by its first write, by a write after it was idle, or after a failure."),
		idleClosings:       counter("idle_closings_total", "Times a tenant's TSDB was cut into blocks and closed for want of writes."),
		removals:           counter("removals_total", "Idle tenants that were removed from the disk, all of their blocks being shipped and past the retention."),
		syncs: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "varve_receive_tenants_log_sync_seconds", Help: "Time to put the logs of a tenant on the disk, once for all commits that wait for it (SyncOnCommit).",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 9),
		}),
		passesFailed: counter("passes_failed_total", "Rounds of upkeep that failed for a tenant."),
		blocksCut:    counter("blocks_cut_total", "Blocks cut from the samples in memory."),
		blocksBroken: counter("blocks_broken_total", "Broken blocks on the local disk that were set aside."),
		unseenCuts:   tsdb.NewCompactorMetrics(nil),
	}
	var err error
	m.registered, err = registration.Register(t.opts.Registerer, "receive.Tenants",
		m.failures, m.reopens, m.repairs, m.logSegmentsDamaged, m.logBytesLost, m.logSamplesLost,
		m.opens, m.idleClosings, m.removals, m.syncs, m.passesFailed, m.blocksCut, m.blocksBroken,
		gauge("open", "Tenants whose TSDB is open and takes writes.", func() float64 { return float64(t.count(true)) }),
		gauge("failed", "Tenants that are not available.", func() float64 { return float64(t.count(false)) }),
		gauge("opening", "Tenants on the disk that are still to be opened.", func() float64 { return float64(t.Opening()) }),
		gauge("idle", "Tenants without writes, whose TSDB is closed and whose blocks can be read.", t.idleTenants),
		gauge("head_series", "Series in memory, over all tenants.", t.headSeries),
		gauge("blocks", "Blocks on the local disk, over all tenants.", t.localBlocks))
	return m, err
}

// count returns the number of tenants that take writes, or of those that have
// failed.
func (t *Tenants) count(healthy bool) (n int) {
	slots, _ := t.all()
	for _, s := range slots {
		h, err := s.state()
		if h != nil {
			err = h.failure()
		}
		if (healthy && h != nil && err == nil) || (!healthy && err != nil) {
			n++
		}
	}
	return n
}

func (t *Tenants) headSeries() float64 {
	return t.sum(func(h *head) float64 { return float64(h.db.Head().NumSeries()) })
}

func (t *Tenants) localBlocks() float64 {
	total := t.sum(func(h *head) float64 { return float64(len(h.db.Blocks())) })
	slots, _ := t.all()
	for _, s := range slots {
		if blocks := s.idleState(); blocks != nil {
			total += float64(blocks.count())
		}
	}
	return total
}

func (t *Tenants) idleTenants() (n float64) {
	slots, _ := t.all()
	for _, s := range slots {
		if s.idleState() != nil {
			n++
		}
	}
	return n
}

func (t *Tenants) sum(of func(*head) float64) (total float64) {
	slots, _ := t.all()
	for _, s := range slots {
		if h, _ := s.state(); h != nil {
			total += of(h)
		}
	}
	return total
}
