package storeapi

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/varve-tsdb/varve/internal/registration"
)

type clientMetrics struct {
	requests   *prometheus.CounterVec
	series     prometheus.Counter
	bytes      prometheus.Counter
	unsorted   prometheus.Counter
	registered *registration.Set
}

func newClientMetrics(reg prometheus.Registerer) (*clientMetrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "varve_storeapi_client_" + name, Help: help})
	}
	m := &clientMetrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "varve_storeapi_client_requests_total", Help: "Calls that have ended, by method and gRPC status.",
		}, []string{"method", "code"}),
		series:   counter("series_total", "Series that were received; one may come in several parts."),
		bytes:    counter("received_bytes_total", "Bytes of messages that were received, after decompression."),
		unsorted: counter("unsorted_reads_total", "Reads that failed because the server sent series out of order."),
	}
	var err error
	m.registered, err = registration.Register(reg, "storeapi.Client", m.requests, m.series, m.bytes, m.unsorted)
	return m, err
}
