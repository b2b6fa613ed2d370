package receive

import (
	"fmt"
	"iter"
	"net/http"
)

// Reason is what became of one sample, from a closed list. Its text form
// stands in metrics and answers and does not change.
type Reason uint8

// The reasons. The table below them says what each means for the sender.
const (
	// ReasonStored: in the storage as of the commit. It includes samples that
	// the storage recognised by itself as already there.
	ReasonStored Reason = iota
	// ReasonDuplicate: already there with the same value.
	ReasonDuplicate
	// ReasonDropped: the receiver's relabelling rules drop the series. Nothing
	// is stored, as the rules want it, so the sender has nothing to do.
	ReasonDropped

	// ReasonOutOfOrder: older than the newest sample of its series, and the
	// storage takes none out of order.
	ReasonOutOfOrder
	// ReasonTooOld: older than the storage's out-of-order window.
	ReasonTooOld
	// ReasonOutOfBounds: older than what the storage still holds open.
	ReasonOutOfBounds
	// ReasonTooFarInFuture: further ahead of the receiver's clock than allowed.
	ReasonTooFarInFuture
	// ReasonBadTimestamp: a time that the storage cannot calculate with.
	ReasonBadTimestamp
	// ReasonConflict: another value is there for the same time.
	ReasonConflict

	// ReasonNoMetricName: no label __name__, or an empty one.
	ReasonNoMetricName
	// ReasonEmptyLabelName: a label whose name is empty.
	ReasonEmptyLabelName
	// ReasonDuplicateLabel: the same label name twice.
	ReasonDuplicateLabel
	// ReasonLabelNotUTF8: a label name or value is not valid UTF-8.
	ReasonLabelNotUTF8
	// ReasonLabelsTooLong: the labels are more than 4,096 or longer than
	// MaxLabelBytes together, or those of the request, written out, than
	// MaxDecodedBytes.
	ReasonLabelsTooLong
	// ReasonBadSymbol: a reference outside of the symbols of the request, or
	// an odd number of them.
	ReasonBadSymbol
	// ReasonNoSamples: a 2.0 series with neither samples nor histograms nor
	// exemplars.
	ReasonNoSamples

	// ReasonBadHistogram: a histogram that contradicts itself.
	ReasonBadHistogram
	// ReasonHistogramsDisabled: the storage takes no native histograms.
	ReasonHistogramsDisabled
	// ReasonBadExemplar: an exemplar of a 2.0 request with invalid symbol
	// references. Its sample is stored all the same.
	ReasonBadExemplar
	// ReasonTemporality: a metric of OTLP whose temporality is not cumulative.
	ReasonTemporality
	// ReasonRefused: the storage refused for a reason of its own that trying
	// again does not change.
	ReasonRefused

	// The limits that refuse for good; see Limits and GlobalLimits.

	// ReasonRequestBytes: the body as sent is larger than a limit, or than all
	// of GlobalLimits.InFlightBytes.
	ReasonRequestBytes
	// ReasonDecodedBytes: the same of the body decompressed.
	ReasonDecodedBytes
	// ReasonRequestSeries: more series than Limits.RequestSeries.
	ReasonRequestSeries
	// ReasonRequestSamples: more samples than Limits.RequestSamples.
	ReasonRequestSamples
	// ReasonLabelCount: a series with more labels than Limits.LabelCount.
	ReasonLabelCount
	// ReasonLabelName: a label's name is longer than Limits.LabelNameBytes.
	ReasonLabelName
	// ReasonLabelValue: a label's value is longer than Limits.LabelValueBytes.
	ReasonLabelValue
	// ReasonActiveSeries: a series that is new, of a tenant that has as many
	// as Limits.ActiveSeries.
	ReasonActiveSeries

	// The limits that a request may be within another time.

	// ReasonRate: more samples than Limits.SamplesPerSecond.
	ReasonRate
	// ReasonTenantInFlight: more requests than Limits.InFlightRequests.
	ReasonTenantInFlight
	// ReasonInFlightRequests: more requests than GlobalLimits.InFlightRequests.
	ReasonInFlightRequests
	// ReasonInFlightBytes: no room within GlobalLimits.InFlightBytes.
	ReasonInFlightBytes
	// ReasonConcurrency: too long a wait for GlobalLimits.Concurrency.
	ReasonConcurrency

	// ReasonFailed: the storage failed. Nothing of the transaction is stored.
	ReasonFailed
	// ReasonUnavailable: the storage takes no writes now. Nothing of the
	// transaction is stored.
	ReasonUnavailable

	numReasons
)

// Class is what a Reason means for the sender.
type Class uint8

// The classes.
const (
	// Accepted: the value is in the storage, or is meant not to be.
	Accepted Class = iota
	// Final: sending it again cannot help. Never answered by a 5xx alone.
	Final
	// Retryable: sending it again may help. Never answered by a 4xx but 429,
	// after which senders come again that are configured to.
	Retryable
)

// String returns the class in lower case.
func (c Class) String() string {
	switch c {
	case Accepted:
		return "accepted"
	case Final:
		return "final"
	case Retryable:
		return "retryable"
	}
	return fmt.Sprintf("class(%d)", uint8(c))
}

type verdictRow struct {
	name   string
	class  Class
	status int
}

// verdictTable is the one place that decides. A request is answered with the
// highest status of its samples, which lets 5xx win over 429, retryable over
// final, and 400 over 204.
var verdictTable = [numReasons]verdictRow{
	ReasonStored:    {"stored", Accepted, http.StatusNoContent},
	ReasonDuplicate: {"duplicate", Accepted, http.StatusNoContent},
	ReasonDropped:   {"dropped", Accepted, http.StatusNoContent},

	ReasonOutOfOrder:     {"out_of_order", Final, http.StatusBadRequest},
	ReasonTooOld:         {"too_old", Final, http.StatusBadRequest},
	ReasonOutOfBounds:    {"out_of_bounds", Final, http.StatusBadRequest},
	ReasonTooFarInFuture: {"too_far_in_future", Final, http.StatusBadRequest},
	ReasonBadTimestamp:   {"timestamp_out_of_range", Final, http.StatusBadRequest},
	ReasonConflict:       {"conflicting_value", Final, http.StatusBadRequest},

	ReasonNoMetricName:   {"missing_metric_name", Final, http.StatusBadRequest},
	ReasonEmptyLabelName: {"empty_label_name", Final, http.StatusBadRequest},
	ReasonDuplicateLabel: {"duplicate_label_name", Final, http.StatusBadRequest},
	ReasonLabelNotUTF8:   {"label_not_utf8", Final, http.StatusBadRequest},
	ReasonLabelsTooLong:  {"labels_too_long", Final, http.StatusBadRequest},
	ReasonBadSymbol:      {"invalid_symbol_reference", Final, http.StatusBadRequest},
	ReasonNoSamples:      {"no_samples", Final, http.StatusBadRequest},

	ReasonBadHistogram:       {"invalid_histogram", Final, http.StatusBadRequest},
	ReasonHistogramsDisabled: {"histograms_disabled", Final, http.StatusBadRequest},
	ReasonBadExemplar:        {"invalid_exemplar", Final, http.StatusBadRequest},
	ReasonTemporality:        {"unsupported_temporality", Final, http.StatusBadRequest},
	ReasonRefused:            {"refused_by_storage", Final, http.StatusBadRequest},

	ReasonRequestBytes:   {"request_bytes_limit", Final, http.StatusRequestEntityTooLarge},
	ReasonDecodedBytes:   {"decoded_bytes_limit", Final, http.StatusRequestEntityTooLarge},
	ReasonRequestSeries:  {"request_series_limit", Final, http.StatusRequestEntityTooLarge},
	ReasonRequestSamples: {"request_samples_limit", Final, http.StatusRequestEntityTooLarge},
	ReasonLabelCount:     {"label_count_limit", Final, http.StatusBadRequest},
	ReasonLabelName:      {"label_name_bytes_limit", Final, http.StatusBadRequest},
	ReasonLabelValue:     {"label_value_bytes_limit", Final, http.StatusBadRequest},
	ReasonActiveSeries:   {"active_series_limit", Final, http.StatusBadRequest},

	ReasonRate:             {"ingestion_rate_limit", Retryable, http.StatusTooManyRequests},
	ReasonTenantInFlight:   {"tenant_in_flight_requests_limit", Retryable, http.StatusTooManyRequests},
	ReasonInFlightRequests: {"in_flight_requests_limit", Retryable, http.StatusServiceUnavailable},
	ReasonInFlightBytes:    {"in_flight_bytes_limit", Retryable, http.StatusServiceUnavailable},
	ReasonConcurrency:      {"concurrency_limit", Retryable, http.StatusServiceUnavailable},

	ReasonFailed:      {"storage_failed", Retryable, http.StatusInternalServerError},
	ReasonUnavailable: {"storage_unavailable", Retryable, http.StatusServiceUnavailable},
}

// Reasons yields every reason there is.
func Reasons() iter.Seq[Reason] {
	return func(yield func(Reason) bool) {
		for r := range numReasons {
			if !yield(r) {
				return
			}
		}
	}
}

// ParseReason returns the reason that String writes as text. It returns false if
// there is none, as when a newer version has said it.
func ParseReason(text string) (Reason, bool) {
	for r := range numReasons {
		if verdictTable[r].name == text {
			return r, true
		}
	}
	return 0, false
}

// String returns the reason as it stands in metrics and answers.
func (r Reason) String() string {
	if r >= numReasons {
		return fmt.Sprintf("reason(%d)", uint8(r))
	}
	return verdictTable[r].name
}

// Class returns what r means for the sender.
func (r Reason) Class() Class { return verdictTable[r].class }

// Status returns the HTTP status that a request with only r is answered with.
func (r Reason) Status() int { return verdictTable[r].status }
