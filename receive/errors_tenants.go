package receive

import (
	"errors"
	"fmt"
	"math"

	"github.com/prometheus/prometheus/model/labels"
)

// What can be wrong with a tenant, to be tested with errors.Is. Errors of these
// kinds that concern one tenant are of type *TenantError.
var (
	// ErrInvalidTenant: the name cannot be a tenant's. Final: the same request
	// will always fail.
	ErrInvalidTenant = errors.New("invalid tenant name")
	// ErrTenantFailed: the tenant's TSDB could not be opened or has broken. It
	// is opened again by the next passes of Tenants.Run, so retrying helps.
	// Other tenants go on.
	ErrTenantFailed = errors.New("tenant is not available")
	// ErrNoSpace: the disk has less free space than TenantsOptions.MinFreeDisk,
	// so nothing is written. Retrying helps once there is space.
	ErrNoSpace = errors.New("not enough free disk space to write")
	// ErrClosed: the Tenants has been closed. Retrying helps if another takes
	// its place, as after a restart.
	ErrClosed error = retryableError("tenants are closed")
)

// retryableError is a sentinel that says so itself.
type retryableError string

func (e retryableError) Error() string { return string(e) }

// Retryable tells that the same request may succeed later.
func (retryableError) Retryable() bool { return true }

// Unavailable is the same to the query API.
func (retryableError) Unavailable() bool { return true }

// TenantError is an error of one tenant.
type TenantError struct {
	Tenant string
	// External labels of the tenant's series, empty if they are not known. A
	// read that fails with the error lacks what carries them, and nothing else.
	External labels.Labels
	// Kind is ErrInvalidTenant, ErrTenantFailed or ErrNoSpace.
	Kind error
	// Detail says more where there is no Err.
	Detail string
	// Err is the cause, if there is one.
	Err error
}

// Error names the tenant, the kind of the problem and its cause.
func (e *TenantError) Error() string {
	text := fmt.Sprintf("tenant %q: %v", e.Tenant, e.Kind)
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the kind and the cause.
func (e *TenantError) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

// Retryable tells whether the same request may succeed later.
func (e *TenantError) Retryable() bool { return e.Kind != ErrInvalidTenant }

// Unavailable is Retryable under the name by which the query API knows that
// trying again later helps.
func (e *TenantError) Unavailable() bool { return e.Retryable() }

// Missing yields what a read that fails with the error lacks: all of the
// tenant's time, inclusive, in milliseconds. It yields nothing if the tenant's
// external labels are not known.
func (e *TenantError) Missing(yield func(external labels.Labels, mint, maxt int64) bool) {
	if !e.External.IsEmpty() {
		yield(e.External, math.MinInt64, math.MaxInt64)
	}
}
