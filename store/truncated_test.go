package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/varve-tsdb/varve/internal/blocktest"
	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/cache"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

// strict refuses ranges that begin at or beyond the end of the object, as S3 does.
type strict struct{ *objstoretest.Memory }

func (b strict) GetRange(ctx context.Context, name string, off, length int64) (io.ReadCloser, error) {
	if content, ok := b.Objects()[name]; ok && off >= int64(len(content)) {
		return nil, errors.New("the requested range is not satisfiable")
	}
	return b.Memory.GetRange(ctx, name, off, length)
}

// An index that is shorter than meta.json says is truncated, wherever it was cut
// and whatever its bucket makes of reads behind the end.
func TestShortIndexIsTruncated(t *testing.T) {
	healthy := objstoretest.NewMemory()
	// So large that it is not read whole.
	id := blocktest.Put(t, healthy, wideBlock(40_000, 1))
	object := id.String() + "/index"
	good := healthy.Objects()[object]
	for _, length := range []int{0, 3, 100, len(good) / 2, len(good) - 300<<10, len(good) - 100, len(good) - 1} {
		for name, bkt := range map[string]func(*objstoretest.Memory) objstore.Bucket{
			"bucket": func(m *objstoretest.Memory) objstore.Bucket { return m },
			"strict": func(m *objstoretest.Memory) objstore.Bucket { return strict{m} },
			"cache":  func(m *objstoretest.Memory) objstore.Bucket { return cached(t, m, cache.Options{}) },
		} {
			t.Run(fmt.Sprintf("%d of %d, %s", length, len(good), name), func(t *testing.T) {
				memory := healthy.Copy()
				memory.Put(object, good[:length])
				b := openOver(t, bkt(memory), t.TempDir(), Options{})
				_, _, err := read(t.Context(), b, 0, 1000, equal("__name__", "m1"))
				if faults := faultsOf(b, id); !errors.Is(err, ErrTruncated) || len(faults) != 1 || faults[0].Reason != "truncated" || !faults[0].Whole {
					t.Errorf("got %v and in quarantine %v", err, faults)
				}
			})
		}
	}
}
