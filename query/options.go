package query

import (
	"context"

	"github.com/varve-tsdb/varve/internal/readopts"
)

// ReadOptions are the options of one read request. They travel in its context,
// where dedup, the Fanout and the stores find them. The zero value is the
// default. The HTTP API starts with those it finds in the context of the
// request and lets the request's parameters overrule them.
type ReadOptions = readopts.Options

// WithReadOptions returns a context that carries o. The slices of o must not
// change afterwards.
func WithReadOptions(ctx context.Context, o ReadOptions) context.Context {
	return readopts.With(ctx, o)
}

// ReadOptionsFrom returns the options that ctx carries, or their zero value.
func ReadOptionsFrom(ctx context.Context) ReadOptions { return readopts.From(ctx) }
