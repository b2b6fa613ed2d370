package receive

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// forwardMetrics are those of one Router.
type forwardMetrics struct {
	requests  *prometheus.CounterVec
	series    *prometheus.CounterVec
	bytes     prometheus.Counter
	duration  prometheus.Histogram
	inFlight  prometheus.Gauge
	backedOff prometheus.Gauge
	late      prometheus.Counter
}

func newForwardMetrics(reg prometheus.Registerer) (*forwardMetrics, error) {
	const prefix = "varve_receive_forward_"
	m := &forwardMetrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "requests_total",
			Help: "Requests to other receivers, by endpoint and what came of them: stored, refused for good at least in part, failed at least in part, or skipped because the receiver has failed before or too much is on its way to it.",
		}, []string{"endpoint", "result"}),
		series: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "series_total",
			Help: "Series that belong on other receivers, each as often as it is replicated there, by the class of what became of them.",
		}, []string{"class"}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: prefix + "bytes_total", Help: "Bytes of encoded series sent to other receivers, before compression.",
		}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:                            prefix + "duration_seconds",
			Help:                            "Time that other receivers take to answer.",
			Buckets:                         []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
			NativeHistogramBucketFactor:     1.1,
			NativeHistogramMaxBucketNumber:  100,
			NativeHistogramMinResetDuration: time.Hour,
		}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: prefix + "requests_in_flight", Help: "Requests to other receivers under way now.",
		}),
		backedOff: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: prefix + "failed_peers", Help: "Other receivers that are left alone now because they have failed.",
		}),
		late: prometheus.NewCounter(prometheus.CounterOpts{
			Name: prefix + "late_answers_total", Help: "Requests to other receivers that the sender's request did not wait for, as its verdict was certain or its time was over.",
		}),
	}
	return m, m.register(reg)
}

func (m *forwardMetrics) register(reg prometheus.Registerer) error {
	if reg == nil {
		return nil
	}
	all := []prometheus.Collector{m.requests, m.series, m.bytes, m.duration, m.inFlight, m.backedOff, m.late}
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
			return fmt.Errorf("metrics of the receive router: %w: for a second router on one registry, wrap it with prometheus.WrapRegistererWith", err)
		}
		return fmt.Errorf("metrics of the receive router: %w", err)
	}
	return nil
}

func (m *forwardMetrics) begin(bytes int) {
	m.inFlight.Inc()
	m.bytes.Add(float64(bytes))
}

// end counts an answer.
func (m *forwardMetrics) end(s *forwardShare, took time.Duration) {
	m.inFlight.Dec()
	m.duration.Observe(took.Seconds())
	refusal, _ := errorAs[*PeerRefusal](s.err)
	var n [Retryable + 1]int
	for i, all := 0, ReasonOf(s.err); i < len(s.series); i++ {
		n[s.reasonFor(i, all, refusal).Class()]++
	}
	result := "stored"
	switch {
	case n[Retryable] > 0:
		result = "failed"
	case n[Final] > 0:
		result = "refused"
	}
	m.requests.WithLabelValues(s.peer.endpoint.Address, result).Inc()
	for class, count := range n {
		if count > 0 {
			m.series.WithLabelValues(Class(class).String()).Add(float64(count))
		}
	}
}

// skipped counts what is not sent.
func (m *forwardMetrics) skipped(s *forwardShare) {
	m.requests.WithLabelValues(s.peer.endpoint.Address, "skipped").Inc()
	m.series.WithLabelValues(Retryable.String()).Add(float64(len(s.series)))
}

func (m *forwardMetrics) turned(failed bool) {
	if failed {
		m.backedOff.Inc()
	} else {
		m.backedOff.Dec()
	}
}

// forget drops the metrics of a peer that is in no hashring any more.
func (m *forwardMetrics) forget(p *forwardPeer) {
	m.requests.DeletePartialMatch(prometheus.Labels{"endpoint": p.endpoint.Address})
	if p.failing() {
		m.backedOff.Dec()
	}
}
