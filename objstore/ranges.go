package objstore

import (
	"context"
	"io"
)

// Range is the bytes [From, To) of an object.
type Range struct{ From, To int64 }

// Len is the length of the range in bytes.
func (r Range) Len() int64 { return r.To - r.From }

// RangesRequest asks for ranges of one object whose content does not change.
type RangesRequest struct {
	// Name of the object.
	Name string
	// Version tells this content of the object from any other that it has had or
	// may get under the same name. What is remembered is remembered for name and
	// version, so that a new version finds nothing of an old one. It is not
	// empty.
	Version string
	// Size of the object in bytes, 0 if it is not known.
	Size int64
	// Kind of data the ranges hold, one of a few words, for metrics.
	Kind string
	// Ranges sorted by From. They may overlap.
	Ranges []Range
	// Gap is how many bytes that nobody asked for are read rather than making
	// one more request.
	Gap int64
	// Most bytes that one request reads, so that large ranges are read in
	// parts side by side. A single range may exceed it.
	Most int64
	// Open reads from the bucket what is not remembered. It may be called
	// concurrently, and after the context of the call it was given to has ended
	// if another reader waits for the same bytes; its own context says when to
	// give up, and has the values of the call's.
	Open func(ctx context.Context, off, length int64) (io.ReadCloser, error)
}

// RangesReader is an optional interface of buckets that remember what was read
// of objects that do not change, such as the one of package objstore/cache. A
// reader of many small parts finds it by type assertion, and reads and coalesces
// by itself without.
type RangesReader interface {
	// ReadRanges calls use with the content of all ranges of the request. b is
	// that of the ranges [first, last) and begins where the first of them does;
	// it is shorter than they reach only if the object ends. Calls are in no
	// order and may be concurrent. An error of use ends the read and is
	// returned, except that what use refuses of bytes that were remembered is
	// forgotten, read anew and given to it once more.
	//
	// The bytes must not be changed. They stay valid as long as they are
	// referred to.
	ReadRanges(ctx context.Context, req RangesRequest, use func(first, last int, b []byte) error) error
	// PageSize is the unit in bytes, more than 0, in which it reads and remembers:
	// to hand out a range it holds all units that have some of it.
	PageSize() int64
}

type versionKey struct{}

// WithVersion returns a context for Get and GetRange whose caller vouches that
// the object does not change while it has this version: they may be answered
// with what a cache remembers of the same name and version. See
// RangesRequest.Version.
func WithVersion(ctx context.Context, version string) context.Context {
	return context.WithValue(ctx, versionKey{}, version)
}

// VersionFrom returns the version that WithVersion put into ctx, or "".
func VersionFrom(ctx context.Context) string {
	v, _ := ctx.Value(versionKey{}).(string)
	return v
}
