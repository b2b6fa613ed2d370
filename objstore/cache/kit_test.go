package cache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/cache"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

// Sizes of the package that tests have to know.
const (
	pageSize    = 16 << 10
	segmentSize = 512 * pageSize
)

// fixture is a cache over an object of random bytes.
type fixture struct {
	*cache.Bucket
	memory  *objstoretest.Memory
	faulty  *objstoretest.Faulty
	log     *objstoretest.Recorder
	content []byte
	version string
	noSize  bool
}

const object = "01H0000000000000000000BLOC/index"

func newFixture(tb testing.TB, size int, opts cache.Options) *fixture {
	tb.Helper()
	f := &fixture{memory: objstoretest.NewMemory(), content: randomBytes(size), version: fmt.Sprintf("of %d bytes", size)}
	f.memory.Put(object, f.content)
	f.faulty = objstoretest.NewFaulty(f.memory)
	f.log = objstoretest.NewRecorder(f.faulty)
	f.open(tb, opts)
	return f
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rnd := rand.NewChaCha8([32]byte{byte(n)})
	_, _ = rnd.Read(b) // never fails
	return b
}

// open makes a new cache over the same bucket, closed with the test.
func (f *fixture) open(tb testing.TB, opts cache.Options) {
	tb.Helper()
	b, err := cache.New(f.log, opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := b.Close(); err != nil {
			tb.Error(err)
		}
	})
	f.Bucket = b
}

func (f *fixture) request(version string, ranges ...objstore.Range) objstore.RangesRequest {
	req := objstore.RangesRequest{
		Name: object, Version: version, Size: int64(len(f.content)), Kind: "test", Ranges: ranges, Gap: 64 << 10, Most: 1 << 20,
		Open: func(ctx context.Context, off, length int64) (io.ReadCloser, error) {
			return f.log.GetRange(ctx, object, off, length)
		},
	}
	if f.noSize {
		req.Size = 0
	}
	return req
}

// check reads ranges and returns an error unless each has the bytes that the
// object has there.
func (f *fixture) check(ctx context.Context, ranges ...objstore.Range) error {
	var mu sync.Mutex // guards seen
	seen := make([]bool, len(ranges))
	err := f.ReadRanges(ctx, f.request(f.version, ranges...), func(first, last int, b []byte) error {
		mu.Lock()
		defer mu.Unlock()
		for i := first; i < last; i++ {
			if seen[i] {
				return fmt.Errorf("range %d was handed out twice", i)
			}
			seen[i] = true
			from, to := ranges[i].From-ranges[first].From, ranges[i].To-ranges[first].From
			got := b[min(from, int64(len(b))):min(to, int64(len(b)))]
			size := int64(len(f.content))
			if want := f.content[min(ranges[i].From, size):min(ranges[i].To, size)]; !bytes.Equal(got, want) {
				return fmt.Errorf("%w: range %v has %d bytes, or other ones than the object", errWrong, ranges[i], len(got))
			}
		}
		return nil
	})
	for i, ok := range seen {
		if err == nil && !ok {
			err = fmt.Errorf("range %d was not handed out", i)
		}
	}
	return err
}

var errWrong = errors.New("wrong bytes")

func (f *fixture) mustRead(tb testing.TB, ranges ...objstore.Range) {
	tb.Helper()
	if err := f.check(tb.Context(), ranges...); err != nil {
		tb.Fatal(err)
	}
}

// reads returns how many reads reached the bucket since it was last asked.
func (f *fixture) reads() int {
	n := 0
	for _, o := range f.log.Log() {
		if o.Op == objstore.OpGetRange {
			n++
		}
	}
	f.log.Reset()
	return n
}

// settle waits until what was read is on disk.
func (f *fixture) settle(tb testing.TB) {
	tb.Helper()
	if err := f.Close(); err != nil {
		tb.Fatal(err)
	}
}

func rng(from, to int64) objstore.Range { return objstore.Range{From: from, To: to} }

// flush waits until what was read is on disk, and goes on.
func (f *fixture) flush(tb testing.TB) {
	tb.Helper()
	f.Bucket.Flush()
}
