package indexheader

import (
	"errors"
	"fmt"
)

// ErrTruncated is the cause in a CorruptError if the index ends before its size.
var ErrTruncated = errors.New("it was truncated")

// CorruptError says that a header, or the index it was to be built from, does
// not follow the format. A corrupt header is to be built anew; a corrupt index
// cannot be helped from here.
type CorruptError struct {
	// What is wrong, and where.
	What string
	// Err is the cause if there is one besides.
	Err error
}

func (e *CorruptError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("corrupt: %s: %v", e.What, e.Err)
	}
	return "corrupt: " + e.What
}

func (e *CorruptError) Unwrap() error { return e.Err }

func corrupt(format string, args ...any) error {
	return &CorruptError{What: fmt.Sprintf(format, args...)}
}

// LocalError says that the file of a header could not be written, as on a disk that is
// full. It says nothing about the index.
type LocalError struct {
	// Err is the cause, which names the file.
	Err error
}

func (e *LocalError) Error() string { return e.Err.Error() }

func (e *LocalError) Unwrap() error { return e.Err }

// UnsupportedError says that an index has a version this package does not
// read.
type UnsupportedError struct {
	Version int
}

func (e *UnsupportedError) Error() string {
	if e.Version == 1 {
		return "index version 1 is not supported: rewrite the block with a Prometheus of version 2.0 or later"
	}
	return fmt.Sprintf("index version %d is not supported", e.Version)
}
