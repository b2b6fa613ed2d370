package readcost

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/varve-tsdb/varve/internal/registration"
)

type budgetMetrics struct {
	refused *prometheus.CounterVec
}

func newBudgetMetrics(b *Budget) (*budgetMetrics, error) {
	m := &budgetMetrics{refused: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "varve_query_budget_refused_total",
		Help: "Reads that a limit of the budget has ended, by limit.",
	}, []string{"limit"})}
	for _, limit := range limits() {
		m.refused.WithLabelValues(limit)
	}
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "varve_query_budget_" + name, Help: help}, value)
	}
	_, err := registration.Register(b.opts.Registerer, "read budget", m.refused,
		gauge("bytes", "Memory that all reads together may take; negative for no limit.", func() float64 { return float64(b.opts.TotalBytes) }),
		gauge("used_bytes", "Memory that reads hold now: postings, series and chunks, in flight and kept.", func() float64 { return float64(b.used.Load()) }),
	)
	return m, err
}
