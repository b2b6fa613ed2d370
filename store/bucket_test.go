package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/varve-tsdb/varve/block"
	"github.com/varve-tsdb/varve/internal/blocktest"
	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

func TestReadiness(t *testing.T) {
	memory, _ := threeBlocks(t)
	bkt := objstoretest.NewFaulty(memory)
	recorder := objstoretest.NewRecorder(bkt)
	b, err := Open(recorder, t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if log := recorder.Lines(); log != "" {
		t.Errorf("Open read from the bucket:\n%s", log)
	}
	if _, err := b.ChunkQuerier(0, 1); !errors.Is(err, ErrNotReady) {
		t.Errorf("before the first Sync: %v", err)
	}
	// Anything may be there: whoever prunes by streams has to ask and hear it.
	var streams []string
	b.Streams(func(external labels.Labels, mint, maxt int64) bool {
		streams = append(streams, fmt.Sprint(external, mint == math.MinInt64, maxt == math.MaxInt64))
		return true
	})
	if want := []string{"{} true true"}; !slices.Equal(streams, want) {
		t.Errorf("streams before the first Sync are %v, want %v", streams, want)
	}

	away := errors.New("the bucket is away")
	bkt.Set(objstoretest.Rule{Op: objstore.OpIter, Fault: objstoretest.Fail(away)})
	if err := b.Sync(t.Context()); !errors.Is(err, away) {
		t.Errorf("Sync of a bucket that is away: %v", err)
	}
	if _, err := b.ChunkQuerier(0, 1); !errors.Is(err, ErrNotReady) {
		t.Errorf("after a failed first Sync: %v", err)
	}
	bkt.Set()
	if err := b.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := mustRead(t, b, 0, 299)
	bkt.Set(objstoretest.Rule{Op: objstore.OpIter, Fault: objstoretest.Fail(away)})
	if err := b.Sync(t.Context()); !errors.Is(err, away) {
		t.Errorf("Sync of a bucket that went away: %v", err)
	}
	if got := mustRead(t, b, 0, 299); got != want {
		t.Errorf("after a failed Sync: %s", got)
	}

	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.ChunkQuerier(0, 1); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	bkt.Set()
	if err := b.Sync(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("Sync after Close: %v", err)
	}
}

func TestEmptyBucketAnswersNothing(t *testing.T) {
	b := openOver(t, objstoretest.NewMemory(), t.TempDir(), Options{})
	if got := mustRead(t, b, math.MinInt64, math.MaxInt64, like("a", ".*")); got != "" {
		t.Errorf("got %q", got)
	}
}

func TestSyncFollowsTheBucket(t *testing.T) {
	bkt, middle := threeBlocks(t)
	dir := t.TempDir()
	b := openOver(t, bkt, dir, Options{})
	streams := func() (s []string) {
		b.Streams(func(external labels.Labels, mint, maxt int64) bool {
			s = append(s, external.String()+" "+time.UnixMilli(mint).UTC().Format("05.000")+" "+time.UnixMilli(maxt).UTC().Format("05.000"))
			return true
		})
		return s
	}
	if diff := cmp.Diff([]string{`{cluster="eu"} 00.000 00.299`}, streams()); diff != "" {
		t.Error(diff)
	}
	before := mustRead(t, b, 0, 399, equal("__name__", "one"))

	// A querier keeps what it was opened with.
	q, err := b.ChunkQuerier(0, 399)
	if err != nil {
		t.Fatal(err)
	}
	objects := bkt.Copy()
	blocktest.Remove(t, bkt, middle)
	blocktest.Put(t, bkt, blocktest.Block{
		MinTime: 300, MaxTime: 400, External: labels.FromStrings("cluster", "us"),
		Series: []blocktest.Series{{Labels: labels.FromStrings("__name__", "one"), Samples: blocktest.Floats(300, 301, 1, 300)}},
	})
	if err := b.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, object := range objects.Objects() {
		if strings.HasPrefix(name, middle.String()) && !strings.HasSuffix(name, "meta.json") {
			bkt.Put(name, object) // deletion has not got further than meta.json
		}
	}
	got, _, err := text(q.Select(t.Context(), true, nil, equal("__name__", "one")))
	if err != nil || got != before {
		t.Errorf("the open querier: %s, %v", got, err)
	}
	header := filepath.Join(dir, middle.String(), headerFilename)
	if _, err := os.Stat(header); err != nil {
		t.Errorf("the header of a block in use: %v", err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Dir(header)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the header of a block that is gone is still there: %v", err)
	}

	want := `{__name__="one", cluster="eu"} 0:0 50:1 200:200 250:201` + "\n" + `{__name__="one", cluster="us"} 300:300` + "\n"
	if got := mustRead(t, b, 0, 399, equal("__name__", "one")); got != want {
		t.Errorf("after Sync: %s", got)
	}
	if diff := cmp.Diff([]string{`{cluster="eu"} 00.000 00.299`, `{cluster="us"} 00.300 00.399`}, streams()); diff != "" {
		t.Error(diff)
	}
}

func TestSyncKeepsBlockWhoseMetaCannotBeRead(t *testing.T) {
	memory, middle := threeBlocks(t)
	fetch := &scriptedFetcher{}
	f, err := block.NewFetcher(memory, block.FetcherOptions{})
	if err != nil {
		t.Fatal(err)
	}
	view, err := f.Fetch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	fetch.view = view
	b := openOver(t, memory, t.TempDir(), Options{Fetcher: fetch})
	want := mustRead(t, b, 0, 299)

	next := *view
	next.Blocks = nil
	for _, m := range view.Blocks {
		if m.ULID != middle {
			next.Blocks = append(next.Blocks, m)
		}
	}
	next.Partial = []block.Partial{{ID: middle, Err: errors.New("timeout")}}
	fetch.view = &next
	if err := b.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := mustRead(t, b, 0, 299); got != want {
		t.Errorf("a block whose meta.json could not be read this time is gone: %s", got)
	}
	next.Partial = []block.Partial{{ID: middle, Err: block.ErrMetaNotFound}}
	if err := b.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := mustRead(t, b, 0, 299); got == want {
		t.Error("a block without meta.json is still served")
	}
}

type scriptedFetcher struct{ view *block.View }

func (s *scriptedFetcher) Fetch(context.Context) (*block.View, error) { return s.view, nil }

// What a block holds whose meta.json cannot be read is not known, so every
// answer says that it may lack it, until the block is repaired or gone.
// TestUnreadableMeta: what a block without a readable meta.json holds nobody
// knows, so every answer may lack it. While that may pass a strict read fails;
// when it will not, the other blocks answer, with a warning.
func TestUnreadableMeta(t *testing.T) {
	away := errors.New("the bucket is away")
	for name, c := range map[string]struct {
		want  error
		fails bool // a strict read
	}{
		"invalid":   {ErrCorrupt, false},
		"not there": {away, true},
	} {
		t.Run(name, func(t *testing.T) {
			memory, _ := threeBlocks(t)
			broken := blocktest.Put(t, memory, blocktest.Block{
				External: labels.FromStrings("cluster", "us"),
				Series:   []blocktest.Series{{Labels: labels.FromStrings("a", "b"), Samples: blocktest.Floats(0, 300, 10, 0)}},
			})
			meta := block.MetaObject(broken)
			bkt := objstoretest.NewFaulty(memory)
			if c.fails {
				bkt.Set(objstoretest.Rule{Op: objstore.OpGet, Name: meta, Fault: objstoretest.Fail(away)})
			} else if err := memory.Upload(t.Context(), meta, strings.NewReader("{")); err != nil {
				t.Fatal(err)
			}
			about := func(err error) bool {
				var blockErr *BlockError
				return errors.As(err, &blockErr) && blockErr.Block == broken && blockErr.Object == meta && errors.Is(err, c.want)
			}
			b := openOver(t, bkt, t.TempDir(), Options{})
			q, err := b.ChunkQuerier(0, 299)
			if err != nil {
				t.Fatal(err)
			}
			defer q.Close()
			for _, ctx := range []context.Context{t.Context(), partial(t.Context())} {
				series, selected, err1 := text(q.Select(ctx, true, nil, equal("__name__", "one")))
				_, named, err2 := q.LabelNames(ctx, nil)
				_, valued, err3 := q.LabelValues(ctx, "cluster", nil)
				if c.fails && ctx == t.Context() {
					if !about(err1) || !about(err2) || !about(err3) {
						t.Errorf("strict: %v, %v, %v; want each to name the block", err1, err2, err3)
					}
					continue
				}
				if err := errors.Join(err1, err2, err3); err != nil || series == "" {
					t.Errorf("the other blocks answer %q, %v", series, err)
				}
				for _, warnings := range []annotations.Annotations{selected, named, valued} {
					if err := errors.Join(warnings.AsErrors()...); !about(err) {
						t.Errorf("warnings %v", err)
					}
				}
			}
			bkt.Set()
			blocktest.Remove(t, memory, broken)
			if err := b.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, warnings, err := read(t.Context(), b, 0, 299); err != nil || len(warnings) > 0 {
				t.Errorf("after its removal: %v, %v", warnings, err)
			}
		})
	}
}

func TestLeftoversOfGoneBlocksAreRemovedAndNothingElse(t *testing.T) {
	bkt, middle := threeBlocks(t)
	dir := t.TempDir()
	gone, foreign := ulid.Make(), ulid.Make()
	for path, keep := range map[string]bool{
		gone.String() + "/index-header":               false,
		gone.String() + "/index-header.tmp-123":       false,
		foreign.String() + "/index-header":            false,
		foreign.String() + "/chunks/000001":           true,
		middle.String() + "/index-header":             true,
		"not-a-block/index-header":                    true,
		"file":                                        true,
		strings.ToLower(gone.String()) + "x/whatever": true,
	} {
		full := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, nil, 0o666); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if _, err := os.Stat(full); keep != (err == nil) {
				t.Errorf("%s: %v, to keep: %v", path, err, keep)
			}
		}()
	}
	openOver(t, bkt, dir, Options{})
}

func TestRunSyncsAgain(t *testing.T) {
	memory, _ := threeBlocks(t)
	synctest.Test(t, func(t *testing.T) {
		b, err := Open(memory, t.TempDir(), Options{SyncInterval: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- b.Run(ctx) }()
		time.Sleep(time.Minute)
		if n := testutil.ToFloat64(b.metrics.syncs); n != 1 {
			t.Errorf("%v passes after a minute", n)
		}
		time.Sleep(3 * time.Hour)
		if n := testutil.ToFloat64(b.metrics.syncs); n < 3 || n > 4 {
			t.Errorf("%v passes after three hours", n)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestCloseWaitsForQueriers(t *testing.T) {
	memory, _ := threeBlocks(t)
	synctest.Test(t, func(t *testing.T) {
		b := openOver(t, memory, t.TempDir(), Options{})
		q, err := b.ChunkQuerier(0, 299)
		if err != nil {
			t.Fatal(err)
		}
		set := q.Select(t.Context(), true, nil, equal("__name__", "one"))
		var closed bool
		go func() {
			b.Close()
			closed = true
		}()
		synctest.Wait()
		if closed {
			t.Error("Close did not wait")
		}
		if got, _, err := text(set); err != nil || !strings.Contains(got, "250:201") {
			t.Errorf("while closing: %s, %v", got, err)
		}
		q.Close()
		q.Close()
		synctest.Wait()
		if !closed {
			t.Error("Close still waits")
		}
		if set := q.Select(t.Context(), true, nil); set.Next() || !errors.Is(set.Err(), ErrClosed) {
			t.Errorf("Select after Close: %v", set.Err())
		}
	})
}

// TestBlocksComeAndGoWhileQueriesRun is for the race detector, and for answers
// that must be right at any time.
func TestBlocksComeAndGoWhileQueriesRun(t *testing.T) {
	bkt, middle := threeBlocks(t)
	all := bkt.Copy()
	b := openOver(t, bkt, t.TempDir(), Options{})
	const whole, without = "0:0 50:1 100:100 150:101 200:200 250:201\n", "0:0 50:1 200:200 250:201\n"
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for ctx.Err() == nil {
				got, _, err := read(t.Context(), b, 0, 299, equal("__name__", "one"))
				switch {
				case errors.Is(err, ErrReplaced), errors.Is(err, ErrMissing): // read while it was deleted
				case err != nil || !strings.HasSuffix(got, " "+whole) && !strings.HasSuffix(got, " "+without):
					t.Errorf("got %s, %v", got, err)
					return
				}
			}
		})
	}
	for range 25 {
		blocktest.Remove(t, bkt, middle)
		if err := b.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		for name, object := range all.Objects() {
			bkt.Put(name, object)
		}
		if err := b.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	wg.Wait()
}

func TestOptions(t *testing.T) {
	_, err := Open(objstoretest.NewMemory(), t.TempDir(), Options{SyncInterval: -1, Concurrency: -1, ReadAhead: -1, ConsistencyDelay: -1})
	for _, field := range []string{"SyncInterval", "Concurrency", "ReadAhead", "ConsistencyDelay"} {
		if err == nil || !strings.Contains(err.Error(), "Options."+field) {
			t.Errorf("%v does not name %s", err, field)
		}
	}
}

// A host that opens a Bucket anew, as after a change of its configuration, has
// one registry for both.
func TestOpenAgainOnTheSameRegistry(t *testing.T) {
	bkt, _ := threeBlocks(t)
	reg := prometheus.NewRegistry()
	for range 2 {
		b, err := Open(bkt, t.TempDir(), Options{Registerer: reg})
		if err != nil {
			t.Fatal(err)
		}
		if families, err := reg.Gather(); err != nil || len(families) == 0 {
			t.Errorf("%d metrics, %v", len(families), err)
		}
		if err := errors.Join(b.Close(), b.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if families, err := reg.Gather(); err != nil || len(families) != 0 {
		t.Errorf("after Close %v are left, %v", families, err)
	}
}

func TestTwoInOneProcess(t *testing.T) {
	bkt, _ := threeBlocks(t)
	reg := prometheus.NewRegistry()
	wrapped := func(name string) prometheus.Registerer {
		return prometheus.WrapRegistererWith(prometheus.Labels{"bucket": name}, reg)
	}
	one := openOver(t, bkt, t.TempDir(), Options{Registerer: wrapped("one")})
	_, err := Open(bkt, t.TempDir(), Options{Registerer: wrapped("one")})
	if err == nil || !strings.Contains(err.Error(), "WrapRegistererWith") {
		t.Errorf("a second Bucket on the same registry: %v", err)
	}
	two := openOver(t, bkt, t.TempDir(), Options{Registerer: wrapped("two")})
	three := openOver(t, bkt, t.TempDir(), Options{})
	want := mustRead(t, one, 0, 299)
	for _, b := range []*Bucket{two, three} {
		if got := mustRead(t, b, 0, 299); got != want {
			t.Errorf("got %s", got)
		}
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("metrics: %v, %v", problems, err)
	}
}

// A read that finds a block gone looks at the bucket anew, also while Close waits
// for it.
func TestCloseWaitsForReadsThatSync(t *testing.T) {
	bkt, _ := threeBlocks(t)
	b := openOver(t, bkt, t.TempDir(), Options{})
	q, err := b.ChunkQuerier(0, 299)
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan error, 1)
	go func() { closed <- b.Close() }()
	time.Sleep(20 * time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := b.refresh(ctx); !errors.Is(err, ErrClosed) {
		t.Errorf("a sync meanwhile: %v", err)
	}
	if err := errors.Join(q.Close(), <-closed); err != nil {
		t.Error(err)
	}
}
