package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-tsdb/varve/block"
	"github.com/varve-tsdb/varve/internal/indexheader"
	"github.com/varve-tsdb/varve/internal/readcost"
	"github.com/varve-tsdb/varve/objstore"
)

var (
	// ErrNotReady is what queriers cannot be opened with before the first
	// successful Sync: an empty answer would claim that there is no data.
	// It has a method Unavailable, by which the query API knows that trying
	// again later helps.
	ErrNotReady error = notReady("store: the bucket's blocks are not known yet: wait for the first successful Sync")
	// ErrDirInUse is what Open fails with where the directory belongs to another
	// Bucket, of this process or another, or cannot be locked.
	ErrDirInUse = errors.New("it is in use by another store or cannot be locked: give each store a directory of its own, or stop the other")
	// ErrClosed follows Close.
	ErrClosed = errors.New("store: the bucket is closed")

	// ErrMissing is the cause in a BlockError when an object is not in the
	// bucket.
	ErrMissing = errors.New("the object is missing: sync again if the block was deleted, else restore it or mark it for deletion")
	// ErrTruncated is the cause when an object ends too early.
	ErrTruncated = errors.New("the object ends too early: restore it, or mark the block for deletion")
	// ErrCorrupt is the cause when an object does not follow its format.
	ErrCorrupt = errors.New("the object is corrupt: restore it, or mark the block for deletion")
	// ErrUnsupported is the cause when an object has a version or encoding
	// that this package does not read.
	ErrUnsupported = errors.New("the object is of a kind that cannot be read")
	// ErrReplaced is the cause when a block left the bucket while it was read, and
	// no block was found that took its place: a new query reads what there is now.
	ErrReplaced = errors.New("the block was deleted while it was read: ask again")
	// ErrHeader is the cause when it is a local file that was damaged while it
	// was in use, rather than an object of the bucket. The next read builds it
	// anew.
	ErrHeader = errors.New("the local index header was damaged: it is built anew when the block is read next; if this comes again check the disk")
	// ErrHeaderWrite is the cause when the local header of a block cannot be written.
	// The block itself may be in order.
	ErrHeaderWrite = errors.New("the local index header cannot be written: free space, or give the store a directory on a disk that works")
)

// notReady is the type of ErrNotReady.
type notReady string

func (e notReady) Error() string { return string(e) }

// Unavailable reports that the same read will succeed later.
func (notReady) Unavailable() bool { return true }

// BlockError is the failure to read one block. The other blocks of a bucket go
// on answering: a read that does not need the block does not see it, and one
// with ReadOptions.Partial gets it as a warning.
type BlockError struct {
	Block ulid.ULID
	// External labels of the block, and its time range: MinTime inclusive,
	// MaxTime exclusive. They say what an answer lacks. Both times are zero if
	// that is not known, because it is the meta.json that cannot be read.
	External         labels.Labels
	MinTime, MaxTime time.Time
	// Object is the name of the object in the bucket, or the path of the local
	// file if it is that which is at fault.
	Object string
	// Err is the cause: ErrMissing, ErrTruncated, ErrCorrupt, ErrUnsupported,
	// ErrReplaced, ErrHeader, ErrHeaderWrite, or an error of the bucket or the disk.
	Err error
	// Since is when the fault was met first, if that was earlier: the object was not
	// read again for this answer. Otherwise it is zero.
	Since time.Time
}

func (e *BlockError) Error() string {
	if e.MinTime.IsZero() && e.MaxTime.IsZero() {
		return fmt.Sprintf("block %s of unknown labels and time: read %s: %v", e.Block, e.Object, e.Err)
	}
	since := ""
	if !e.Since.IsZero() {
		since = " (known since " + e.Since.UTC().Format(time.RFC3339) + ")"
	}
	return fmt.Sprintf("block %s of %s from %s to %s: read %s: %v%s", e.Block, e.External,
		e.MinTime.UTC().Format(time.RFC3339), e.MaxTime.UTC().Format(time.RFC3339), e.Object, e.Err, since)
}

func (e *BlockError) Unwrap() error { return e.Err }

// Missing yields what an answer without the block lacks: the external labels
// and the inclusive range in milliseconds.
func (e *BlockError) Missing(yield func(external labels.Labels, mint, maxt int64) bool) {
	if e.MinTime.IsZero() && e.MaxTime.IsZero() {
		yield(labels.EmptyLabels(), math.MinInt64, math.MaxInt64)
		return
	}
	yield(e.External, e.MinTime.UnixMilli(), e.MaxTime.UnixMilli()-1)
}

// Retryable reports whether the same read may succeed later without anybody
// repairing the block.
func (e *BlockError) Retryable() bool { return reasonOf(e.Err) == "" }

// Unavailable reports that neither the query nor the block is at fault, by which the
// query API knows that trying again helps: at once after ErrReplaced, and once the
// bucket is back, or the disk has room, after what is Retryable.
func (e *BlockError) Unavailable() bool { return errors.Is(e.Err, ErrReplaced) || e.Retryable() }

// fault makes a BlockError of what went wrong with an object of the block. An
// error that is one already, or that only says that the query ended or may not
// read on, stays as it is.
func (b *openBlock) fault(ctx context.Context, object string, err error) error {
	if err == nil || errors.As(err, new(*BlockError)) || errors.As(err, new(*headerDamage)) || readcost.IsRefusal(err) {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	switch {
	case errors.Is(err, ErrHeader):
	case errors.As(err, new(*indexheader.LocalError)): // before its cause is taken for that of an object
		object, err = b.headerPath(), fmt.Errorf("%w: %w", ErrHeaderWrite, err)
	case objstore.IsNotFound(b.src.bkt, err):
		err = fmt.Errorf("%w: %w", ErrMissing, err)
	case errors.Is(err, objstore.ErrTruncated), errors.Is(err, indexheader.ErrTruncated):
		err = fmt.Errorf("%w: %w", ErrTruncated, err)
	case errors.As(err, new(*indexheader.CorruptError)):
		err = fmt.Errorf("%w: %w", ErrCorrupt, err)
	case errors.As(err, new(*indexheader.UnsupportedError)):
		err = fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	return &BlockError{
		Block: b.id, External: b.external, Object: object, Err: err,
		MinTime: time.UnixMilli(b.minTime), MaxTime: time.UnixMilli(b.maxTime),
	}
}

// warnEvery is how often the log hears at most of a block that cannot be read,
// however many queries meet it.
const warnEvery = time.Minute

// warn logs a fault, unless there was a line about the block just now.
func (b *openBlock) warn(fault *BlockError) {
	now := time.Now().UnixNano()
	last := b.warned.Load()
	if last != 0 && now-last < int64(warnEvery) || !b.warned.CompareAndSwap(last, now) {
		return
	}
	b.src.log.Warn("a block could not be read", "err", fault)
}

// headerDamage says that a read failed because the header it used no longer is
// what was opened. It does not leave the blockReader.
type headerDamage struct {
	header *indexheader.Reader
	err    error
}

func (e *headerDamage) Error() string { return e.err.Error() }
func (e *headerDamage) Unwrap() error { return e.err }

// indexFault is fault for what was read of the index by way of header. A
// damaged header sends reads to wrong places and garbles labels, so that before
// the object is blamed the header is checked.
func (b *openBlock) indexFault(ctx context.Context, header *indexheader.Reader, err error) error {
	suspicious := errors.Is(err, ErrCorrupt) || errors.Is(err, ErrTruncated) || errors.Is(err, objstore.ErrTruncated) ||
		errors.As(err, new(*indexheader.CorruptError)) || errors.As(err, new(*fs.PathError))
	if suspicious && ctx.Err() == nil && !errors.As(err, new(*BlockError)) && !errors.As(err, new(*headerDamage)) {
		if damage := b.header.check(header); damage != nil {
			return &headerDamage{header, damage}
		}
	}
	return b.fault(ctx, b.indexObject(), err)
}

// unreadable makes a BlockError of a block whose meta.json is there but cannot
// be read.
func unreadable(p block.Partial) *BlockError {
	err := p.Err
	if errors.Is(err, block.ErrMetaInvalid) {
		err = fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return &BlockError{Block: p.ID, Object: block.MetaObject(p.ID), Err: err}
}

// corrupt says in which way an object does not follow its format.
func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, args...))
}
