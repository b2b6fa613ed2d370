package objstore

import (
	"errors"
	"fmt"

	"github.com/thanos-io/objstore"

	"github.com/varve-tsdb/varve/objstore/internal/around"
)

var (
	// ErrOptionNotSupported is what Iter and IterWithAttributes fail with when
	// a provider does not know an option.
	ErrOptionNotSupported = objstore.ErrOptionNotSupported
	// ErrInvalid marks a call that no bucket can serve: an empty object name, a
	// name that would leave the bucket, a range of no bytes. Trying again is
	// useless.
	ErrInvalid = errors.New("invalid request to a bucket")
	// ErrNotFound is the cause of "no such object" in the buckets that this
	// module implements itself. Other providers have errors of their own: ask
	// IsNotFound or the bucket's IsObjNotFoundErr rather than comparing.
	ErrNotFound = errors.New("object not found")
	// ErrTruncated is the cause when a body ended before the size that its
	// provider had announced.
	ErrTruncated = errors.New("object body ended early")
)

// Error is a failed operation on one object. The providers of this module
// return no other kind of error, except those that a caller's own reader or
// callback gave.
type Error struct {
	// Op is one of the Op constants.
	Op string
	// Name is the object, or the directory for OpIter.
	Name string
	// Attempts is how often the operation was tried, if more than once.
	Attempts int
	// Err is the cause, never nil.
	Err error
}

// Error names the operation, the object and the cause.
func (e *Error) Error() string {
	if e.Attempts > 1 {
		return fmt.Sprintf("objstore: %s %q, tried %d times: %v", e.Op, e.Name, e.Attempts, e.Err)
	}
	return fmt.Sprintf("objstore: %s %q: %v", e.Op, e.Name, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Cause returns the cause, under the name that the providers of thanos-io
// look for when they classify an error.
func (e *Error) Cause() error { return e.Err }

// wrapError returns err as the error of an operation, unless it is nil.
func wrapError(op, name string, attempts int, err error) error {
	if e, ok := err.(*Error); ok && e.Op == op && e.Name == name {
		if attempts <= 1 {
			return err
		}
		err = e.Err
	}
	if err == nil {
		return nil
	}
	return &Error{Op: op, Name: name, Attempts: attempts, Err: err}
}

// IsNotFound says whether err, or any error it wraps or joins, means to b that
// an object does not exist. Use it where errors may have been wrapped on the
// way: some providers' own IsObjNotFoundErr does not look through %w.
func IsNotFound(b BucketReader, err error) bool {
	return around.Any(err, func(err error) bool {
		return err == ErrNotFound || b.IsObjNotFoundErr(err)
	})
}

// IsAccessDenied says whether err, or any error it wraps or joins, means to b
// that access was denied.
func IsAccessDenied(b BucketReader, err error) bool {
	return around.Any(err, b.IsAccessDeniedErr)
}
