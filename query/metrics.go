package query

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/varve-tsdb/varve/internal/readcost"
	"github.com/varve-tsdb/varve/internal/registration"
)

// handlerMetrics of one Handler.
type handlerMetrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	inFlight prometheus.Gauge
	costs    *readcost.Metrics
}

func newHandlerMetrics(reg prometheus.Registerer) (*handlerMetrics, error) {
	m := &handlerMetrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "varve_query_requests_total",
			Help: "Requests answered by the query API, by handler and status code.",
		}, []string{"handler", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:                            "varve_query_request_duration_seconds",
			Help:                            "Time from a request's arrival to the end of its answer.",
			Buckets:                         []float64{.005, .025, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120},
			NativeHistogramBucketFactor:     1.1,
			NativeHistogramMaxBucketNumber:  100,
			NativeHistogramMinResetDuration: time.Hour,
		}, []string{"handler"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "varve_query_requests_in_flight",
			Help: "Requests that the query API is answering.",
		}),
		costs: readcost.NewMetrics("varve_query_cost_", true, "handler"),
	}
	_, err := registration.Register(reg, "query.Handler", append(m.costs.Collectors(), m.requests, m.duration, m.inFlight)...)
	return m, err
}

// cost of one request that has read something.
func (m *handlerMetrics) cost(handler string, r CostReport, touched bool) {
	m.costs.Observe(r, touched, handler)
}

// observe one answered request. A request that ended without a status sent 200.
func (m *handlerMetrics) observe(handler string, code int, took time.Duration) {
	if code == 0 {
		code = http.StatusOK
	}
	m.requests.WithLabelValues(handler, strconv.Itoa(code)).Inc()
	m.duration.WithLabelValues(handler).Observe(took.Seconds())
}
