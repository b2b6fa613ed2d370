package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-tsdb/varve/block"
	"github.com/varve-tsdb/varve/internal/blocktest"
	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

const (
	wholeOne   = `{__name__="one", cluster="eu"} 0:0 50:1 100:100 150:101 200:200 250:201` + "\n"
	withoutOne = `{__name__="one", cluster="eu"} 0:0 50:1 200:200 250:201` + "\n"
)

// spoilChunk flips a bit in the first chunk of a block, which is that of "one".
func spoilChunk(bkt *objstoretest.Memory, id ulid.ULID) (object string) {
	object = block.ChunksObject(id, 1)
	content := bytes.Clone(bkt.Objects()[object])
	content[14] ^= 4
	bkt.Put(object, content)
	return object
}

func faultsOf(b *Bucket, id ulid.ULID) []BlockFault {
	for _, s := range b.Blocks() {
		if s.Block == id {
			return s.Faults
		}
	}
	return nil
}

func TestBrokenThingsAreNotReadAgain(t *testing.T) {
	healthy, middle := threeBlocks(t)
	for name, c := range map[string]struct {
		object string
		spoil  func(*objstoretest.Memory, string)
		reason string
		whole  bool
	}{
		"a chunk": {"chunks/000001", func(bkt *objstoretest.Memory, _ string) { spoilChunk(bkt, middle) }, "corrupt", false},
		"chunks missing": {"chunks/000001", func(bkt *objstoretest.Memory, object string) {
			_ = bkt.Delete(t.Context(), object)
		}, "missing", true},
		"index missing": {"index", func(bkt *objstoretest.Memory, object string) { _ = bkt.Delete(t.Context(), object) }, "missing", true},
		"index cut":     {"index", func(bkt *objstoretest.Memory, object string) { bkt.Put(object, bkt.Objects()[object][:20]) }, "truncated", true},
		"index version 1": {"index", func(bkt *objstoretest.Memory, object string) {
			content := bytes.Clone(bkt.Objects()[object])
			content[4] = 1
			bkt.Put(object, content)
		}, "unsupported", true},
	} {
		t.Run(name, func(t *testing.T) {
			memory := healthy.Copy()
			object := middle.String() + "/" + c.object
			good := memory.Objects()[object]
			c.spoil(memory, object)
			bkt := objstoretest.NewRecorder(memory)
			reg := prometheus.NewRegistry()
			b := openOver(t, bkt, t.TempDir(), Options{Registerer: reg})
			for i := range 4 {
				got, warnings, err := read(partial(t.Context()), b, 0, 299, equal("__name__", "one"))
				if err != nil || got != withoutOne || len(warnings) != 1 {
					t.Fatalf("got %q, %v, %v", got, warnings.AsErrors(), err)
				}
				var fault *BlockError
				if !errors.As(warnings.AsErrors()[0], &fault) || fault.Since.IsZero() != (i == 0) || fault.Retryable() {
					t.Errorf("read %d warns of %v", i, warnings.AsErrors())
				}
				asked := 0
				for _, op := range bkt.Log() {
					if op.Name == object && op.Op == objstore.OpGetRange {
						asked++
					}
				}
				if i > 0 && asked > 0 {
					t.Errorf("read %d asked %d times for a broken object", i, asked)
				}
				bkt.Reset()
			}
			if _, _, err := read(t.Context(), b, 0, 299, equal("__name__", "one")); !errors.As(err, new(*BlockError)) || !strings.Contains(err.Error(), "known since") {
				t.Errorf("a strict read: %v", err)
			}
			if _, _, err := read(t.Context(), b, 0, 299, equal("__name__", "two")); !c.whole && err != nil {
				t.Errorf("a read that does not need the chunk: %v", err)
			}
			faults := faultsOf(b, middle)
			if len(faults) != 1 || faults[0].Object != object || faults[0].Reason != c.reason || faults[0].Whole != c.whole ||
				faults[0].Since.IsZero() || !faults[0].Until.After(faults[0].Since) || faults[0].Message == "" {
				t.Errorf("Blocks says %+v", faults)
			}
			if n := testutil.ToFloat64(b.metrics.quarantined.WithLabelValues(c.reason)); n != 1 {
				t.Errorf("%g blocks in quarantine", n)
			}

			// Nothing changes by looking.
			for range 2 {
				if err := b.Sync(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if len(faultsOf(b, middle)) != 1 {
				t.Error("a Sync lets go of what is still broken")
			}
			memory.Put(object, good)
			if err := b.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := mustRead(t, b, 0, 299, equal("__name__", "one")); got != wholeOne || len(faultsOf(b, middle)) > 0 {
				t.Errorf("after the repair: %s, %v", got, faultsOf(b, middle))
			}
			if n := testutil.ToFloat64(b.metrics.quarantined.WithLabelValues(c.reason)); n != 0 {
				t.Errorf("%g blocks in quarantine after the repair", n)
			}
		})
	}
}

// What passes by itself must not keep a block from answering.
func TestPassingFaultsAreNotRemembered(t *testing.T) {
	memory, middle := threeBlocks(t)
	away := errors.New("the bucket is away")
	for name, fault := range map[string]objstoretest.Fault{
		"away": objstoretest.Fail(away), "breaks": objstoretest.Break(3, away),
	} {
		for _, object := range []string{"/index", "/chunks/"} {
			bkt := objstoretest.NewFaulty(memory)
			b := openOver(t, bkt, t.TempDir(), Options{})
			bkt.Set(objstoretest.Rule{Op: objstore.OpGetRange, Name: middle.String() + object, Fault: fault})
			if _, _, err := read(t.Context(), b, 0, 299, equal("__name__", "one")); !errors.Is(err, away) {
				t.Errorf("%s, %s: %v", name, object, err)
			}
			bkt.Set()
			if got := mustRead(t, b, 0, 299, equal("__name__", "one")); got != wholeOne || len(faultsOf(b, middle)) > 0 {
				t.Errorf("%s, %s: afterwards %s, %v", name, object, got, faultsOf(b, middle))
			}
		}
	}
}

// Bytes that turn, or are lost, on their way are read again.
func TestFaultsOnTheWayDoNotShow(t *testing.T) {
	memory, middle := threeBlocks(t)
	for name, fault := range map[string]objstoretest.Fault{"flip": objstoretest.Flip(14), "truncate": objstoretest.Truncate(12)} {
		for _, object := range []string{"/index", "/chunks/"} {
			bkt := objstoretest.NewFaulty(memory)
			b := openOver(t, bkt, t.TempDir(), Options{})
			bkt.Set(objstoretest.Rule{Op: objstore.OpGetRange, Name: middle.String() + object, Times: 1, Fault: fault})
			if got := mustRead(t, b, 0, 299, equal("__name__", "one")); got != wholeOne || bkt.Struck() != 1 || len(faultsOf(b, middle)) > 0 {
				t.Errorf("%s, %s: %s, struck %d times, %v", name, object, got, bkt.Struck(), faultsOf(b, middle))
			}
			if n := testutil.ToFloat64(b.metrics.rereads); name == "flip" && n != 1 {
				t.Errorf("%s, %s: %g reads repeated", name, object, n)
			}
		}
	}
}

func TestQuarantineEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory, middle := threeBlocks(t)
		spoilChunk(memory, middle)
		for wait, again := range map[time.Duration]bool{time.Hour - time.Second: false, time.Hour: true} {
			bkt := objstoretest.NewRecorder(memory)
			b := openOver(t, bkt, t.TempDir(), Options{Quarantine: time.Hour})
			ask := func() *BlockError {
				_, _, err := read(t.Context(), b, 0, 299, equal("__name__", "one"))
				fault, ok := errors.AsType[*BlockError](err)
				if !ok {
					t.Fatalf("got %v", err)
				}
				return fault
			}
			first := ask()
			since := faultsOf(b, middle)[0].Since
			time.Sleep(wait)
			if fault := ask(); !first.Since.IsZero() || fault.Since.IsZero() != again {
				t.Errorf("after %s: %v", wait, fault)
			}
			if got := faultsOf(b, middle); len(got) != 1 || !got[0].Since.Equal(since) || again != got[0].Until.After(since.Add(time.Hour)) {
				t.Errorf("after %s: %+v", wait, got)
			}
			b.Close()
		}
	})
}

// What has passed is not shown as a fault any more, nor counted.
func TestFaultsThatHavePassedAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory, middle := threeBlocks(t)
		spoilChunk(memory, middle)
		b := openOver(t, memory, t.TempDir(), Options{Quarantine: time.Hour})
		if _, _, err := read(t.Context(), b, 0, 299, equal("__name__", "one")); err == nil {
			t.Fatal("a broken chunk is read")
		}
		count := func() (n float64) {
			for _, reason := range reasons {
				n += testutil.ToFloat64(b.metrics.quarantined.WithLabelValues(reason))
			}
			return n
		}
		if len(faultsOf(b, middle)) != 1 || count() != 1 {
			t.Errorf("%v, %v are counted", faultsOf(b, middle), count())
		}
		for range 2 {
			time.Sleep(time.Hour)
			mustSync(t, b, 1)
			if len(faultsOf(b, middle)) != 0 || count() != 0 {
				t.Errorf("afterwards: %v, %v are counted", faultsOf(b, middle), count())
			}
		}
		if n := len(b.src.quarantine.faults); n != 0 {
			t.Errorf("%d blocks are remembered", n)
		}
		b.Close()
	})
}

func TestWithoutQuarantine(t *testing.T) {
	memory, middle := threeBlocks(t)
	good := memory.Objects()[block.ChunksObject(middle, 1)]
	object := spoilChunk(memory, middle)
	b := openOver(t, memory, t.TempDir(), Options{Quarantine: -1})
	if _, _, err := read(t.Context(), b, 0, 299, equal("__name__", "one")); !errors.Is(err, ErrCorrupt) {
		t.Errorf("got %v", err)
	}
	memory.Put(object, good)
	if got := mustRead(t, b, 0, 299, equal("__name__", "one")); got != wholeOne {
		t.Errorf("after the repair: %s", got)
	}
}

func TestBlocksAsJSON(t *testing.T) {
	memory, middle := threeBlocks(t)
	spoilChunk(memory, middle)
	broken := ulid.MustNew(5, nil)
	memory.Put(block.MetaObject(broken), []byte("{"))
	blocktest.PutDownsampled(t, memory, blocktest.Block{
		MinTime: 0, MaxTime: 300, Resolution: blocktest.FiveMinutes, External: labels.FromStrings("cluster", "eu"),
		Series: []blocktest.Series{{Labels: labels.FromStrings("a", "b"), Samples: blocktest.Floats(0, 300, 10, 0)}},
	})
	b, err := Open(memory, t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if text, err := json.Marshal(b.Blocks()); err != nil || string(text) != "[]" {
		t.Errorf("before a Sync: %s, %v", text, err)
	}
	if err := b.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := read(partial(t.Context()), b, 0, 299, equal("__name__", "one")); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(b.Blocks())
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{
		`{"ulid":"` + middle.String() + `","labels":{"cluster":"eu"},"minTime":"1970-01-01T00:00:00.1Z","maxTime":"1970-01-01T00:00:00.2Z","resolution":0,"faults":[{"object":"` + middle.String() + `/chunks/000001","reason":"corrupt","whole":false,"message":"`,
		`{"ulid":"` + broken.String() + `","labels":{},"resolution":0,"faults":[{"object":"` + broken.String() + `/meta.json","reason":"corrupt","whole":true,"message":"`,
		`"resolution":300000000000}`,
	} {
		if !strings.Contains(string(text), part) {
			t.Errorf("%s\nlacks %s", text, part)
		}
	}
}
