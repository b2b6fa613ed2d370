package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/varve-tsdb/varve/block"
)

// Options of Open. The zero value is the default.
type Options struct {
	// SyncInterval is the time between two passes of Run over the bucket's
	// blocks. 0 means 1 minute. A pass takes one request as long as somebody
	// keeps the index of the bucket (see block.BucketIndex), and lists the
	// whole bucket if nobody does. Blocks get into a bucket every two hours or
	// so, and heads answer for longer than that: the interval may be raised to
	// 15 minutes where that costs much.
	SyncInterval time.Duration
	// Concurrency is how many ranged reads of the bucket may be under way at
	// once, for all queries together. 0 means 128.
	Concurrency int
	// ReadAhead is about how many bytes one Select may have read, for all its
	// blocks together, before its reader asks for them. 0 means 64 MiB. Each
	// block gets 1 MiB at least, so that a query over very many blocks may
	// exceed it.
	ReadAhead int64
	// HeaderMemoryBytes is how much memory the index headers that are open may
	// take. 0 means 256 MiB. What queries use stays open; up to 1,000 are
	// open otherwise.
	HeaderMemoryBytes int64
	// HeaderDiskBytes is how much of the disk index headers may take. 0 means 10
	// GiB. A header that was removed is built again when it is needed.
	HeaderDiskBytes int64
	// ConsistencyDelay is the age from which on a block is served, for buckets
	// whose listings lag behind. 0 means at once. Compacted blocks are served
	// at once in any case. Of no effect with Fetcher.
	ConsistencyDelay time.Duration
	// IgnoreDeletionMarksDelay is how long a block is served after it was
	// marked for deletion. It must be shorter than the delay with which marked
	// blocks are deleted. 0 means 24 hours, negative not at all. Of no effect
	// with Fetcher.
	IgnoreDeletionMarksDelay time.Duration
	// NoIndex lists the whole bucket in each pass even if it has an index, so
	// that what others than Varve do to it is seen by the next pass. Of no
	// effect with Fetcher.
	NoIndex bool
	// Quarantine is how long what turned out to be broken of a block is not read
	// again, unless a Sync sees that the object was written anew. 0 means 15
	// minutes, negative not at all: then each query tries again.
	Quarantine time.Duration
	// Budget limits what reads may take that bring no account of their own in
	// their context, as those of a query.Handler do: give both the same. nil is
	// one for this Bucket alone, with the defaults of BudgetOptions.
	Budget *Budget
	// Fetcher tells which blocks the bucket holds, for hosts that share one
	// among several parts. nil means one of the Bucket's own, which caches
	// what it knows below dir.
	Fetcher Fetcher
	// Logger gets a line for what an operator should know; of faults of one
	// block no more than one a minute. nil is silent.
	Logger *slog.Logger
	// Registerer gets the metrics varve_store_*, and those of the Fetcher with
	// the label component="store"; Close takes them off again. nil is fine. For two Buckets with one
	// registry wrap it for each of them, with different values of one label.
	Registerer prometheus.Registerer
}

// Fetcher makes one pass over a bucket and tells what it found. *block.Fetcher
// is one.
//
// A read that misses a block may cause a call, too. It is given up where it does not
// heed its context, so that the next may come while it hangs.
type Fetcher interface {
	Fetch(ctx context.Context) (*block.View, error)
}

// Validate reports all problems at once.
func (o Options) Validate() error {
	var errs []error
	if o.SyncInterval < 0 {
		errs = append(errs, fmt.Errorf("Options.SyncInterval is %s, want 0 or more", o.SyncInterval))
	}
	if o.Concurrency < 0 {
		errs = append(errs, fmt.Errorf("Options.Concurrency is %d, want 0 or more", o.Concurrency))
	}
	if o.ReadAhead < 0 {
		errs = append(errs, fmt.Errorf("Options.ReadAhead is %d, want 0 or more", o.ReadAhead))
	}
	if o.HeaderMemoryBytes < 0 {
		errs = append(errs, fmt.Errorf("Options.HeaderMemoryBytes is %d, want 0 or more", o.HeaderMemoryBytes))
	}
	if o.HeaderDiskBytes < 0 {
		errs = append(errs, fmt.Errorf("Options.HeaderDiskBytes is %d, want 0 or more", o.HeaderDiskBytes))
	}
	if o.ConsistencyDelay < 0 {
		errs = append(errs, fmt.Errorf("Options.ConsistencyDelay is %s, want 0 or more", o.ConsistencyDelay))
	}
	return errors.Join(errs...)
}

func (o Options) withDefaults() Options {
	if o.SyncInterval == 0 {
		o.SyncInterval = time.Minute
	}
	if o.Concurrency == 0 {
		o.Concurrency = 128
	}
	if o.ReadAhead == 0 {
		o.ReadAhead = 64 << 20
	}
	switch {
	case o.Quarantine == 0:
		o.Quarantine = 15 * time.Minute
	case o.Quarantine < 0:
		o.Quarantine = 0
	}
	if o.HeaderMemoryBytes == 0 {
		o.HeaderMemoryBytes = 256 << 20
	}
	if o.HeaderDiskBytes == 0 {
		o.HeaderDiskBytes = 10 << 30
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}
