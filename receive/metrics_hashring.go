package receive

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// hashringMetrics are those of one HashringFile: what became of its passes, and
// what the hashrings of now are.
type hashringMetrics struct {
	*followedFileMetrics
	hash prometheus.Gauge

	current                                func() *Hashrings
	endpoints, tenants, shards, shardsMade *prometheus.Desc
}

func newHashringMetrics(current func() *Hashrings) *hashringMetrics {
	const prefix = "varve_receive_hashring_"
	each := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(prefix+name, help, []string{"hashring"}, nil)
	}
	return &hashringMetrics{
		followedFileMetrics: newFollowedFileMetrics(prefix, "hashring file", "hashrings"),
		hash: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: prefix + "config_hash", Help: "Hash of the file that the hashrings are from, as in thanos_receive_config_hash.",
		}),
		current:    current,
		endpoints:  each("endpoints", "Endpoints of the hashring."),
		tenants:    each("tenants", "Names or patterns of tenants that the hashring takes; 0 takes all."),
		shards:     each("shards", "Tenants' shards that are kept."),
		shardsMade: each("shards_made_total", "Tenants' shards made since the hashrings last changed. If it grows steadily, cache_size is too small."),
	}
}

// counters are the metrics that are collectors by themselves.
func (m *hashringMetrics) counters() []prometheus.Collector {
	return append(m.collectors(), m.hash)
}

// Describe sends what metrics there are.
func (m *hashringMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, c := range m.counters() {
		c.Describe(to)
	}
	for _, d := range []*prometheus.Desc{m.endpoints, m.tenants, m.shards, m.shardsMade} {
		to <- d
	}
}

// Collect sends the metrics. Those of hashrings that are gone are not among
// them.
func (m *hashringMetrics) Collect(to chan<- prometheus.Metric) {
	for _, c := range m.counters() {
		c.Collect(to)
	}
	hashrings := m.current()
	if hashrings == nil {
		return
	}
	for _, entry := range hashrings.entries {
		send := func(d *prometheus.Desc, kind prometheus.ValueType, value float64) {
			to <- prometheus.MustNewConstMetric(d, kind, value, entry.config.name)
		}
		send(m.endpoints, prometheus.GaugeValue, float64(len(entry.config.endpoints)))
		send(m.tenants, prometheus.GaugeValue, float64(len(entry.config.tenants.names)))
		if entry.shards != nil {
			kept, made := entry.shards.stats()
			send(m.shards, prometheus.GaugeValue, float64(kept))
			send(m.shardsMade, prometheus.CounterValue, float64(made))
		}
	}
}

func (m *hashringMetrics) register(reg prometheus.Registerer) error {
	if reg == nil {
		return nil
	}
	err := reg.Register(m)
	var twice prometheus.AlreadyRegisteredError
	if errors.As(err, &twice) {
		return fmt.Errorf("metrics of the hashring file: %w: for a second one on one registry, wrap it with prometheus.WrapRegistererWith", err)
	}
	if err != nil {
		return fmt.Errorf("metrics of the hashring file: %w", err)
	}
	return nil
}
