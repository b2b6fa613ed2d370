package store

import (
	"context"
	"path/filepath"
	"sync"

	"github.com/varve-tsdb/varve/internal/indexheader"
)

// blockReader is a block as one querier sees it. It may be used by several
// goroutines at once. The querier holds a reference to the block while it
// lives.
type blockReader struct {
	block *openBlock
	// readBytes is about how many bytes of index entries to read at once.
	readBytes int64

	mu     sync.Mutex // guards what follows
	opened *indexheader.Reader
	err    error // of the header; the block stays out of the querier's answers
}

// header returns the block's index header. What it first returns it returns
// always, so that a block takes part in all answers of a querier or in none:
// order and labels are decided by earlier answers. Only the end of ctx is not
// remembered.
func (r *blockReader) header(ctx context.Context) (*indexheader.Reader, error) {
	r.mu.Lock()
	opened, err := r.opened, r.err
	r.mu.Unlock()
	if opened != nil || err != nil {
		return opened, err
	}
	opened, err = r.block.header.get(ctx)
	if ctx.Err() != nil {
		return opened, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.opened == nil && r.err == nil {
		r.opened, r.err = opened, err
	}
	return r.opened, r.err
}

// headerPath is the local file, for errors that are about it.
func (b *openBlock) headerPath() string { return filepath.Join(b.dir, headerFilename) }
