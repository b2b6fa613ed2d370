package block

import (
	"context"
	"time"

	"github.com/varve-tsdb/varve/objstore"
)

// shipIndexTimeout bounds how long a bucket that hangs may hold back a pass for
// the sake of the index.
const shipIndexTimeout = 30 * time.Second

// newShipperIndex returns the index to tell of blocks, if any, and whether it is
// the Shipper's own.
func newShipperIndex(bkt objstore.Bucket, opts ShipperOptions) (index *BucketIndex, own bool, err error) {
	if opts.Index != nil || opts.NoIndex {
		return opts.Index, false, nil
	}
	index, err = NewBucketIndex(bkt, BucketIndexOptions{Logger: opts.Logger, Registerer: opts.Registerer})
	return index, true, err
}

// tellIndex tells the index of the bucket of blocks, and of what it could not be
// told before. A failure is not one of shipping: the block is in the bucket.
func (s *Shipper) tellIndex(ctx context.Context, entries ...Entry) {
	if s.index == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, shipIndexTimeout)
	defer cancel()
	if err := s.index.Put(ctx, entries...); err != nil {
		s.opts.Logger.Warn("could not write to the index of the bucket, so that readers see new blocks later", "err", err)
	}
}
