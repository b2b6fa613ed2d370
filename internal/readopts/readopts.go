package readopts

import (
	"context"
	"time"
)

// Options of one read request. The zero value is the default: deduplicate by
// the labels that were configured, raw data where there is some, and fail rather than answer
// in part.
type Options struct {
	// NoDedup returns replicas as they are stored.
	NoDedup bool
	// ReplicaLabels overrides the configured replica labels when not nil.
	ReplicaLabels []string
	// MaxResolution is the coarsest resolution the caller accepts where there
	// is a choice; zero asks for raw data. A time of which only coarser data is
	// left is answered from that, with a note among the warnings.
	MaxResolution time.Duration
	// Partial turns the failure of one source or block into a warning that
	// says what is missing. Without it the read fails.
	Partial bool
	// Tenant on whose behalf the read happens. Empty means any.
	Tenant string
}

type key struct{}

// With returns a context that carries o. The slices of o must not change
// afterwards.
func With(ctx context.Context, o Options) context.Context {
	return context.WithValue(ctx, key{}, o)
}

// From returns the options that ctx carries, or their zero value.
func From(ctx context.Context) Options {
	o, _ := ctx.Value(key{}).(Options)
	return o
}
