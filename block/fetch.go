package block

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/varve-tsdb/varve/objstore"
)

// FetcherOptions of NewFetcher. The zero value is the default.
type FetcherOptions struct {
	// Dir caches metas on disk, so that a restart reads only new ones. It
	// belongs to one Fetcher. Empty means memory only.
	Dir string
	// Lister lists the blocks. nil means by the index of the bucket as long as
	// somebody keeps it (see BucketIndex), and else by NewLister.
	Lister Lister
	// NoIndex lists the bucket in each pass and leaves its index alone: what a
	// View shows is then as recent as its Time, whoever changed the bucket. It
	// is of no effect with Lister.
	NoIndex bool
	// Concurrency is how many metas and markers are read side by side. 0
	// means 32.
	Concurrency int
	// ConsistencyDelay hides blocks that are younger; see TooFresh. 0 means
	// none: for a bucket that shows what was written at once.
	ConsistencyDelay time.Duration
	// IgnoreDeletionMarksDelay is how long a block marked for deletion is
	// still served, so that readers that have not seen what replaces it go on
	// having it. It must be shorter than the time until marked blocks are
	// deleted. 0 means 24 h, negative hides a marked block at once.
	IgnoreDeletionMarksDelay time.Duration
	// Logger gets a warning for each marker that cannot be read. nil is
	// silent.
	Logger *slog.Logger
	// Registerer gets the metrics varve_block_fetcher_*. nil is fine. For
	// several Fetchers with one registry wrap it for each with
	// prometheus.WrapRegistererWith, with another value of the same label.
	Registerer prometheus.Registerer
}

// Validate reports all problems at once.
func (o FetcherOptions) Validate() error {
	var errs []error
	if o.Concurrency < 0 {
		errs = append(errs, fmt.Errorf("FetcherOptions.Concurrency is %d, want 0 or more", o.Concurrency))
	}
	if o.ConsistencyDelay < 0 {
		errs = append(errs, fmt.Errorf("FetcherOptions.ConsistencyDelay is %s, want 0 or more", o.ConsistencyDelay))
	}
	return errors.Join(errs...)
}

func (o FetcherOptions) withDefaults() FetcherOptions {
	if o.Concurrency == 0 {
		o.Concurrency = 32
	}
	switch {
	case o.IgnoreDeletionMarksDelay == 0:
		o.IgnoreDeletionMarksDelay = 24 * time.Hour
	case o.IgnoreDeletionMarksDelay < 0:
		o.IgnoreDeletionMarksDelay = 0
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Fetcher finds out which blocks a bucket holds. Its methods may be called
// concurrently; passes wait for each other.
type Fetcher struct {
	bkt     objstore.BucketReader
	opts    FetcherOptions
	cache   *metaCache
	metrics *fetcherMetrics
	lister  Lister

	pass    turn // held during a pass; guards marks and unknown
	marks   map[ulid.ULID]Mark
	unknown map[ulid.ULID]error // deletion marks of an unknown version

	view atomic.Pointer[View]
}

// NewFetcher returns a Fetcher of the blocks in bkt. It makes no request.
func NewFetcher(bkt objstore.BucketReader, opts FetcherOptions) (*Fetcher, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	cache, err := openMetaCache(opts.Dir)
	if err != nil {
		return nil, err
	}
	metrics, err := newFetcherMetrics(opts.Registerer)
	if err != nil {
		return nil, err
	}
	f := &Fetcher{
		bkt: bkt, opts: opts.withDefaults(), cache: cache, metrics: metrics,
		marks: map[ulid.ULID]Mark{}, pass: newTurn(),
	}
	f.lister = f.newLister()
	f.view.Store(emptyView())
	return f, nil
}

func (f *Fetcher) newLister() Lister {
	switch {
	case f.opts.Lister != nil:
		return f.opts.Lister
	case f.opts.NoIndex:
		return NewLister(f.bkt)
	}
	return &indexLister{reader: indexReader{bkt: f.bkt}, sweep: NewLister(f.bkt), log: f.opts.Logger, metrics: f.metrics}
}

// View returns what the last successful pass found; before the first one, a
// View without blocks and with a zero Time.
func (f *Fetcher) View() *View { return f.view.Load() }

// Fetch makes one pass over the bucket and returns what it found, which View
// returns from then on. One block that is broken or cannot be read is reported
// in the View. If the listing fails or ctx ends, the pass fails, and the
// earlier View stays.
func (f *Fetcher) Fetch(ctx context.Context) (*View, error) { return f.run(ctx, f.lister.List) }

// Recheck is Fetch by listing the bucket itself, for who has found that a block of
// the View is not there. What the index of the bucket says is not believed as long
// as it has what that list contradicts, be it in an object that is newer: that may
// have been begun before.
func (f *Fetcher) Recheck(ctx context.Context) (*View, error) {
	l, ok := f.lister.(*indexLister)
	if !ok {
		return f.Fetch(ctx)
	}
	return f.run(ctx, func(ctx context.Context) ([]Entry, error) { return l.recheck(ctx, f.View().complete()) })
}

func (f *Fetcher) run(ctx context.Context, list func(context.Context) ([]Entry, error)) (*View, error) {
	if err := f.pass.take(ctx); err != nil {
		return nil, err
	}
	defer f.pass.give()
	start := time.Now()
	v, err := f.fetch(ctx, start, list)
	f.metrics.observe(v, err, time.Since(start))
	if err != nil {
		return nil, fmt.Errorf("fetch blocks: %w", err)
	}
	f.view.Store(v)
	return v, nil
}

func (f *Fetcher) fetch(ctx context.Context, now time.Time, list func(context.Context) ([]Entry, error)) (*View, error) {
	entries, err := list(ctx)
	if err != nil {
		return nil, err
	}
	if !slices.IsSortedFunc(entries, compareEntries) {
		slices.SortFunc(entries, compareEntries)
	}
	results, err := f.fetchBlocks(ctx, entries)
	if err != nil {
		return nil, err
	}
	all := f.collect(entries, results)
	v := newView(now, all, viewRules{
		consistencyDelay:         f.opts.ConsistencyDelay,
		ignoreDeletionMarksDelay: f.opts.IgnoreDeletionMarksDelay,
	})
	f.unknown = all.unknown
	f.remember(v)
	return v, nil
}

// fetchBlocks reads what the listing did not tell, and returns a result for each
// entry.
func (f *Fetcher) fetchBlocks(ctx context.Context, entries []Entry) ([]fetched, error) {
	results := make([]fetched, len(entries))
	var g errgroup.Group
	g.SetLimit(f.opts.Concurrency)
	for i, e := range entries {
		if e.Meta != nil && e.HasMeta && !e.Marks.Has(DeletionMark) {
			results[i].meta = e.Meta // as of nearly all, if there is an index
			continue
		}
		g.Go(func() error {
			results[i] = f.fetchBlock(ctx, e)
			return nil
		})
	}
	_ = g.Wait() // no function of the group fails
	if err := ctx.Err(); err != nil {
		// What looks unreadable may just have been cut off.
		return nil, err
	}
	return results, nil
}

// fetched is what was read of one block.
type fetched struct {
	meta     *Meta
	metaErr  error
	deletion *Mark // nil if there is none
	markErr  error
}

func (f *Fetcher) fetchBlock(ctx context.Context, e Entry) fetched {
	var r fetched
	// The pass may have been given up while the bucket hung: then nothing more is read
	// or kept.
	if err := ctx.Err(); err != nil {
		return fetched{metaErr: err}
	}
	r.meta, r.metaErr = f.fetchMeta(ctx, e)
	if e.Marks.Has(DeletionMark) {
		r.deletion, r.markErr = f.fetchDeletion(ctx, e)
	}
	return r
}

// fetchDeletion returns the deletion mark of a block. A known one is not read
// again. One of an unknown version is, since somebody may replace it, and
// counts on while it cannot be read.
func (f *Fetcher) fetchDeletion(ctx context.Context, e Entry) (*Mark, error) {
	if e.Deletion != nil {
		return e.Deletion, nil
	}
	if known := f.marks[e.ID]; known.Kind != 0 {
		return &known, nil
	}
	m, err := ReadMark(ctx, f.bkt, e.ID, DeletionMark)
	if err == nil || errors.Is(err, ErrMarkNotFound) || errors.Is(err, ErrMarkInvalid) || errors.Is(err, ErrMarkVersion) {
		return &m, err
	}
	if earlier := f.unknown[e.ID]; earlier != nil {
		return nil, earlier
	}
	return nil, err
}

func (f *Fetcher) fetchMeta(ctx context.Context, e Entry) (*Meta, error) {
	if !e.HasMeta {
		return nil, blockError(e.ID, ErrMetaNotFound)
	}
	if e.Meta != nil {
		return e.Meta, nil
	}
	known, from := f.cache.get(e.ID, e.MetaWritten)
	if known != nil && !e.reread {
		f.metrics.read(from)
		return known, nil
	}
	m, content, err := readMeta(ctx, f.bkt, e.ID)
	f.metrics.read("bucket")
	switch {
	case err == nil:
	case known != nil && !errors.Is(err, ErrMetaNotFound) && !errors.Is(err, ErrMetaInvalid):
		return known, nil // it was to be looked at only
	default:
		return nil, err
	}
	if err := f.cache.put(m, content, e.MetaWritten); err != nil {
		f.opts.Logger.Warn("could not cache meta.json on disk", "block", e.ID, "dir", f.opts.Dir, "err", err)
	}
	return m, nil
}

func (f *Fetcher) collect(entries []Entry, results []fetched) found {
	all := found{
		deletions: map[ulid.ULID]Mark{}, unknown: map[ulid.ULID]error{}, marks: map[ulid.ULID]MarkKinds{},
		entries: entries, metas: make([]*Meta, 0, len(entries)),
	}
	for i, r := range results {
		id := entries[i].ID
		if r.metaErr != nil {
			all.partial = append(all.partial, Partial{ID: id, Err: r.metaErr})
		} else {
			all.metas = append(all.metas, r.meta)
		}
		if entries[i].Marks != 0 {
			all.marks[id] = entries[i].Marks
		}
		switch {
		case errors.Is(r.markErr, ErrMarkNotFound): // removed since the listing
		case errors.Is(r.markErr, ErrMarkVersion):
			all.warnings = append(all.warnings, r.markErr)
			all.unknown[id] = r.markErr
			f.opts.Logger.Warn("hiding a block that is marked for deletion in an unknown way", "block", id, "err", r.markErr)
		case r.markErr != nil:
			// The block is served, though this may be a read that just failed:
			// hiding it for that would tear a hole into answers, while a marked
			// block stays whole for longer than readers serve it, and hides as
			// a duplicate once its replacement is seen. The next pass reads
			// the mark again.
			all.warnings = append(all.warnings, r.markErr)
			f.opts.Logger.Warn("taking an unreadable marker for absent", "block", id, "err", r.markErr)
		case r.deletion != nil:
			all.deletions[id] = *r.deletion
		}
	}
	return all
}

// remember keeps what the next pass need not read again.
func (f *Fetcher) remember(v *View) {
	f.marks = v.Deletions
	keep := make(map[ulid.ULID]bool, len(v.Blocks)+len(v.Hidden))
	for _, m := range v.Blocks {
		keep[m.ULID] = true
	}
	for _, h := range v.Hidden {
		keep[h.Meta.ULID] = true
	}
	if err := f.cache.retain(keep); err != nil {
		f.opts.Logger.Warn("could not clean the cache of metas", "dir", f.opts.Dir, "err", err)
	}
}
