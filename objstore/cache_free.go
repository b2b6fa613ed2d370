package objstore

import "context"

type withoutCacheKey struct{}

// WithoutCache returns a context whose reads must come from the bucket itself: a
// decorator that keeps contents must not answer them, though it may keep what
// comes back. It is for a reader that has found something wrong with what it got
// and looks again before it blames the object.
func WithoutCache(ctx context.Context) context.Context {
	return context.WithValue(ctx, withoutCacheKey{}, true)
}

// IsWithoutCache tells whether the context comes from WithoutCache.
func IsWithoutCache(ctx context.Context) bool {
	without, _ := ctx.Value(withoutCacheKey{}).(bool)
	return without
}
