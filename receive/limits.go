package receive

import (
	"runtime"
	"time"
)

// Limits bound what one tenant may send. Each is inclusive, and zero or less
// means that there is none. The package documentation says what a request over
// a limit is answered.
type Limits struct {
	// RequestBytes bounds the body of a request as it is sent, compressed.
	// HandlerOptions.MaxBodyBytes holds as well.
	RequestBytes int64
	// DecodedBytes bounds the body decompressed. HandlerOptions.MaxDecodedBytes
	// holds as well.
	DecodedBytes int64
	// RequestSeries bounds the series of a request.
	RequestSeries int
	// RequestSamples bounds the samples of a request, histograms counted as one
	// each. A request has to be walked once more to count them, which takes a
	// twentieth of the time it takes to store it.
	RequestSamples int

	// LabelCount bounds the labels of a series, the metric's name among them,
	// as they are stored: after relabelling.
	LabelCount int
	// LabelNameBytes bounds the name of a label in bytes.
	LabelNameBytes int
	// LabelValueBytes bounds the value of a label in bytes.
	LabelValueBytes int

	// ActiveSeries bounds the series of the tenant that the storage has in
	// memory. It works if the storage's appenders are SeriesCounters, as those
	// of Tenants are.
	ActiveSeries int

	// SamplesPerSecond bounds the rate of samples, histograms counted as one
	// each, whatever becomes of them.
	SamplesPerSecond float64
	// SamplesBurst is how many samples may come at once after a pause. Default
	// those of ten seconds. One request more than that passes, so that none is
	// too large for ever.
	SamplesBurst float64

	// InFlightRequests bounds the requests of the tenant that are being handled
	// at once, from their first byte to their answer.
	InFlightRequests int
}

// labelLimits are those of Limits that decide what becomes of labels.
type labelLimits struct{ count, nameBytes, valueBytes int }

func (l *Limits) labels() labelLimits {
	return labelLimits{max(l.LabelCount, 0), max(l.LabelNameBytes, 0), max(l.LabelValueBytes, 0)}
}

// GlobalLimits bound what a process spends on all tenants together. Zero is the
// documented default, negative means no bound.
type GlobalLimits struct {
	// InFlightBytes is the memory that the bodies of requests may take together,
	// those as sent and those decompressed, in bytes. It is accounted before it
	// is taken. A request that does not fit now is told to come again; one that
	// needs more than all of it is too large for good. Default 256 MiB.
	//
	// What other receivers hand over takes from it too. A receiver that both routes
	// and stores leaves a quarter of it, and of InFlightRequests, to that alone:
	// requests of senders wait for other receivers, which wait for this one.
	//
	// What a request takes beyond its bodies while it is stored, such as the
	// samples of its transaction, is not in it. Concurrency keeps that low: without
	// it, the process was measured to grow by four times this.
	InFlightBytes int64
	// InFlightRequests bounds the requests that are being handled at once, from
	// their first byte to their answer. Default 2,000.
	InFlightRequests int
	// Concurrency bounds the requests that are decompressed and stored at once.
	// Others wait with their body in memory, first come first served, for up to
	// five seconds; once that is how long it takes, new ones are told to come
	// again before their body is read. Default 4 times runtime.GOMAXPROCS(0).
	//
	// A request that waits for the storage keeps its place. What other receivers
	// hand over to be stored here has as many turns of its own.
	Concurrency int
}

const (
	defaultInFlightBytes    = 256 << 20
	defaultInFlightRequests = 2000
	concurrencyPerProcessor = 4
	defaultBurst            = 10 * time.Second
)

// LimitSet is the limits of all tenants at one time. Once it is in use it must
// not be changed: another takes its place.
type LimitSet struct {
	// Global are those of the process.
	Global GlobalLimits
	// Default are those of tenants that have none of their own.
	Default Limits
	// Tenants are those of some tenants by their names, in place of Default,
	// all of it.
	Tenants map[string]Limits

	unused []string // keys of the file that have no effect here
}

// For returns the limits of a tenant.
func (s *LimitSet) For(tenant string) Limits {
	if own, ok := s.Tenants[tenant]; ok {
		return own
	}
	return s.Default
}

// peerShare is the part of the memory and requests that is left to peers: one in
// so many.
const peerShare = 4

// besidePeers returns what is left for requests of senders where some is kept for
// peers.
func (g GlobalLimits) besidePeers() GlobalLimits {
	g.InFlightBytes -= max(g.InFlightBytes, 0) / peerShare
	g.InFlightRequests -= max(g.InFlightRequests, 0) / peerShare
	return g
}

// resolved returns the limits with defaults in place of zero.
func (g GlobalLimits) resolved() GlobalLimits {
	if g.InFlightBytes == 0 {
		g.InFlightBytes = defaultInFlightBytes
	}
	if g.InFlightRequests == 0 {
		g.InFlightRequests = defaultInFlightRequests
	}
	if g.Concurrency == 0 {
		g.Concurrency = concurrencyPerProcessor * runtime.GOMAXPROCS(0)
	}
	return g
}
