package receive

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/relabel"
)

const (
	// DefaultTenantHeader is the header that Thanos' senders name the tenant in.
	DefaultTenantHeader = "THANOS-TENANT"
	// DefaultTenant takes what comes without a tenant.
	DefaultTenant = "default-tenant"
)

// unboundedLabelBytes bounds the labels of a request where MaxDecodedBytes does
// not.
const unboundedLabelBytes = 64 << 20

// HandlerOptions are the settings of a Handler. The zero value is usable.
type HandlerOptions struct {
	// TenantHeader is the request header that names the tenant. If a request
	// has none of this name, DefaultTenantHeader is looked at next.
	// Default DefaultTenantHeader.
	TenantHeader string
	// DefaultTenant is the tenant of requests that name none. Default
	// "default-tenant".
	DefaultTenant string
	// MaxBodyBytes bounds the compressed body; a larger one is answered 413.
	// Default 32 MiB, as in Prometheus. Negative means no bound but that of
	// GlobalLimits.InFlightBytes.
	MaxBodyBytes int64
	// MaxDecodedBytes bounds the decompressed body; a larger one is answered
	// 413 before memory is taken for it. At most 4 GiB - 1, the most that
	// snappy can express. Default 64 MiB: twice what Prometheus takes, and
	// more than ten times what senders make by default. Negative means that
	// only MaxBodyBytes bounds it.
	//
	// It bounds the labels of a 2.0 request too, as if they were written out
	// for each series and exemplar: what is beyond it is refused. For that,
	// negative means 64 MiB, or the size of the body if that is more.
	MaxDecodedBytes int64
	// TooFarInFuture is how far ahead of the receiver's clock the time of a
	// sample may be. Default 10 minutes, as in Prometheus: one sample from
	// next year would make all others of the tenant too old; or what the
	// storage has to say of it in a method MaxLead() time.Duration, as Tenants
	// has, if that is less. Negative means no bound.
	TooFarInFuture time.Duration
	// Limits returns the limits of now; LimitsFile.Current is such a function.
	// It is called at the beginning of each request, by many at once, and must
	// not wait. nil, as the function or as what it returns, stands for an empty
	// LimitSet: the defaults of GlobalLimits and no limit on tenants.
	Limits func() *LimitSet
	// BodyTimeout is how long the body of a request may take to arrive, counted
	// from its header. A slower one is answered 503 and its connection closed.
	// The ReadTimeout of the http.Server holds as well. Default 30 seconds,
	// after which Prometheus gives up too. Negative means no bound.
	BodyTimeout time.Duration
	// Relabel are rules that each series goes through before it is stored, in
	// the meaning of Prometheus' write_relabel_configs. What they drop is
	// counted as dropped and is no refusal. They see the labels as they were
	// sent, without the tenant's name and external labels. With a Router they
	// are applied where a series is stored, so all receivers of a group should
	// have the same. Default none.
	Relabel []*relabel.Config
	// Router sends each series to the receivers that it belongs on by the
	// hashrings, this one among them or not. Default nil: everything is appended
	// here. The Handler does not close it.
	Router *Router
	// RetryAfter is what a sender is told to wait before it sends a request
	// again, where that may help. It is rounded up to whole seconds. Default 5
	// seconds. Negative sends no Retry-After, which leaves it to the sender.
	// With too much load it is what senders are spread over, and a tenant over
	// its rate is told how long that takes.
	RetryAfter time.Duration
	// Logger gets the messages; nil is silent. What senders do wrong appears
	// at level debug, failures of the storage at level error.
	Logger *slog.Logger
	// Registerer gets the metrics; nil means none. For two handlers on one
	// registry wrap it with prometheus.WrapRegistererWith.
	Registerer prometheus.Registerer
}

func (o HandlerOptions) withDefaults() HandlerOptions {
	if o.TenantHeader == "" {
		o.TenantHeader = DefaultTenantHeader
	}
	if o.DefaultTenant == "" {
		o.DefaultTenant = DefaultTenant
	}
	if o.MaxBodyBytes == 0 {
		o.MaxBodyBytes = 32 << 20
	}
	if o.MaxDecodedBytes == 0 {
		o.MaxDecodedBytes = 64 << 20
	}
	if o.TooFarInFuture == 0 {
		o.TooFarInFuture = 10 * time.Minute
	}
	if o.Limits == nil {
		o.Limits = func() *LimitSet { return nil }
	}
	if o.BodyTimeout == 0 {
		o.BodyTimeout = 30 * time.Second
	}
	if o.RetryAfter == 0 {
		o.RetryAfter = 5 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Validate returns all that is wrong with the options, each by its field's
// name, or nil. Zero values are fine.
func (o HandlerOptions) Validate() error {
	o = o.withDefaults()
	var errs []error
	if !validHeaderName(o.TenantHeader) {
		errs = append(errs, fmt.Errorf("TenantHeader: %q is not the name of a header", o.TenantHeader))
	}
	if err := ValidateTenant(o.DefaultTenant); err != nil {
		errs = append(errs, fmt.Errorf("DefaultTenant: %w", err))
	}
	if o.MaxDecodedBytes > math.MaxUint32 {
		errs = append(errs, fmt.Errorf("MaxDecodedBytes: %d is more than the %d that a block of snappy can hold", o.MaxDecodedBytes, uint32(math.MaxUint32)))
	}
	for i, rule := range o.Relabel {
		if rule == nil {
			errs = append(errs, wrongOption(fmt.Sprintf("Relabel[%d]", i), errors.New("is nil")))
		} else if err := rule.Validate(model.UTF8Validation); err != nil {
			errs = append(errs, wrongOption(fmt.Sprintf("Relabel[%d]", i), err))
		}
	}
	return errors.Join(errs...)
}

// validHeaderName reports whether name is a token of RFC 9110.
func validHeaderName(name string) bool {
	for i := range len(name) {
		c := name[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte("\"(),/:;<=>?@[\\]{}", c) >= 0 {
			return false
		}
	}
	return name != ""
}

// wrongOption names the field that an error is about.
func wrongOption(field string, err error) error { return fmt.Errorf("%s: %w", field, err) }
