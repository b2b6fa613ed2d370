package receive

import "github.com/prometheus/client_golang/prometheus"

// followedFileMetrics are those of one followedFile: what became of its passes.
type followedFileMetrics struct {
	changed, unchanged, failed prometheus.Counter
	good, changedAt            prometheus.Gauge
}

// newFollowedFileMetrics returns metrics with a prefix, of a file that is called
// name and holds things of a kind.
func newFollowedFileMetrics(prefix, name, kind string) *followedFileMetrics {
	loads := func(result string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{
			Name:        prefix + "loads_total",
			Help:        "Looks at the " + name + ", by what came of them.",
			ConstLabels: prometheus.Labels{"result": result},
		})
	}
	return &followedFileMetrics{
		changed: loads("changed"), unchanged: loads("unchanged"), failed: loads("failed"),
		good: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: prefix + "last_load_successful", Help: "Whether the " + name + " was good when last looked at.",
		}),
		changedAt: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: prefix + "last_change_timestamp_seconds", Help: "When the " + kind + " last changed.",
		}),
	}
}

// collectors are all of them.
func (m *followedFileMetrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.changed, m.unchanged, m.failed, m.good, m.changedAt}
}
