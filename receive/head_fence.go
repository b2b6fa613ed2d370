package receive

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/prometheus/prometheus/tsdb/chunks"
)

// headFailure says why a head takes no more writes.
type headFailure struct {
	err error
	// unreadable is set if reads might hang or lie, too.
	unreadable bool
}

// failure returns nil while the head takes writes.
func (h *head) failure() error {
	if f := h.failed.Load(); f != nil {
		return f.err
	}
	return nil
}

// readFailure returns nil while the head can be read.
func (h *head) readFailure() error {
	if f := h.failed.Load(); f != nil && f.unreadable {
		return f.err
	}
	return nil
}

// fail marks the head as failed and returns the error for whoever met it.
func (h *head) fail(doing string, cause error, unreadable bool) error {
	f := &headFailure{
		err:        &TenantError{Tenant: h.tenant, External: h.external, Kind: ErrTenantFailed, Err: fmt.Errorf("%s: %w", doing, cause)},
		unreadable: unreadable,
	}
	for {
		old := h.failed.Load()
		if old != nil && (old.unreadable || !unreadable) {
			return f.err
		}
		if h.failed.CompareAndSwap(old, f) {
			h.onFail(f)
			return f.err
		}
	}
}

// fence turns a panic of the TSDB into an error and a failed head. It must be
// deferred. A panic in the middle of an append may have left a series locked,
// which ends reading, too.
func (h *head) fence(doing string, unreadable bool, err *error) {
	if r := recover(); r != nil {
		*err = h.fail(doing, h.panicked(doing, r), unreadable)
	}
}

// readFence turns a panic of the TSDB over broken data into the error of the
// read that met it. Broken chunks of the head itself, which an opening finds
// and replaces from the write-ahead log, fail the head.
func (h *head) readFence(doing string, err *error) {
	r := recover()
	if r == nil {
		return
	}
	cause := h.panicked(doing, r)
	var broken *chunks.CorruptionErr
	if errors.As(cause, &broken) {
		*err = h.fail(doing, cause, true)
		return
	}
	*err = fmt.Errorf("tenant %q: %s in %s: %w", h.tenant, doing, h.dir, cause)
}

func (h *head) panicked(doing string, r any) error {
	cause, ok := r.(error)
	if !ok {
		cause = fmt.Errorf("%v", r)
	}
	h.log.Error("The TSDB panicked.", "doing", doing, "panic", cause, "stack", string(debug.Stack()))
	return cause
}
