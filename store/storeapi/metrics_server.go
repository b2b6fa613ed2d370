package storeapi

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/varve-tsdb/varve/internal/fairqueue"
	"github.com/varve-tsdb/varve/internal/registration"
)

type serverMetrics struct {
	requests   *prometheus.CounterVec
	inFlight   *prometheus.GaugeVec
	series     prometheus.Counter
	chunks     prometheus.Counter
	bytes      prometheus.Counter
	queue      *fairqueue.Metrics
	registered *registration.Set
}

func newServerMetrics(reg prometheus.Registerer) (*serverMetrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "varve_storeapi_server_" + name, Help: help})
	}
	m := &serverMetrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "varve_storeapi_server_requests_total", Help: "Calls that were answered, by method and gRPC status.",
		}, []string{"method", "code"}),
		inFlight: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "varve_storeapi_server_requests_in_flight", Help: "Calls that are being answered, by method.",
		}, []string{"method"}),
		series: counter("series_total", "Series that were sent."),
		chunks: counter("chunks_total", "Chunks that were sent."),
		bytes:  counter("sent_bytes_total", "Bytes of series that were sent, before compression."),
		queue:  fairqueue.NewMetrics("varve_storeapi_server_queue", "Calls of Series", "MaxQueued", "QueueTimeout"),
	}
	var err error
	m.registered, err = registration.Register(reg, "storeapi.Server", append(m.queue.All(), m.requests, m.inFlight, m.series, m.chunks, m.bytes)...)
	return m, err
}

// begin counts a call as under way until the function that it returns is called.
func (m *serverMetrics) begin(method string) (end func()) {
	g := m.inFlight.WithLabelValues(method)
	g.Inc()
	return g.Dec
}
