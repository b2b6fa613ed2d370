package block

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/varve-tsdb/varve/objstore"
)

// Reconcile makes one pass: it lists the whole bucket and replaces the index by
// what it found. It needs no index before, whatever state that is in, and reads
// only the metas and markers that none knew. It is called by Sync when it is
// due; passes wait for each other.
func (b *BucketIndex) Reconcile(ctx context.Context) error {
	if err := b.pass.take(ctx); err != nil {
		return err
	}
	defer b.pass.give()
	start := time.Now()
	o, size, err := b.reconcile(ctx, start)
	b.metrics.reconciled(o, size, err, time.Since(start))
	if err != nil {
		return fmt.Errorf("reconcile the index of the bucket: %w", err)
	}
	b.opts.Logger.Debug("reconciled the index of the bucket", "object", o.name, "blocks", len(o.entries), "bytes", size,
		"replaced", len(o.replaced), "duration", time.Since(start))
	return nil
}

// reconcile lists the index first and then the bucket. So the list of the bucket
// has everything that the objects of the index told of, unless it is gone, and
// may replace them; those that come in between stay.
func (b *BucketIndex) reconcile(ctx context.Context, now time.Time) (o *indexObject, size int, err error) {
	reader := indexReader{bkt: b.bkt}
	names, err := reader.list(ctx)
	if err != nil {
		return nil, 0, err
	}
	known, err := reader.load(ctx, names)
	// One that is gone was replaced by another writer at this moment.
	if err != nil && !objstore.IsNotFound(b.bkt, err) {
		b.opts.Logger.Warn("cannot use all of the index of the bucket, making a new one", "dir", bucketIndexDir, "err", err)
	}
	o = &indexObject{name: newIndexName(0, now), interval: b.opts.ReconcileInterval, replaced: names}
	o.name.base = true
	for _, n := range names {
		o.name.number = max(o.name.number, n.number)
	}
	o.name.number++
	if err := b.sweep(ctx, o, known); err != nil {
		return nil, 0, err
	}
	content, err := o.encode()
	if err != nil {
		return nil, 0, err
	}
	if err := b.bkt.Upload(ctx, o.name.String(), bytes.NewReader(content)); err != nil {
		return nil, 0, err
	}
	if err := b.remove(ctx, names); err != nil {
		b.opts.Logger.Warn("cannot delete what was replaced in the index of the bucket, trying again at the next time", "err", err)
	}
	return o, len(content), nil
}

// sweep lists the bucket into o, and reads what is not known.
func (b *BucketIndex) sweep(ctx context.Context, o *indexObject, known []*indexObject) error {
	lister := &sweep{bkt: b.bkt, turn: lastTurn(known)}
	entries, err := lister.List(ctx)
	if err != nil {
		return err
	}
	index := mergeIndex(known)
	withMetas(entries, index)
	if current(known, o.name.time()) {
		withDeletions(entries, index)
	}
	f, err := NewFetcher(b.bkt, FetcherOptions{Concurrency: b.opts.Concurrency, NoIndex: true})
	if err != nil {
		return err
	}
	results, err := f.fetchBlocks(ctx, entries)
	if err != nil {
		return err
	}
	for i, r := range results {
		entries[i] = asFound(entries[i], r)
	}
	o.entries, o.turn = entries, lister.turn
	return nil
}

// lastTurn is where the newest base has got to in reading metas again.
func lastTurn(known []*indexObject) ulid.ULID {
	var newest *indexObject
	for _, o := range known {
		if o.name.base && (newest == nil || o.name.id.Compare(newest.name.id) > 0) {
			newest = o
		}
	}
	if newest == nil {
		return ulid.ULID{}
	}
	return newest.turn
}

// withDeletions adds the deletion marks that an index knows to a list of the
// bucket.
func withDeletions(entries, index []Entry) {
	known := map[ulid.ULID]*Mark{}
	for _, e := range index {
		if e.Deletion != nil {
			known[e.ID] = e.Deletion
		}
	}
	for i, e := range entries {
		if e.Marks.Has(DeletionMark) {
			entries[i].Deletion = known[e.ID]
		}
	}
}

// asFound is what an index says of a block after it was read. What could not be
// read, makes no sense or is gone since the listing is left to the readers of the
// index, as if they had listed the bucket.
func asFound(e Entry, r fetched) Entry {
	e.Meta, e.reread = r.meta, false
	if e.Deletion == nil && r.markErr == nil {
		e.Deletion = r.deletion
	}
	return e
}
