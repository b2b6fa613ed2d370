package readcost

import "github.com/prometheus/client_golang/prometheus"

// Metrics are what reads have cost, for whoever opens their accounts.
type Metrics struct {
	requests, bytes, memory, series *prometheus.HistogramVec // a read
	blocks, steps, hits             *prometheus.CounterVec
	price                           prometheus.Counter // nil if nobody knows prices
}

// NewMetrics returns metrics whose names begin with prefix. The histograms have
// the labels; priced says that there may be prices.
func NewMetrics(prefix string, priced bool, labels ...string) *Metrics {
	histogram := func(name, help string, buckets []float64) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: prefix + name, Help: help, Buckets: buckets}, labels)
	}
	counter := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + name, Help: help}, []string{label})
	}
	sizes := prometheus.ExponentialBuckets(64<<10, 8, 7)
	m := &Metrics{
		requests: histogram("requests", "Requests of buckets that a query made.", []float64{0, 1, 4, 16, 64, 256, 1024, 4096}),
		bytes:    histogram("read_bytes", "Bytes that a query read of buckets.", sizes),
		memory:   histogram("memory_bytes", "Most memory that a query held of its budget at a time.", sizes),
		series:   histogram("series", "Series that a query got, after merging.", prometheus.ExponentialBuckets(1, 10, 7)),
		blocks:   counter("blocks_total", "Blocks that queries considered, by what came of it: read, or the reason why not.", "result"),
		steps:    counter("step_seconds_total", "Time that queries spent, by step, added up over what runs side by side.", "step"),
		hits:     counter("cache_hits_total", "Pieces of blocks that were found in a cache, by what was read.", "data"),
	}
	if priced {
		m.price = prometheus.NewCounter(prometheus.CounterOpts{Name: prefix + "price_total", Help: "What the requests and bytes of queries cost, by the prices that were set and in their currency."})
	}
	m.blocks.WithLabelValues(blocksRead)
	for _, why := range Skips() {
		m.blocks.WithLabelValues(why.String())
	}
	for _, step := range Steps() {
		m.steps.WithLabelValues(step.String())
	}
	for _, kind := range Kinds() {
		m.hits.WithLabelValues(kind.String())
	}
	return m
}

const blocksRead = "read"

// Collectors are all of them, to register.
func (m *Metrics) Collectors() []prometheus.Collector {
	all := []prometheus.Collector{m.requests, m.bytes, m.memory, m.series, m.blocks, m.steps, m.hits}
	if m.price != nil {
		all = append(all, m.price)
	}
	return all
}

// Observe what a read has cost. What of it only stores tell counts if touched
// says that some store did.
func (m *Metrics) Observe(r Report, touched bool, labels ...string) {
	m.series.WithLabelValues(labels...).Observe(float64(r.SeriesReturned))
	m.memory.WithLabelValues(labels...).Observe(float64(r.PeakBytes))
	if !touched {
		return
	}
	m.requests.WithLabelValues(labels...).Observe(float64(r.Requests()))
	m.bytes.WithLabelValues(labels...).Observe(float64(r.Bytes()))
	m.blocks.WithLabelValues(blocksRead).Add(float64(max(r.BlocksRead(), 0)))
	for why, n := range r.BlocksSkipped {
		m.blocks.WithLabelValues(why).Add(float64(n))
	}
	for step, seconds := range r.Seconds {
		m.steps.WithLabelValues(step).Add(seconds)
	}
	for kind, f := range r.Fetched {
		m.hits.WithLabelValues(kind).Add(float64(f.CacheHits))
	}
	if r.Price != nil && m.price != nil {
		m.price.Add(*r.Price)
	}
}
