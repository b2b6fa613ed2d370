package block

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sync/errgroup"

	"github.com/varve-tsdb/varve/objstore"
)

// indexReader reads the objects of an index, each once: they do not change. It
// must not be used concurrently.
type indexReader struct {
	bkt     objstore.BucketReader
	objects map[indexName]*indexObject // those of the last load
}

// list names the objects of the index, in byte order.
func (r *indexReader) list(ctx context.Context) ([]indexName, error) {
	var names []indexName
	err := r.bkt.Iter(ctx, bucketIndexDir, func(name string) error {
		if n, ok := parseIndexName(name); ok {
			names = append(names, n)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the index of the bucket: %w", err)
	}
	return names, nil
}

// load returns those of the objects that can be read, and what is wrong with
// the others. It leaves out what the newest base replaces, should that still be
// there: where nothing can be deleted that is a lot.
func (r *indexReader) load(ctx context.Context, names []indexName) ([]*indexObject, error) {
	l := newIndexLoad(r.bkt)
	if bases(names) < 2 {
		return r.loadAll(ctx, l, names)
	}
	newest, _ := newestBase(names)
	base := r.objects[newest]
	if base == nil {
		var err error
		if base, err = l.read(ctx, newest); err != nil {
			return r.loadAll(ctx, l, names) // the others may still know metas
		}
		if r.objects == nil {
			r.objects = map[indexName]*indexObject{}
		}
		r.objects[newest] = base
	}
	replaced := make(map[indexName]bool, len(base.replaced))
	for _, n := range base.replaced {
		replaced[n] = true
	}
	return r.loadAll(ctx, l, slices.DeleteFunc(slices.Clone(names), func(n indexName) bool { return replaced[n] }))
}

func bases(names []indexName) (n int) {
	for _, name := range names {
		if name.base {
			n++
		}
	}
	return n
}

// loadAll is load of all that is named.
func (r *indexReader) loadAll(ctx context.Context, l *indexLoad, names []indexName) ([]*indexObject, error) {
	objects, errs := make([]*indexObject, len(names)), make([]error, len(names))
	var g errgroup.Group
	g.SetLimit(32)
	for i, name := range names {
		if objects[i] = r.objects[name]; objects[i] != nil {
			l.has(objects[i])
		}
	}
	for i, name := range names {
		if objects[i] != nil {
			continue
		}
		g.Go(func() error {
			objects[i], errs[i] = l.read(ctx, name)
			return nil
		})
	}
	_ = g.Wait() // no function of the group fails
	r.objects = make(map[indexName]*indexObject, len(names))
	var loaded []*indexObject
	for _, o := range objects {
		if o != nil {
			r.objects[o.name] = o
			loaded = append(loaded, o)
		}
	}
	return loaded, errors.Join(errs...)
}

// indexUse says what became of an attempt to list a bucket by its index.
type indexUse string

const (
	indexUsed       indexUse = "used"
	indexAbsent     indexUse = "absent"     // there is none
	indexStale      indexUse = "stale"      // nobody has reconciled it for too long
	indexInvalid    indexUse = "invalid"    // it is broken, or of another version
	indexUnreadable indexUse = "unreadable" // reading it failed
	indexWrong      indexUse = "wrong"      // it names what is not in the bucket
)

// indexLister is a Lister that believes the index as long as somebody keeps it,
// and else lists the bucket. It must not be used concurrently.
type indexLister struct {
	reader  indexReader
	sweep   Lister
	log     *slog.Logger
	metrics *fetcherMetrics

	last  indexUse
	wrong indexErrors
}

func (l *indexLister) List(ctx context.Context) ([]Entry, error) {
	now := time.Now()
	objects, use, err := l.read(ctx, now)
	known := mergeIndex(objects)
	switch use {
	case indexUsed:
		l.wrong.expire(now, objects)
		if slices.ContainsFunc(known, l.wrong.has) {
			use = indexWrong
		}
	case indexAbsent:
		l.wrong = nil // nobody says anything
	}
	if ctx.Err() == nil {
		l.report(use, err)
	}
	if use == indexUsed {
		return known, nil
	}
	return l.look(ctx, known, nil)
}

// recheck lists the bucket whatever the index says. It is for who has seen blocks
// and found that some are not there.
func (l *indexLister) recheck(ctx context.Context, seen []Entry) ([]Entry, error) {
	objects, use, _ := l.read(ctx, time.Now()) // for its metas only
	known := mergeIndex(objects)
	entries, err := l.look(ctx, known, seen)
	if err == nil && use == indexUsed && slices.ContainsFunc(known, l.wrong.has) {
		l.report(indexWrong, nil)
	}
	return entries, err
}

// look lists the bucket, and finds out what is wrong of what is known and what was
// seen.
func (l *indexLister) look(ctx context.Context, known, seen []Entry) ([]Entry, error) {
	entries, err := l.sweep.List(ctx)
	if err != nil {
		return nil, err
	}
	l.wrong.learn(entries, time.Now(), known, seen)
	return withMetas(entries, known), nil
}

// read returns the objects of the index. Those of one that is of no use as a
// list may still know metas.
func (l *indexLister) read(ctx context.Context, now time.Time) ([]*indexObject, indexUse, error) {
	// An object that is gone between list and read was replaced by another.
	// Who meets that often has a bucket that does not show what was written.
	const attempts = 5
	var objects []*indexObject
	var err error
	for range attempts {
		var names []indexName
		if names, err = l.reader.list(ctx); err != nil {
			return nil, indexUnreadable, err
		}
		if bases(names) == 0 {
			l.reader.objects = nil
			return nil, indexAbsent, nil
		}
		objects, err = l.reader.load(ctx, names)
		if !objstore.IsNotFound(l.reader.bkt, err) {
			break
		}
	}
	switch {
	case errors.Is(err, errIndexInvalid):
		return objects, indexInvalid, err
	case err != nil:
		return objects, indexUnreadable, err
	case !current(objects, now):
		return objects, indexStale, nil
	}
	return objects, indexUsed, nil
}

// newestBase finds the base that was begun last.
func newestBase(names []indexName) (newest indexName, found bool) {
	for _, n := range names {
		if n.base && (!found || n.id.Compare(newest.id) > 0) {
			newest, found = n, true
		}
	}
	return newest, found
}

// current tells whether a base is as recent as it promises to be. One from the
// future is no better than one from as long ago: clocks differ.
func current(objects []*indexObject, now time.Time) bool {
	for _, o := range objects {
		if o.name.base && now.Sub(o.name.time()).Abs() <= o.interval {
			return true
		}
	}
	return false
}

// withMetas adds the metas that an index knows to a list of the bucket, if they
// were written when the list says. Markers may have changed since.
func withMetas(entries, index []Entry) []Entry {
	if len(index) == 0 {
		return entries
	}
	known := make(map[ulid.ULID]Entry, len(index))
	for _, e := range index {
		known[e.ID] = e
	}
	for i, e := range entries {
		if k := known[e.ID]; e.HasMeta && e.Meta == nil && !e.reread && asWritten(k.MetaWritten, e.MetaWritten) {
			entries[i].Meta = k.Meta
		}
	}
	return entries
}

// asWritten tells whether what is known of an object since a time is of the object
// that a list shows.
func asWritten(known, listed time.Time) bool { return listed.IsZero() || known.Equal(listed) }

// report counts, and logs what has changed.
func (l *indexLister) report(use indexUse, err error) {
	l.metrics.indexReads.WithLabelValues(string(use)).Inc()
	if use == l.last {
		return
	}
	const unusable = "cannot use the index of the bucket, listing all of it"
	switch {
	case use == indexUsed && l.last != "":
		l.log.Info("using the index of the bucket again")
	case use == indexAbsent:
		l.log.Debug("the bucket has no index, listing all of it")
	case use == indexStale:
		l.log.Warn(unusable, "dir", bucketIndexDir, "reason", use, "remedy",
			"run a block.Shipper or a block.BucketIndex on the bucket, or delete the index; if one runs, set its clock or this one right")
	case use == indexWrong:
		l.log.Info(unusable+" until somebody has reconciled it: others than its writers have changed the bucket", "dir", bucketIndexDir)
	case use != indexUsed:
		l.log.Warn(unusable, "dir", bucketIndexDir, "reason", use, "err", err)
	}
	l.last = use
}
