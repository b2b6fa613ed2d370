package block

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/varve-tsdb/varve/objstore"
)

// MarkKind is a kind of marker: a small object beside a block's meta.json that
// says what should, or should not, be done with the block.
type MarkKind uint8

// The kinds of markers.
const (
	// DeletionMark: the block is to be deleted once a delay has passed.
	DeletionMark MarkKind = 1 << iota
	// NoCompactMark: the block must not be compacted.
	NoCompactMark
	// NoDownsampleMark: the block must not be downsampled.
	NoDownsampleMark
)

// MarkKinds is a set of kinds of markers.
type MarkKinds uint8

// Has tells whether kind is in the set.
func (s MarkKinds) Has(kind MarkKind) bool { return s&MarkKinds(kind) != 0 }

// Reasons of a NoCompactMark or NoDownsampleMark.
const (
	ReasonManual                       = "manual"
	ReasonIndexSizeExceeding           = "index-size-exceeding"
	ReasonBlockIndexOutOfOrderChunk    = "block-index-out-of-order-chunk"
	ReasonDownsampleVerticalCompaction = "downsample-vertical-compaction"
)

// Filename is the name of the marker below the block's directory. It is empty
// for a value that is no kind.
func (k MarkKind) Filename() string {
	switch k {
	case DeletionMark:
		return DeletionMarkFilename
	case NoCompactMark:
		return NoCompactMarkFilename
	case NoDownsampleMark:
		return NoDownsampleMarkFilename
	default:
		return ""
	}
}

// markKindOf is the reverse of Filename.
func markKindOf(rel string) (MarkKind, bool) {
	for _, k := range []MarkKind{DeletionMark, NoCompactMark, NoDownsampleMark} {
		if k.Filename() == rel {
			return k, true
		}
	}
	return 0, false
}

// Mark is the content of a marker.
type Mark struct {
	Kind MarkKind
	ID   ulid.ULID
	// Time is when the block was marked, to the second. PutMark sets a zero
	// Time to now.
	Time time.Time
	// Reason is for programs (ReasonManual and its siblings). A DeletionMark
	// has none.
	Reason string
	// Details is for people.
	Details string
}

// markJSON is the union of the three formats. Order and presence of fields are
// those that Thanos writes.
type markJSON struct {
	ID               ulid.ULID `json:"id"`
	Version          int       `json:"version"`
	Details          string    `json:"details,omitempty"`
	DeletionTime     *int64    `json:"deletion_time,omitempty"`
	NoCompactTime    *int64    `json:"no_compact_time,omitempty"`
	NoDownsampleTime *int64    `json:"no_downsample_time,omitempty"`
	Reason           *string   `json:"reason,omitempty"`
}

// time is where the format of a kind keeps its time.
func (j *markJSON) time(kind MarkKind) **int64 {
	switch kind {
	case NoCompactMark:
		return &j.NoCompactTime
	case NoDownsampleMark:
		return &j.NoDownsampleTime
	default:
		return &j.DeletionTime
	}
}

// Encode returns the content of the marker's object.
func (m Mark) Encode() ([]byte, error) {
	if m.Kind.Filename() == "" {
		return nil, blockError(m.ID, fmt.Errorf("mark kind %d does not exist", m.Kind))
	}
	j := markJSON{ID: m.ID, Version: Version1, Details: m.Details}
	seconds := m.Time.Unix()
	*j.time(m.Kind) = &seconds
	if m.Kind != DeletionMark {
		j.Reason = &m.Reason
	}
	return json.Marshal(j)
}

// ParseMark reads the content of a marker. An error is an ErrMarkInvalid, or an
// ErrMarkVersion if the marker is of another version.
func ParseMark(kind MarkKind, b []byte) (Mark, error) {
	var j markJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return Mark{}, fmt.Errorf("%w: %w", ErrMarkInvalid, err)
	}
	if j.Version != Version1 {
		return Mark{}, fmt.Errorf("%w: %d, want %d", ErrMarkVersion, j.Version, Version1)
	}
	seconds := *j.time(kind)
	if j.ID == (ulid.ULID{}) || seconds == nil {
		return Mark{}, fmt.Errorf("%w: id or time is missing", ErrMarkInvalid)
	}
	m := Mark{Kind: kind, ID: j.ID, Time: time.Unix(*seconds, 0), Details: j.Details}
	if j.Reason != nil && kind != DeletionMark {
		m.Reason = *j.Reason
	}
	return m, nil
}

// ReadMark reads a marker of a block. Without the marker the error is an
// ErrMarkNotFound. A marker that cannot be parsed or speaks of another block
// is an ErrMarkInvalid: callers go on as if it were absent, and say so. An
// ErrMarkVersion must not be passed over.
func ReadMark(ctx context.Context, bkt objstore.BucketReader, id ulid.ULID, kind MarkKind) (Mark, error) {
	b, err := readObject(ctx, bkt, MarkObject(id, kind))
	if err != nil {
		if objstore.IsNotFound(bkt, err) {
			err = fmt.Errorf("%w %s", ErrMarkNotFound, kind.Filename())
		}
		return Mark{}, blockError(id, err)
	}
	m, err := ParseMark(kind, b)
	if err == nil && m.ID != id {
		err = fmt.Errorf("%w: it is about block %s", ErrMarkInvalid, m.ID)
	}
	if err != nil {
		return Mark{}, blockError(id, fmt.Errorf("%s: %w", kind.Filename(), err))
	}
	return m, nil
}

// PutMark marks a block and tells whether it did: a marker of the same kind
// that is there already stays as it is, so that a delay counts from the first.
// Only one that cannot be parsed, and so has no effect, is replaced.
func PutMark(ctx context.Context, bkt objstore.Bucket, m Mark) (bool, error) {
	if m.Time.IsZero() {
		m.Time = time.Now()
	}
	b, err := m.Encode()
	if err != nil {
		return false, err
	}
	_, err = ReadMark(ctx, bkt, m.ID, m.Kind)
	switch {
	case err == nil:
		return false, nil
	case errors.Is(err, ErrMarkNotFound), errors.Is(err, ErrMarkInvalid):
	default:
		return false, err
	}
	if err := bkt.Upload(ctx, MarkObject(m.ID, m.Kind), bytes.NewReader(b)); err != nil {
		return false, blockError(m.ID, fmt.Errorf("upload %s: %w", m.Kind.Filename(), err))
	}
	return true, nil
}

// MarkForDeletion puts a deletion mark on a block and tells whether it did; an
// earlier mark keeps its time. Details says why, for people.
func MarkForDeletion(ctx context.Context, bkt objstore.Bucket, id ulid.ULID, details string) (bool, error) {
	return PutMark(ctx, bkt, Mark{Kind: DeletionMark, ID: id, Details: details})
}

// RemoveMark takes a marker off a block. It is no error if there is none.
func RemoveMark(ctx context.Context, bkt objstore.Bucket, id ulid.ULID, kind MarkKind) error {
	return deleteObject(ctx, bkt, MarkObject(id, kind))
}
