package receive

import (
	"errors"
	"syscall"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
)

// ReasonOf returns what an error of a storage.AppenderV2 or an Appendable says
// about the sample. No error is ReasonStored. Errors that nothing is known
// about are ReasonFailed, which is retryable: giving up on good samples is
// worse than asking once too often.
func ReasonOf(err error) Reason {
	if err == nil {
		return ReasonStored
	}
	says, ok := errorAs[retryabler](err)
	if ok && says.Retryable() {
		return ReasonUnavailable
	}
	for _, known := range storageErrors {
		if errors.Is(err, known.err) {
			return known.reason
		}
	}
	if _, ok := errorAs[histogram.Error](err); ok {
		return ReasonBadHistogram
	}
	if ok {
		return ReasonRefused
	}
	return ReasonFailed
}

var storageErrors = [...]struct {
	err    error
	reason Reason
}{
	{storage.ErrOutOfOrderSample, ReasonOutOfOrder},
	{storage.ErrTooOldSample, ReasonTooOld},
	{storage.ErrOutOfBounds, ReasonOutOfBounds},
	{storage.ErrDuplicateSampleForTimestamp, ReasonConflict},
	{storage.ErrNativeHistogramsDisabled, ReasonHistogramsDisabled},
	// The head finds nothing in a label set that was not refused before, but
	// another storage may.
	{tsdb.ErrInvalidSample, ReasonRefused},
	{ErrInvalidTenant, ReasonRefused},
	{ErrUnavailable, ReasonUnavailable},
	{ErrTenantFailed, ReasonUnavailable},
	{ErrNoSpace, ReasonUnavailable},
	// Not unavailable, or a router would leave the receiver alone as a whole.
	{ErrBadReplica, ReasonFailed},
	{ErrClosed, ReasonUnavailable},
	{tsdb.ErrNotReady, ReasonUnavailable},
	{tsdb.ErrClosed, ReasonUnavailable},
	{tsdb.ErrAppenderClosed, ReasonUnavailable},
	{syscall.ENOSPC, ReasonUnavailable},
	{syscall.EDQUOT, ReasonUnavailable},
}

// errorAs is errors.As. It allocates nothing if there is no error.
func errorAs[T any](err error) (_ T, _ bool) {
	if err == nil {
		return
	}
	var as T
	ok := errors.As(err, &as)
	return as, ok
}
