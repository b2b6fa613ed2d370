package objstore

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/varve-tsdb/varve/internal/registration"
)

// deadlineMetrics are those of WithDeadlines.
type deadlineMetrics struct {
	stalls     *prometheus.CounterVec
	registered *registration.Set
}

func newDeadlineMetrics(reg prometheus.Registerer) (*deadlineMetrics, error) {
	m := &deadlineMetrics{stalls: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "varve_objstore_stalls_total",
		Help: "Operations that were ended because the bucket was silent for too long.",
	}, []string{"operation"})}
	for _, op := range operations {
		if op != OpUpload {
			m.stalls.WithLabelValues(op)
		}
	}
	var err error
	m.registered, err = registration.Register(reg, "objstore.WithDeadlines", m.stalls)
	return m, err
}

// hedgeMetrics are those of WithHedging.
type hedgeMetrics struct {
	hedges     *prometheus.CounterVec
	denied     prometheus.Counter
	registered *registration.Set
}

func newHedgeMetrics(reg prometheus.Registerer) (*hedgeMetrics, error) {
	m := &hedgeMetrics{
		hedges: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "varve_objstore_hedges_total",
			Help: "Second requests for reads that were slow to begin, by which of the two was read: first, second, or none as both failed.",
		}, []string{"read"}),
		denied: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "varve_objstore_hedges_denied_total",
			Help: "Second requests that were not made because there had been too many.",
		}),
	}
	for _, read := range []string{"first", "second", "none"} {
		m.hedges.WithLabelValues(read)
	}
	var err error
	m.registered, err = registration.Register(reg, "objstore.WithHedging", m.hedges, m.denied)
	return m, err
}

func (m *hedgeMetrics) outcome(a attempt) {
	switch {
	case a.err != nil:
		m.hedges.WithLabelValues("none").Inc()
	case a.second:
		m.hedges.WithLabelValues("second").Inc()
	default:
		m.hedges.WithLabelValues("first").Inc()
	}
}
