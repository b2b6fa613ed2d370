package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/varve-tsdb/varve/internal/indexheader"
	"github.com/varve-tsdb/varve/internal/readcost"
	"github.com/varve-tsdb/varve/objstore"
)

// blockReader is a block as one querier sees it. It may be used by several
// goroutines at once. The querier holds a reference to the block while it
// lives.
type blockReader struct {
	block *openBlock
	// readBytes is about how many bytes of index entries to read at once.
	readBytes int64
	reach     int64    // see entryReader
	without   []string // labels that are left out of answers

	mu      sync.Mutex // guards what follows
	opened  *indexheader.Reader
	damaged *indexheader.Reader // the last that was forgotten
	err     error               // of the header; the block stays out of the querier's answers
	again   bool                // whether a missing header was asked for again
}

// header returns the block's index header. What it first returns it returns always,
// so that a block takes part in all answers of a querier or in none: order and labels
// are decided by earlier answers. Exceptions are a header that was damaged, one that
// was missing, for a second look, and the end of ctx.
func (r *blockReader) header(ctx context.Context) (*indexheader.Reader, error) {
	for {
		r.mu.Lock()
		opened, err, again := r.opened, r.err, r.again
		r.mu.Unlock()
		if opened != nil || err != nil {
			return opened, err
		}
		began := time.Now()
		opened, err = r.block.header.get(ctx)
		readcost.From(ctx).Took(readcost.FetchHeader, time.Since(began))
		if ctx.Err() != nil {
			return opened, err
		}
		if kept, err := r.remember(opened, err, again); kept != nil || err != nil {
			return kept, err
		}
	}
}

// remember keeps what header returns from now on, and returns it. It returns
// nothing if that was forgotten since it was asked for, by one of two reads that
// use this reader at once: by then the block has dropped it and has another. So it is
// with one that was missing when the other of the two had not asked again yet.
func (r *blockReader) remember(opened *indexheader.Reader, err error, again bool) (*indexheader.Reader, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if again != r.again && errors.Is(err, ErrMissing) {
		return r.opened, r.err
	}
	if r.opened == nil && r.err == nil && (err != nil || opened != r.damaged) {
		r.opened, r.err = opened, err
	}
	return r.opened, r.err
}

// repeated runs read, once more with a new header if the one it used turned out to
// be damaged, and once more if what was read makes no sense: a byte may have turned
// on its way. A fault that then is left is the object's.
func (r *blockReader) repeated(ctx context.Context, read func(context.Context) error) error {
	err := read(ctx)
	var damage *headerDamage
	if errors.As(err, &damage) {
		r.forget(damage.header)
		err = read(ctx)
	}
	if r.block.doubtful(ctx, err) {
		r.block.src.metrics.rereads.Inc()
		err = read(objstore.WithoutCache(ctx))
	}
	if errors.As(err, &damage) {
		return r.block.fault(ctx, r.block.headerPath(), fmt.Errorf("%w: %w", ErrHeader, damage.err))
	}
	return err
}

// doubtful tells whether an error is worth a second look.
func (b *openBlock) doubtful(ctx context.Context, err error) bool {
	fault, ok := b.faultIn(err)
	if !ok || !fault.Since.IsZero() || ctx.Err() != nil {
		return false
	}
	return errors.Is(err, ErrCorrupt) || errors.Is(err, ErrTruncated)
}

// forget makes the next call of header look for another one.
func (r *blockReader) forget(damaged *indexheader.Reader) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.damaged = damaged
	if r.opened == damaged {
		r.opened = nil
	}
}

// forgetMissing makes the next call of header ask again for one that was missing. It
// does so once: a bucket that goes on changing its mind must not have the block in some
// answers of the querier and not in others.
func (r *blockReader) forgetMissing() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.again && errors.Is(r.err, ErrMissing) {
		r.err, r.again = nil, true
	}
}

// headerPath is the local file, for errors that are about it.
func (b *openBlock) headerPath() string { return filepath.Join(b.dir, headerFilename) }
