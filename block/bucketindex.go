package block

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/varve-tsdb/varve/internal/every"
	"github.com/varve-tsdb/varve/objstore"
)

// BucketIndexOptions of NewBucketIndex. The zero value is the default.
type BucketIndexOptions struct {
	// ReconcileInterval is how long it may take until readers of the index see
	// what others than its writers have done to the bucket. Whoever keeps the
	// index lists the whole bucket when half of it has passed since anybody
	// did, and readers do not rely on an index that is older than all of it, or
	// from as far in the future. All that keep the index of one bucket should have
	// the same, and clocks that differ by less. 0 means 15 min.
	ReconcileInterval time.Duration
	// Concurrency is how many metas and markers that the index does not know
	// are read side by side. 0 means 32.
	Concurrency int
	// Logger gets failures of Run. nil is silent.
	Logger *slog.Logger
	// Registerer gets the metrics varve_block_index_*. nil is fine. For
	// several with one registry wrap it for each with
	// prometheus.WrapRegistererWith, with another value of the same label.
	Registerer prometheus.Registerer
}

// Validate reports all problems at once.
func (o BucketIndexOptions) Validate() error {
	var errs []error
	if o.ReconcileInterval < 0 {
		errs = append(errs, fmt.Errorf("BucketIndexOptions.ReconcileInterval is %s, want 0 or more", o.ReconcileInterval))
	}
	if o.Concurrency < 0 {
		errs = append(errs, fmt.Errorf("BucketIndexOptions.Concurrency is %d, want 0 or more", o.Concurrency))
	}
	return errors.Join(errs...)
}

func (o BucketIndexOptions) withDefaults() BucketIndexOptions {
	if o.ReconcileInterval == 0 {
		o.ReconcileInterval = 15 * time.Minute
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// BucketIndex keeps the index of a bucket, so that readers need not list the
// bucket: it is told what its owner does to the bucket, and finds out from time
// to time what others did. There may be many for one bucket, in many processes.
// Its methods may be called concurrently.
//
// The index is a cache. Nothing depends on it but how soon readers see a
// change, so failures of a BucketIndex are no failures of its owner.
type BucketIndex struct {
	bkt     objstore.Bucket
	opts    BucketIndexOptions
	metrics *bucketIndexMetrics

	pass turn // held during a Reconcile

	writing turn        // held during a write; guards number and mine
	number  uint64      // of the last object written
	mine    []indexName // deltas that may be in the bucket

	mu   sync.Mutex // guards news
	news map[ulid.ULID]*news
}

// news is what a BucketIndex was told about one block.
type news struct {
	entry Entry
	gone  bool
	at    time.Time
	in    indexName // the last object that tells of it; zero if none does
}

// NewBucketIndex returns a BucketIndex of bkt. It makes no request and starts
// nothing: call Run, or Sync for a single pass.
func NewBucketIndex(bkt objstore.Bucket, opts BucketIndexOptions) (*BucketIndex, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	metrics, err := newBucketIndexMetrics(opts.Registerer)
	if err != nil {
		return nil, err
	}
	return &BucketIndex{
		bkt: bkt, opts: opts.withDefaults(), metrics: metrics,
		pass: newTurn(), writing: newTurn(), news: map[ulid.ULID]*news{},
	}, nil
}

// Run calls Sync at once and then several times per ReconcileInterval until ctx
// is done, and returns nil. Failures are logged and counted, and tried again.
func (b *BucketIndex) Run(ctx context.Context) error {
	interval := b.opts.ReconcileInterval / 8
	return every.Run(ctx, interval, b.Sync, func(err error) {
		b.opts.Logger.Error("could not keep the index of the bucket, trying again", "interval", interval, "err", err)
	})
}

// Sync makes one pass: it writes what could not be written when it was told,
// and reconciles the index if that is due. If it is not, that takes one request.
// What is not done in a ReconcileInterval fails.
func (b *BucketIndex) Sync(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, b.opts.ReconcileInterval)
	defer cancel()
	err := b.flush(ctx)
	told := b.told()
	reader := indexReader{bkt: b.bkt}
	names, listErr := reader.list(ctx)
	if listErr != nil {
		return errors.Join(err, listErr)
	}
	b.forget(told, names)
	if newest, found := newestBase(names); found && time.Since(newest.time()).Abs() < b.opts.ReconcileInterval/2 {
		return err
	}
	return errors.Join(err, b.Reconcile(ctx))
}

// Put tells readers of blocks that are in the bucket. An entry with a Meta is
// complete; it must be about a block whose meta.json has been uploaded, and its
// Meta, which is shared from then on, equal to that. Marks and Deletion tell of
// markers that were put on it. That a marker was taken off is told by the next
// Reconcile only.
//
// What cannot be written is kept for the next call of any method.
func (b *BucketIndex) Put(ctx context.Context, entries ...Entry) error {
	b.note(entries)
	return b.flush(ctx)
}

// note is Put without the writing.
func (b *BucketIndex) note(entries []Entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range entries {
		e.HasMeta = e.HasMeta || e.Meta != nil
		if e.Deletion != nil {
			e.Marks |= MarkKinds(DeletionMark)
		}
		if known := b.news[e.ID]; known != nil && !known.gone {
			e = joinEntry(known.entry, e)
		}
		b.news[e.ID] = &news{entry: e, at: time.Now()}
	}
}

// Remove tells readers that blocks are no longer in the bucket. Call it after
// meta.json was deleted.
//
// What cannot be written is kept for the next call of any method.
func (b *BucketIndex) Remove(ctx context.Context, ids ...ulid.ULID) error {
	b.mu.Lock()
	for _, id := range ids {
		b.news[id] = &news{gone: true, at: time.Now()}
	}
	b.mu.Unlock()
	return b.flush(ctx)
}

// flush writes the news, if there are any, as one object that replaces the
// earlier one of this BucketIndex. Those who call it while another call writes
// are served together by the next.
func (b *BucketIndex) flush(ctx context.Context) error {
	if err := b.writing.take(ctx); err != nil {
		return err
	}
	defer b.writing.give()
	o, told := b.delta(time.Now())
	if o == nil {
		return nil
	}
	err := b.upload(ctx, o)
	b.metrics.wrote(err)
	if err != nil {
		return fmt.Errorf("write to the index of the bucket: %w", err)
	}
	b.mu.Lock()
	for _, n := range told {
		n.in = o.name
	}
	b.mu.Unlock()
	// What stays behind goes with the next Reconcile.
	_ = b.remove(ctx, b.mine[:len(b.mine)-1])
	b.mine = b.mine[len(b.mine)-1:]
	return nil
}

// delta returns the object to write next, or nil if there is nothing to tell.
// What was written for longer than the interval has been seen by a Reconcile, or
// else nobody relies on the index.
func (b *BucketIndex) delta(now time.Time) (o *indexObject, told []*news) {
	b.mu.Lock()
	defer b.mu.Unlock()
	o = &indexObject{name: newIndexName(b.number+1, now)}
	anew := false
	for id, n := range b.news {
		written := n.in != (indexName{})
		if written && now.Sub(n.at) > b.opts.ReconcileInterval {
			delete(b.news, id)
			continue
		}
		anew = anew || !written
		told = append(told, n)
		if n.gone {
			o.gone = append(o.gone, id)
		} else {
			o.entries = append(o.entries, n.entry)
		}
	}
	if !anew {
		return nil, nil
	}
	return o, told
}

// told returns the objects that tell of news and are in the bucket.
func (b *BucketIndex) told() map[indexName]bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	told := map[indexName]bool{}
	for _, n := range b.news {
		if n.in != (indexName{}) {
			told[n.in] = true
		}
	}
	return told
}

// forget drops news that were told by objects which a list begun later does not
// have: they were replaced by a base, which knows of it, and maybe of what happened
// to the block after. To tell it again would bring that back.
func (b *BucketIndex) forget(told map[indexName]bool, listed []indexName) {
	for _, n := range listed {
		delete(told, n)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, n := range b.news {
		if told[n.in] {
			delete(b.news, id)
		}
	}
}

// upload writes a delta. From then on its name is among mine, whether it got
// into the bucket or not.
func (b *BucketIndex) upload(ctx context.Context, o *indexObject) error {
	content, err := o.encode()
	if err != nil {
		return err
	}
	b.number = o.name.number
	b.mine = append(b.mine, o.name)
	return b.bkt.Upload(ctx, o.name.String(), bytes.NewReader(content))
}

// remove deletes objects of the index.
func (b *BucketIndex) remove(ctx context.Context, names []indexName) error {
	var errs []error
	for _, n := range names {
		errs = append(errs, deleteObject(ctx, b.bkt, n.String()))
	}
	return errors.Join(errs...)
}

func newIndexName(number uint64, now time.Time) indexName {
	n := indexName{number: number}
	// The time is in range for 8,000 years, and this reader does not fail.
	n.id, _ = ulid.New(ulid.Timestamp(now), rand.Reader)
	return n
}
