package block

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/varve-tsdb/varve/objstore"
)

// maxIndexLoad bounds the content of all objects of an index together, before
// compression. A base and the next one, of which one is to go, may both be there.
const maxIndexLoad = 2 * maxIndexBytes

// indexLoad reads objects of an index side by side, and bounds what they take in
// memory together, whoever wrote them.
type indexLoad struct {
	bkt   objstore.BucketReader
	bytes *semaphore.Weighted // that objects take as they are in the bucket

	mu   sync.Mutex             // held while one is decoded; guards what follows
	had  map[indexName]struct{} // decoded, now or before
	left int                    // of maxIndexLoad
}

func newIndexLoad(bkt objstore.BucketReader) *indexLoad {
	return &indexLoad{bkt: bkt, bytes: semaphore.NewWeighted(maxSmallObject), had: map[indexName]struct{}{}, left: maxIndexLoad}
}

// has notes an object that is there.
func (l *indexLoad) has(o *indexObject) {
	if _, known := l.had[o.name]; !known {
		l.had[o.name] = struct{}{}
		l.left -= o.size
	}
}

func (l *indexLoad) read(ctx context.Context, name indexName) (*indexObject, error) {
	r, err := l.bkt.Get(ctx, name.String())
	if err != nil {
		return nil, err
	}
	size, err := objstore.ObjectSize(r)
	if err != nil {
		size = maxSmallObject
	}
	size = min(size, maxSmallObject)
	if err := l.bytes.Acquire(ctx, size); err != nil {
		r.Close()
		return nil, err
	}
	defer l.bytes.Release(size)
	b, err := readBody(name.String(), r)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	o, err := decodeIndex(name, b, min(maxIndexBytes, l.left))
	if err == nil {
		l.has(o)
	}
	return o, err
}
