package otlp

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are those of one Handler.
type metrics struct {
	warnings *prometheus.CounterVec
	rejected prometheus.Counter
	streams  prometheus.GaugeFunc
}

func newMetrics(reg prometheus.Registerer, streams func() float64) (*metrics, error) {
	m := &metrics{
		warnings: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "varve_otlp_translation_warnings_total",
			Help: "What the translation of OTLP to Prometheus' model had to warn of, by category.",
		}, []string{"category"}),
		rejected: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "varve_otlp_rejected_data_points_total",
			Help: "Data points that senders were told are rejected; varve_receive_samples_total counts samples, with the reasons.",
		}),
		streams: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "varve_otlp_delta_streams",
			Help: "Streams of delta temporality that are being made cumulative.",
		}, streams),
	}
	return m, m.register(reg)
}

func (m *metrics) register(reg prometheus.Registerer) error {
	if reg == nil {
		return nil
	}
	all := []prometheus.Collector{m.warnings, m.rejected, m.streams}
	for i, c := range all {
		err := reg.Register(c)
		if err == nil {
			continue
		}
		for _, done := range all[:i] {
			reg.Unregister(done)
		}
		var twice prometheus.AlreadyRegisteredError
		if errors.As(err, &twice) {
			return fmt.Errorf("metrics of the OTLP handler: %w: for a second handler on one registry, wrap it with prometheus.WrapRegistererWith", err)
		}
		return fmt.Errorf("metrics of the OTLP handler: %w", err)
	}
	return nil
}
