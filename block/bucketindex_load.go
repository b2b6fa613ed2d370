package block

import (
	"context"
	"errors"
	"sync"

	"github.com/varve-tsdb/varve/objstore"
)

// maxIndexLoad bounds the content of all objects of an index together, before
// compression. A base and the next one, of which one is to go, may both be there.
const maxIndexLoad = 2 * maxIndexBytes

// largeIndexObject is the size from which objects are read one by one, in bytes as
// they are in the bucket.
const largeIndexObject = 1 << 20

// indexLoad reads objects of an index side by side, and bounds what they take in
// memory together, whoever wrote them.
type indexLoad struct {
	bkt   objstore.BucketReader
	large turn // held while a large one is read

	mu   sync.Mutex             // held while one is decoded; guards what follows
	had  map[indexName]struct{} // decoded, now or before
	left int                    // of maxIndexLoad
}

func newIndexLoad(bkt objstore.BucketReader) *indexLoad {
	return &indexLoad{bkt: bkt, large: newTurn(), had: map[indexName]struct{}{}, left: maxIndexLoad}
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
	if size, err := objstore.ObjectSize(r); err != nil || size >= largeIndexObject {
		if err := l.large.take(ctx); err != nil {
			return nil, errors.Join(err, r.Close())
		}
		defer l.large.give()
	}
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
