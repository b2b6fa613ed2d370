package receive

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/varve-tsdb/varve/internal/registration"
)

// limitMetrics are those of the limits of one Handler.
type limitMetrics struct {
	refused     *prometheus.CounterVec
	turnWait    prometheus.Histogram
	now, bounds []prometheus.Collector
}

func newLimitMetrics(load *overload, limits func() *LimitSet) *limitMetrics {
	const prefix = "varve_receive_limit_"
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: prefix + name, Help: help}, value)
	}
	bound := func(name, what string, value func(GlobalLimits) float64) prometheus.Collector {
		return gauge(name, "Limit of "+what+"; -1 is none.", func() float64 { return max(value(limits().Global.resolved()), -1) })
	}
	return &limitMetrics{
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "refused_requests_total",
			Help: "Requests refused as a whole by a limit, by tenant (empty before it has samples) and limit.",
		}, []string{"tenant", "reason"}),
		turnWait: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    prefix + "turn_wait_seconds",
			Help:    "Time that requests waited for their turn, those that had to, because of the limit of concurrency.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}),
		now: []prometheus.Collector{
			gauge("in_flight_bytes", "Bytes accounted for bodies of requests, as sent and decompressed, and for what other receivers hand over.", func() float64 { return float64(load.usage().bytes) }),
			gauge("in_flight_requests", "Requests that limits have let in and that are not answered yet.", func() float64 { return float64(load.usage().requests) }),
			gauge("waiting_requests", "Requests that wait for their turn.", func() float64 { return float64(load.turns.waiting() + load.peerTurns.waiting()) }),
		},
		bounds: []prometheus.Collector{
			bound("max_in_flight_bytes", "in-flight bytes", func(g GlobalLimits) float64 { return float64(g.InFlightBytes) }),
			bound("max_in_flight_requests", "in-flight requests", func(g GlobalLimits) float64 { return float64(g.InFlightRequests) }),
			bound("max_concurrency", "requests stored at once", func(g GlobalLimits) float64 { return float64(g.Concurrency) }),
		},
	}
}

// collectors are all of them.
func (m *limitMetrics) collectors() []prometheus.Collector {
	return append(append([]prometheus.Collector{m.refused, m.turnWait}, m.now...), m.bounds...)
}

// newLimitsFileMetrics returns those of one LimitsFile, registered.
func newLimitsFileMetrics(reg prometheus.Registerer) (*followedFileMetrics, error) {
	m := newFollowedFileMetrics("varve_receive_limit_file_", "limits file", "limits")
	_, err := registration.Register(reg, "receive.LimitsFile", m.collectors()...)
	return m, err
}
