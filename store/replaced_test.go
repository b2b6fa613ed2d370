package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-tsdb/varve/block"
	"github.com/varve-tsdb/varve/internal/blocktest"
	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

// someSeries have so many samples that a block of them is read in several
// batches. Those of even number are there in the first half only.
func someSeries(from, to int64) (all []blocktest.Series) {
	for n := range 150 {
		if n%2 == 0 && from >= 1000 {
			continue
		}
		end := to
		if n%2 == 0 {
			end = min(to, 1000)
		}
		all = append(all, blocktest.Series{Labels: labels.FromStrings("__name__", "s", "n", fmt.Sprintf("%03d", n)), Samples: blocktest.Samples(from, end, 1, func(t, _ int64) blocktest.Sample {
			return blocktest.Float(t, math.Sqrt(float64(t*int64(n+1))))
		})})
	}
	return all
}

// compacted is a bucket with two blocks, and a function that puts a block of both
// into their place, as a compactor that does not wait does.
func compacted(t *testing.T, of labels.Labels) (bkt *objstoretest.Memory, first ulid.ULID, compact func()) {
	t.Helper()
	bkt = objstoretest.NewMemory()
	external := labels.FromStrings("cluster", "eu")
	first = blocktest.Put(t, bkt, blocktest.Block{MinTime: 0, MaxTime: 1000, External: external, Series: someSeries(0, 1000)})
	second := blocktest.Put(t, bkt, blocktest.Block{MinTime: 1000, MaxTime: 2000, External: external, Series: someSeries(1000, 2000)})
	return bkt, first, func() {
		blocktest.Put(t, bkt, blocktest.Block{
			MinTime: 0, MaxTime: 2000, External: of, Level: 2, Sources: []ulid.ULID{first, second}, Series: someSeries(0, 2000),
		})
		blocktest.Remove(t, bkt, first)
		blocktest.Remove(t, bkt, second)
	}
}

func TestReadGoesOnWithTheBlockThatReplacedAnother(t *testing.T) {
	for name, c := range map[string]struct {
		object string
		skip   int // reads that are done before the blocks are deleted
	}{
		"before anything was read":    {object: "/index"},
		"after the index was":         {object: "/chunks/"},
		"after some series were sent": {object: "/chunks/", skip: 2},
	} {
		t.Run(name, func(t *testing.T) {
			memory, first, compact := compacted(t, labels.FromStrings("cluster", "eu"))
			bkt := objstoretest.NewFaulty(memory)
			b := openOver(t, bkt, t.TempDir(), Options{ReadAhead: 1})
			want := mustRead(t, b, 0, 1999)
			if want == "" {
				t.Fatal("nothing to compare")
			}
			b = openOver(t, bkt, t.TempDir(), Options{ReadAhead: 1})
			held := make(chan struct{})
			bkt.Set(objstoretest.Rule{Op: objstore.OpGetRange, Name: first.String() + c.object, Skip: c.skip, Fault: objstoretest.Hold(held)})
			q, err := b.ChunkQuerier(0, 1999)
			if err != nil {
				t.Fatal(err)
			}
			defer q.Close()
			set := q.Select(t.Context(), true, nil, equal("__name__", "s"))
			done := make(chan string)
			go func() {
				got, warnings, err := text(set)
				if err != nil || len(warnings) > 0 {
					t.Errorf("%v, %v", err, warnings)
				}
				done <- got
			}()
			if c.skip > 0 {
				for bkt.Struck() == 0 { // the read is under way, and comes to where it is held
					time.Sleep(time.Millisecond)
				}
			}
			compact()
			close(held)
			if got := <-done; got != want {
				t.Errorf("got %d bytes, want %d:\n%.300s\n%.300s", len(got), len(want), got, want)
			}
			if n := testutil.ToFloat64(b.metrics.replaced); n == 0 {
				t.Error("no block was replaced: nothing was tested")
			}
			names, _, err := q.LabelNames(t.Context(), nil)
			if err != nil || strings.Join(names, " ") != "__name__ cluster n" {
				t.Errorf("label names: %v, %v", names, err)
			}
		})
	}
}

// Where nothing tells what took the place of a block its samples may be anywhere:
// the answer must not pass for whole.
func TestDeletedBlockIsMissed(t *testing.T) {
	for name, act := range map[string]func(t *testing.T) (*objstoretest.Memory, ulid.ULID, func()){
		"deleted": func(t *testing.T) (*objstoretest.Memory, ulid.ULID, func()) {
			bkt, middle := threeBlocks(t)
			return bkt, middle, func() { blocktest.Remove(t, bkt, middle) }
		},
		"replaced in another stream": func(t *testing.T) (*objstoretest.Memory, ulid.ULID, func()) {
			return compacted(t, labels.FromStrings("cluster", "deduplicated"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			bkt, id, remove := act(t)
			b := openOver(t, bkt, t.TempDir(), Options{})
			q, err := b.ChunkQuerier(0, 1999)
			if err != nil {
				t.Fatal(err)
			}
			defer q.Close()
			remove()
			_, _, err = text(q.Select(t.Context(), true, nil, equal("cluster", "eu")))
			fault, ok := errors.AsType[*BlockError](err)
			if !ok || !errors.Is(err, ErrReplaced) || !fault.Retryable() || !fault.Unavailable() {
				t.Errorf("strict: %v", err)
			}
			_, warnings, err := text(q.Select(partial(t.Context()), true, nil, equal("cluster", "eu")))
			if err != nil || len(warnings) == 0 {
				t.Errorf("partial: %v, %v", warnings.AsErrors(), err)
			}
			found := false
			for _, w := range warnings.AsErrors() {
				if fault, ok := errors.AsType[*BlockError](w); ok && fault.Block == id {
					found = true
				}
			}
			if !found || len(faultsOf(b, id)) > 0 {
				t.Errorf("warnings %v, faults %v", warnings.AsErrors(), faultsOf(b, id))
			}
			// A new query does not know of it any more.
			mustRead(t, b, 0, 1999, equal("cluster", "eu"))
		})
	}
}

// deafLists is a bucket whose lists hang, whatever their context says, once it is deaf.
type deafLists struct {
	*objstoretest.Memory
	deaf    atomic.Bool
	release chan struct{}
}

func (b *deafLists) IterWithAttributes(ctx context.Context, dir string, f func(objstore.IterObjectAttributes) error, opts ...objstore.IterOption) error {
	if b.deaf.Load() {
		<-b.release
	}
	return b.Memory.IterWithAttributes(ctx, dir, f, opts...)
}

// A read that finds a block gone looks at the bucket anew, and ends soon after its
// context does though that hangs; nor does Close wait for it, or a later Sync, unless
// the Fetcher does.
func TestBucketThatHangsWhileABlockIsMissed(t *testing.T) {
	for name, own := range map[string]bool{"default": false, "of the host": true} {
		t.Run("fetcher "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { hangWhileABlockIsMissed(t, own) })
		})
	}
}

func hangWhileABlockIsMissed(t *testing.T, own bool) {
	memory, middle := threeBlocks(t)
	bkt := &deafLists{Memory: memory, release: make(chan struct{})}
	opts := Options{}
	if own {
		opts.Fetcher = listing{bkt}
	}
	b := openOver(t, bkt, t.TempDir(), opts)
	blocktest.Remove(t, memory, middle)
	bkt.deaf.Store(true)

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	began := time.Now()
	_, _, err := read(ctx, b, 0, 299, equal("cluster", "eu"))
	if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took > 10*time.Second+2*grace {
		t.Errorf("a read with ten seconds ends after %s: %v", took, err)
	}
	// One that has more time is told of the fault.
	began = time.Now()
	_, warnings, err := read(partial(t.Context()), b, 0, 299, equal("cluster", "eu"))
	if took := time.Since(began); err != nil || len(warnings) != 1 || took > 2*refreshTimeout+2*grace {
		t.Errorf("a read without an end ends after %s: %v, %v", took, warnings.AsErrors(), err)
	}
	if own {
		bkt.deaf.Store(false)
		if err := b.Sync(t.Context()); err != nil {
			t.Errorf("a Sync after that: %v", err)
		}
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	close(bkt.release)
}

// listing is a Fetcher that keeps nothing.
type listing struct{ bkt objstore.BucketReader }

func (f listing) Fetch(ctx context.Context) (*block.View, error) {
	fetcher, err := block.NewFetcher(f.bkt, block.FetcherOptions{NoIndex: true})
	if err != nil {
		return nil, err
	}
	return fetcher.Fetch(ctx)
}
