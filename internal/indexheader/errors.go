package indexheader

import (
	"errors"
	"fmt"
	"io"
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

// WriteError says that the header's file could not be written, as on a full disk.
// It says nothing about the index.
type WriteError struct {
	// Err is the error of the file system.
	Err error
}

func (e *WriteError) Error() string { return "write index header: " + e.Err.Error() }

func (e *WriteError) Unwrap() error { return e.Err }

// headerPart is a header's file from a position on.
func headerPart(f io.WriterAt, at int64) io.Writer { return partWriter{io.NewOffsetWriter(f, at)} }

// partWriter tells failures to write from those to read what is written.
type partWriter struct{ w io.Writer }

func (p partWriter) Write(b []byte) (int, error) {
	n, err := p.w.Write(b)
	if err != nil {
		err = &WriteError{err}
	}
	return n, err
}
