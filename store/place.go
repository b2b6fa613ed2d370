package store

import (
	"errors"
	"fmt"
	"math"
)

// placedError is a fault at a known place of an object: where the list, the entry
// or the chunk begins that cannot be read.
type placedError struct {
	at  int64
	err error
}

func (e *placedError) Error() string { return e.err.Error() }
func (e *placedError) Unwrap() error { return e.err }

func placed(at int64, err error) error { return &placedError{at, err} }

func chunkFault(at int64, err error) error {
	return placed(at, fmt.Errorf("chunk at %d: %w", at, err))
}

func seriesFault(at int64, err error) error {
	return placed(at, fmt.Errorf("series at %d: %w", at, err))
}

func postingsFault(at int64, err error) error {
	return placed(at, fmt.Errorf("postings list at %d: %w", at, err))
}

// everywhere is the place of a fault of a whole object.
const everywhere = int64(math.MinInt64)

// placeOf returns the place of a fault, or everywhere.
func placeOf(err error) int64 {
	if p, ok := errors.AsType[*placedError](err); ok {
		return p.at
	}
	return everywhere
}
