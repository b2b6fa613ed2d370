package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-tsdb/varve/block"
	"github.com/varve-tsdb/varve/internal/blocktest"
	"github.com/varve-tsdb/varve/objstore/cache"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

// twin is a block of series that differ from those of another kind in a letter of
// their labels and in the value of all samples, so that all objects have the size
// that those of the other have.
func twin(kind string, value float64) blocktest.Block {
	b := blocktest.Block{ID: ulid.MustNew(1, nil), MaxTime: 1000, External: labels.FromStrings("cluster", "eu")}
	for n := range 60 {
		s := blocktest.Series{Labels: labels.FromStrings("__name__", "s", "n", fmt.Sprintf("%s%02d", kind, n))}
		for at := range int64(1000) {
			s.Samples = append(s.Samples, blocktest.Float(at, value))
		}
		b.Series = append(b.Series, s)
	}
	return b
}

// replace puts the index and chunks of another block under the ULID of one, a
// minute later, below a meta.json that says nothing of it.
func replace(t *testing.T, bkt *objstoretest.Memory, other blocktest.Block) {
	t.Helper()
	made := objstoretest.NewMemory()
	id := blocktest.Put(t, made, other)
	before := bkt.Objects()
	for name, content := range made.Objects() {
		was, ok := before[name]
		if name == block.MetaObject(id) {
			content = was
		}
		if !ok || len(was) != len(content) {
			t.Fatalf("%s has %d bytes, %d before", name, len(content), len(was))
		}
		attributes, err := bkt.Attributes(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		bkt.Put(name, content)
		bkt.SetModified(name, attributes.LastModified.Add(time.Minute))
	}
}

// TestBlockReplacedUnderItsULID has a block replaced by another one of the same
// meta.json and sizes, between two passes or two starts, after part of the first
// was read into a cache and its header onto the disk. What is answered then is of
// the second.
func TestBlockReplacedUnderItsULID(t *testing.T) {
	for _, index := range []bool{false, true} {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprintf("index %v restart %v", index, restart), func(t *testing.T) {
				memory := objstoretest.NewMemory()
				blocktest.Put(t, memory, twin("a", 1))
				if index {
					reconcile(t, memory)
				}
				dir, opts := t.TempDir(), cache.Options{Dir: t.TempDir()}
				bkt := cached(t, memory, opts)
				b := openOver(t, bkt, dir, Options{})
				if got := mustRead(t, b, 0, 1000, like("n", "a0.*")); strings.Count(got, "\n") != 10 {
					t.Fatalf("of the first block it answers\n%s", got)
				}

				replace(t, memory, twin("b", 2))
				if index {
					reconcile(t, memory)
				}
				if restart {
					if err := errors.Join(b.Close(), bkt.Close()); err != nil {
						t.Fatal(err)
					}
					b = openOver(t, cached(t, memory, opts), dir, Options{})
				}
				mustSync(t, b, 1)
				want := mustRead(t, openOver(t, memory, t.TempDir(), Options{}), 0, 1000)
				if diff := cmp.Diff(want, mustRead(t, b, 0, 1000)); diff != "" || !strings.Contains(want, "b00") {
					t.Errorf("answer of the second block and what is answered (-want +got):\n%.2000s", diff)
				}
			})
		}
	}
}

// A header of a block that was replaced, which a read that began before has built
// from what a cache had of it, is of no use to the one that is there now.
func TestHeaderOfReplacedBlock(t *testing.T) {
	memory := objstoretest.NewMemory()
	blocktest.Put(t, memory, twin("a", 1))
	b := openOver(t, cached(t, memory, cache.Options{}), t.TempDir(), Options{})
	mustRead(t, b, 0, 1000)
	old := b.set.streams[0].blocks[0]
	old.retain()
	defer old.release()
	replace(t, memory, twin("b", 2))
	mustSync(t, b, 1)
	if _, err := old.header.get(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := mustRead(t, openOver(t, memory, t.TempDir(), Options{}), 0, 1000)
	if diff := cmp.Diff(want, mustRead(t, b, 0, 1000)); diff != "" {
		t.Errorf("answer (-want +got):\n%.2000s", diff)
	}
}

// A label that was edited in meta.json is in the next answer, and nothing else of
// the block is read again.
func TestLabelsEditedInPlace(t *testing.T) {
	memory := objstoretest.NewMemory()
	id := blocktest.Put(t, memory, twin("a", 1))
	log := objstoretest.NewRecorder(memory)
	dir, opts := t.TempDir(), cache.Options{Dir: t.TempDir()}
	bkt := cached(t, log, opts)
	b := openOver(t, bkt, dir, Options{})
	before := mustRead(t, b, 0, 1000)

	want := strings.ReplaceAll(before, `cluster="eu"`, `cluster="us"`)
	edited := strings.Replace(string(memory.Objects()[block.MetaObject(id)]), `"eu"`, `"us"`, 1)
	attributes, err := memory.Attributes(t.Context(), block.MetaObject(id))
	if err != nil {
		t.Fatal(err)
	}
	memory.Put(block.MetaObject(id), []byte(edited))
	memory.SetModified(block.MetaObject(id), attributes.LastModified.Add(time.Minute))
	log.Reset()
	mustSync(t, b, 1)
	for _, start := range []string{"running", "restarted"} {
		if got := mustRead(t, b, 0, 1000, equal("cluster", "us")); got != want || want == before {
			t.Errorf("%s: the answer is\n%.300s", start, got)
		}
		if got := mustRead(t, b, 0, 1000, equal("cluster", "eu")); got != "" {
			t.Errorf("%s: with the earlier label the answer is\n%.300s", start, got)
		}
		if n := blockReads(log); n != 0 {
			t.Errorf("%s: %d reads of what was read before", start, n)
		}
		if start == "running" {
			if err := errors.Join(b.Close(), bkt.Close()); err != nil {
				t.Fatal(err)
			}
			b = openOver(t, cached(t, log, opts), dir, Options{})
		}
	}
}

// What a cache calls a block does not depend on how a start has found it.
func TestContentVersionByListAndByIndex(t *testing.T) {
	memory := objstoretest.NewMemory()
	blocktest.Put(t, memory, twin("a", 1))
	byList := openOver(t, memory, t.TempDir(), Options{}).set.streams[0].blocks[0].content
	reconcile(t, memory)
	if byIndex := openOver(t, memory, t.TempDir(), Options{}).set.streams[0].blocks[0].content; byIndex != byList {
		t.Errorf("version %s by the index, %s by a list", byIndex, byList)
	}
}

// heldIndex is a bucket that keeps back the first that is read of an index.
type heldIndex struct {
	*objstoretest.Memory
	once        sync.Once
	read, after chan struct{} // closed when it was read, and when it may go on
}

func (b *heldIndex) GetRange(ctx context.Context, name string, off, length int64) (io.ReadCloser, error) {
	r, err := b.Memory.GetRange(ctx, name, off, length)
	if strings.HasSuffix(name, "/index") {
		b.once.Do(func() {
			close(b.read)
			<-b.after
		})
	}
	return r, err
}

// TestIndexReplacedWhileItsHeaderIsMade has an index written anew when a header has
// been read of the one before, and is not there yet.
func TestIndexReplacedWhileItsHeaderIsMade(t *testing.T) {
	memory := objstoretest.NewMemory()
	id := blocktest.Put(t, memory, twin("a", 1))
	bkt := &heldIndex{Memory: memory, read: make(chan struct{}), after: make(chan struct{})}
	dir := t.TempDir()
	b := openOver(t, bkt, dir, Options{})
	answer := make(chan string)
	go func() {
		got, _, err := read(t.Context(), b, 0, 1000, like("n", ".+"))
		if err != nil {
			t.Error(err)
		}
		answer <- got
	}()
	<-bkt.read
	replace(t, memory, twin("b", 2))
	attributes, err := memory.Attributes(t.Context(), block.IndexObject(id))
	if err != nil {
		t.Fatal(err)
	}
	known := pinned(t, b, id)
	defer known.release()
	known.rewritten.Store(attributes.LastModified.UnixNano())
	known.header.forget()
	close(bkt.after)
	got := <-answer
	b.src.running.Wait()
	if mustRead(t, b, 0, 1000, like("n", ".+")) != got || strings.Count(got, `n="b`) != 60 {
		t.Errorf("it answers\n%.100s", got)
	}
}
