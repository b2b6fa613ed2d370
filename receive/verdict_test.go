package receive

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"syscall"
	"testing"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
)

// The table is complete, and its classes and statuses fit what senders do.
func TestVerdictTable(t *testing.T) {
	names := map[string]Reason{}
	var n int
	for r := range Reasons() {
		n++
		name := r.String()
		if other, ok := names[name]; ok || name == "" {
			t.Errorf("reasons %d and %d are both called %q", other, r, name)
		}
		names[name] = r
		if got, ok := ParseReason(name); !ok || got != r {
			t.Errorf("%q is parsed as %s, %v", name, got, ok)
		}
		for _, c := range name {
			if c != '_' && c != '8' && (c < 'a' || c > 'z') {
				t.Errorf("%q is not fit for a label value that people type", name)
				break
			}
		}
		switch status := r.Status(); r.Class() {
		case Accepted:
			if status != http.StatusNoContent {
				t.Errorf("%s is accepted with status %d", r, status)
			}
		case Final:
			if status < 400 || status > 499 || status == http.StatusTooManyRequests {
				t.Errorf("%s is final with status %d, after which senders come again", r, status)
			}
		case Retryable:
			if status < 500 && status != http.StatusTooManyRequests {
				t.Errorf("%s is retryable with status %d, after which senders give up", r, status)
			}
		default:
			t.Errorf("%s has class %s", r, r.Class())
		}
	}
	if got, ok := ParseReason("bad_weather"); ok {
		t.Errorf("a reason that there is not is parsed as %s", got)
	}
	if n != int(numReasons) || ReasonStored != 0 {
		t.Errorf("%d reasons, want %d, of which 0 is stored", n, numReasons)
	}
	if Reason(200).String() == "" || Class(9).String() == "" {
		t.Error("unknown values have no text")
	}
}

// A request has the status of its worst sample; retryable beats final.
func TestVerdictsOfARequest(t *testing.T) {
	for a := range Reasons() {
		for b := range Reasons() {
			var verdicts tally
			verdicts.add(a, floatSample)
			verdicts.refuse(b, tallyCounts{})
			status := verdicts.status()
			want := max(a.Status(), b.Status())
			if status != want {
				t.Errorf("%s and %s: status %d, want %d", a, b, status, want)
			}
			if retry := a.Class() == Retryable || b.Class() == Retryable; retry != (status >= 500 || status == http.StatusTooManyRequests) {
				t.Errorf("%s and %s: status %d", a, b, status)
			}
			if (status == http.StatusNoContent) != (a.Class() == Accepted && b.Class() == Accepted) {
				t.Errorf("%s and %s: status %d", a, b, status)
			}
		}
	}
}

func TestReasonOf(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want Reason
	}{
		{nil, ReasonStored},
		{storage.ErrOutOfOrderSample, ReasonOutOfOrder},
		{storage.ErrTooOldSample, ReasonTooOld},
		{storage.ErrOutOfBounds, ReasonOutOfBounds},
		{storage.ErrDuplicateSampleForTimestamp, ReasonConflict},
		{storage.NewDuplicateFloatErr(1, 2, 3), ReasonConflict},
		{histogram.ErrHistogramCountMismatch, ReasonBadHistogram},
		{fmt.Errorf("positive side: %w", histogram.ErrHistogramSpanNegativeOffset), ReasonBadHistogram},
		{histogram.InvalidSchemaError(12), ReasonBadHistogram},
		{storage.ErrNativeHistogramsDisabled, ReasonHistogramsDisabled},
		{tsdb.ErrInvalidSample, ReasonRefused},
		{ErrInvalidTenant, ReasonRefused},
		{finalError{}, ReasonRefused},
		{ErrUnavailable, ReasonUnavailable},
		{fmt.Errorf("replaying: %w", ErrUnavailable), ReasonUnavailable},
		{&TenantError{Kind: ErrNoSpace}, ReasonUnavailable},
		{&TenantError{Kind: ErrTenantFailed, Err: storage.ErrOutOfOrderSample}, ReasonUnavailable},
		{ErrClosed, ReasonUnavailable},
		{tsdb.ErrClosed, ReasonUnavailable},
		{tsdb.ErrNotReady, ReasonUnavailable},
		{fmt.Errorf("write wal: %w", syscall.ENOSPC), ReasonUnavailable},
		{fmt.Errorf("tenant t: %w", ErrBadReplica), ReasonFailed},
		{&OverloadError{Reason: ReasonInFlightBytes}, ReasonUnavailable},
		{&OverloadError{Reason: ReasonRequestBytes}, ReasonUnavailable},
		{errors.New("who knows"), ReasonFailed},
		{context.Canceled, ReasonFailed},
	} {
		if got := ReasonOf(tc.err); got != tc.want {
			t.Errorf("%v is %s, want %s", tc.err, got, tc.want)
		}
	}
}
