package cache_test

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/cache"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

func TestOneReadForMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 50*pageSize, cache.Options{})
		release := make(chan struct{})
		f.faulty.Set(objstoretest.Rule{Op: objstore.OpGetRange, Fault: objstoretest.Hold(release)})
		var done atomic.Int32
		for i := range int64(20) {
			go func() {
				// They want different parts of the same pages.
				if err := f.check(t.Context(), rng(10*pageSize+i*100, 14*pageSize+i)); err != nil {
					t.Error(err)
				}
				done.Add(1)
			}()
			synctest.Wait()
		}
		if n := len(f.log.Log()); n != 2 {
			// The first misses the fifth page, which the second adds.
			t.Errorf("%d reads of the bucket, want 2", n)
		}
		close(release)
		synctest.Wait()
		if done.Load() != 20 {
			t.Errorf("%d of 20 readers have their answer", done.Load())
		}
	})
}

// TestReaderThatGoesLeavesTheRest ends the context of the reader that began.
func TestReaderThatGoesLeavesTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, pageSize, cache.Options{})
		release := make(chan struct{})
		f.faulty.Set(objstoretest.Rule{Op: objstore.OpGetRange, Fault: objstoretest.Hold(release)})
		first, cancel := context.WithCancel(t.Context())
		answers := make(chan error, 2)
		go func() { answers <- f.check(first, rng(0, 100)) }()
		synctest.Wait()
		go func() { answers <- f.check(t.Context(), rng(50, 60)) }()
		synctest.Wait()
		cancel()
		if err := <-answers; !errors.Is(err, context.Canceled) {
			t.Errorf("the one that went: %v", err)
		}
		close(release)
		if err := <-answers; err != nil {
			t.Errorf("the one that stayed: %v", err)
		}
		if n := f.reads(); n != 1 {
			t.Errorf("%d reads of the bucket, want 1", n)
		}
	})
}

// TestNobodyWaits lets a read end when all have gone, and the next begin anew.
func TestNobodyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, pageSize, cache.Options{})
		f.faulty.Set(objstoretest.Rule{Op: objstore.OpGetRange, Times: 1, Fault: objstoretest.Stall()})
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			synctest.Wait()
			cancel()
		}()
		if err := f.check(ctx, rng(0, 100)); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		f.mustRead(t, rng(0, 100))
		synctest.Wait()
		if log := f.log.Log(); len(log) != 2 || !errors.Is(log[0].Err, context.Canceled) {
			t.Errorf("%v, want a read that was ended and another", log)
		}
	})
}

func TestFailuresAreSharedAndNotRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, pageSize, cache.Options{})
		away := errors.New("the bucket is away")
		release := make(chan struct{})
		held := &holding{Bucket: f.faulty, release: release}
		f.faulty.Set(objstoretest.Rule{Op: objstore.OpGetRange, Times: 1, Fault: objstoretest.Break(10, away)})
		answers := make(chan error, 2)
		for range 2 {
			go func() {
				req := f.request(f.version, rng(0, 100))
				req.Open = func(ctx context.Context, off, length int64) (io.ReadCloser, error) {
					return held.GetRange(ctx, object, off, length)
				}
				answers <- f.ReadRanges(t.Context(), req, func(int, int, []byte) error { return nil })
			}()
			synctest.Wait()
		}
		close(release)
		for range 2 {
			if err := <-answers; !errors.Is(err, away) {
				t.Errorf("%v, want the bucket's own error", err)
			}
		}
		f.mustRead(t, rng(0, 100))
	})
}

// holding keeps reads back until they are released.
type holding struct {
	objstore.Bucket
	release chan struct{}
}

func (h *holding) GetRange(ctx context.Context, name string, off, length int64) (io.ReadCloser, error) {
	<-h.release
	return h.Bucket.GetRange(ctx, name, off, length)
}

func TestBucketsOwnErrorsAreRecognized(t *testing.T) {
	f := newFixture(t, pageSize, cache.Options{})
	if err := f.memory.Delete(t.Context(), object); err != nil {
		t.Fatal(err)
	}
	if err := f.check(t.Context(), rng(0, 10)); !f.IsObjNotFoundErr(err) {
		t.Errorf("%v is not taken for a missing object", err)
	}
}
