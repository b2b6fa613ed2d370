package aggrchunk

import "context"

// form is what a read wants to get of downsampled blocks.
type form int

const (
	ordinary form = iota
	withCounters
	asStored
)

type formKey struct{}

func formOf(ctx context.Context) form {
	f, _ := ctx.Value(formKey{}).(form)
	return f
}

func with(ctx context.Context, f form) context.Context {
	if formOf(ctx) == f {
		return ctx
	}
	return context.WithValue(ctx, formKey{}, f)
}

// AsStored returns a context whose reads get chunks of aggregates as they are
// stored, for a layer that passes them on. They come as *Chunk, in the order and
// with the times of the index, cut down to the times that the block answers for.
func AsStored(ctx context.Context) context.Context { return with(ctx, asStored) }

// IsAsStored tells whether the read was asked for by AsStored.
func IsAsStored(ctx context.Context) bool { return formOf(ctx) == asStored }

// KeepCounters returns a context whose reads get ordinary chunks, but counters of
// floats as *Chunk, for a layer that joins the chunks of several sources and uses
// Counters on what comes out: a counter must be followed through all of them.
func KeepCounters(ctx context.Context) context.Context {
	return with(ctx, max(withCounters, formOf(ctx)))
}

// KeepsCounters tells whether the read was asked for by KeepCounters.
func KeepsCounters(ctx context.Context) bool { return formOf(ctx) == withCounters }

// AsOrdinary returns a context whose reads get ordinary chunks only, for a layer
// that looks into them.
func AsOrdinary(ctx context.Context) context.Context { return with(ctx, ordinary) }
