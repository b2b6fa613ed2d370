package block

import (
	"errors"
	"fmt"

	"github.com/oklog/ulid/v2"
)

// Errors of this package, to be tested with errors.Is. Errors of the bucket
// itself are wrapped, never replaced.
var (
	// ErrMetaNotFound: there is no meta.json, so the block is not complete:
	// its upload has not finished or its deletion has begun.
	ErrMetaNotFound = errors.New("no meta.json")
	// ErrMetaInvalid: meta.json is there but cannot be used: truncated, not
	// JSON, of an unknown version, or at odds with itself or its directory.
	ErrMetaInvalid = errors.New("invalid meta.json")
	// ErrNoExternalLabels: a block without external labels must not get into
	// a bucket, where the labels are all that tells streams apart.
	ErrNoExternalLabels = errors.New("no external labels")
	// ErrMarkNotFound: the block does not carry the marker.
	ErrMarkNotFound = errors.New("no marker")
	// ErrMarkInvalid: the marker cannot be parsed. It counts as absent.
	ErrMarkInvalid = errors.New("invalid marker")
	// ErrMarkVersion: the marker is of a version this package does not know,
	// so that what it asks for is unknown too.
	ErrMarkVersion = errors.New("unknown marker version")
	// ErrBroken: files of a block are missing, of the wrong size or changed.
	ErrBroken = errors.New("broken block")
	// ErrBeingDeleted: the bucket holds a deletion mark but no meta.json, so
	// a deletion is under way and must end before the block can be uploaded.
	ErrBeingDeleted = errors.New("block is being deleted")
)

// Error says which block an error is about, and where the block is.
type Error struct {
	ID  ulid.ULID
	Dir string // local directory of blocks; empty for a block in the bucket
	Err error
}

func (e *Error) Error() string {
	if e.Dir == "" {
		return fmt.Sprintf("block %s: %v", e.ID, e.Err)
	}
	return fmt.Sprintf("block %s of %s: %v", e.ID, e.Dir, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// NoExternalLabelsError is an ErrNoExternalLabels that says what to do.
type NoExternalLabelsError struct {
	Dir string // the directory whose blocks cannot be shipped
}

func (e *NoExternalLabelsError) Error() string {
	return fmt.Sprintf("blocks of %s have no external labels, and would be lost among others in the bucket: "+
		"set the external labels of their Source (Labels in receive.TenantsOptions, or --label)", e.Dir)
}

// Is makes the error an ErrNoExternalLabels.
func (e *NoExternalLabelsError) Is(target error) bool { return target == ErrNoExternalLabels }

func blockError(id ulid.ULID, err error) error {
	if err == nil {
		return nil
	}
	return &Error{ID: id, Err: err}
}
