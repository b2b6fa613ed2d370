package receive

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// handlerMetrics are those of one Handler.
type handlerMetrics struct {
	requests  *prometheus.CounterVec
	samples   *prometheus.CounterVec
	exemplars *prometheus.CounterVec
	metadata  *prometheus.CounterVec
	duration  *prometheus.HistogramVec
	bodySize  prometheus.Histogram
	decoded   prometheus.Histogram
	inFlight  prometheus.Gauge
}

func newHandlerMetrics(reg prometheus.Registerer) (*handlerMetrics, error) {
	sizes := prometheus.ExponentialBuckets(1<<10, 4, 9) // 1 KiB to 64 MiB
	m := &handlerMetrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "varve_receive_requests_total",
			Help: "Remote write requests by protocol version, peer for those that other receivers have forwarded, and status code of the answer.",
		}, []string{"version", "code"}),
		samples: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "varve_receive_samples_total",
			Help: "Samples received, histograms included, by tenant (empty before it has any) and what became of them.",
		}, []string{"tenant", "reason"}),
		exemplars: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "varve_receive_exemplars_total",
			Help: "Exemplars received, by tenant (empty before it has samples) and what became of them.",
		}, []string{"tenant", "reason"}),
		metadata: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "varve_receive_metadata_total",
			Help: "Entries of metadata received apart from series, by tenant (empty before it has samples) and whether the storage took them.",
		}, []string{"tenant", "reason"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:                            "varve_receive_request_duration_seconds",
			Help:                            "Time to answer a remote write request, the arrival of its body included.",
			Buckets:                         []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
			NativeHistogramBucketFactor:     1.1,
			NativeHistogramMaxBucketNumber:  100,
			NativeHistogramMinResetDuration: time.Hour,
		}, []string{"version"}),
		bodySize: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "varve_receive_body_bytes", Help: "Size of request bodies as received.", Buckets: sizes,
		}),
		decoded: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "varve_receive_decoded_bytes", Help: "Size of request bodies after decompression.", Buckets: sizes,
		}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "varve_receive_requests_in_flight", Help: "Remote write requests being handled now.",
		}),
	}
	return m, m.register(reg)
}

func (m *handlerMetrics) register(reg prometheus.Registerer) error {
	if reg == nil {
		return nil
	}
	all := []prometheus.Collector{m.requests, m.samples, m.exemplars, m.metadata, m.duration, m.bodySize, m.decoded, m.inFlight}
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
			return fmt.Errorf("metrics of the receive handler: %w: for a second handler on one registry, wrap it with prometheus.WrapRegistererWith", err)
		}
		return fmt.Errorf("metrics of the receive handler: %w", err)
	}
	return nil
}

func (m *handlerMetrics) sizes(body, decoded int) {
	m.bodySize.Observe(float64(body))
	m.decoded.Observe(float64(decoded))
}

func (m *handlerMetrics) request(a *handlerAnswer, took time.Duration) {
	version := a.version.String()
	m.requests.WithLabelValues(version, strconv.Itoa(a.status)).Inc()
	m.duration.WithLabelValues(version).Observe(took.Seconds())
}

// verdicts counts what became of the samples of one request. There is a series
// for each tenant of which something was stored; the others' label is empty.
func (m *handlerMetrics) verdicts(tenant string, t *tally, metadata, failed int) {
	for r := range numReasons {
		if n := t.samples[r].total(); n > 0 {
			m.samples.WithLabelValues(tenant, r.String()).Add(float64(n))
		}
	}
	for outcome, n := range t.exemplars {
		if n > 0 {
			m.exemplars.WithLabelValues(tenant, exemplarOutcomeNames[outcome]).Add(float64(n))
		}
	}
	if metadata > failed {
		m.metadata.WithLabelValues(tenant, ReasonStored.String()).Add(float64(metadata - failed))
	}
	if failed > 0 {
		m.metadata.WithLabelValues(tenant, ReasonFailed.String()).Add(float64(failed))
	}
}
