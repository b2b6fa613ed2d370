package store

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-tsdb/varve/internal/blocktest"
	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

// damage overwrites a file from a position on, as another process would: who
// has it open sees that.
func damage(t *testing.T, path string, at int64, b []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
}

// However an open header is damaged, reads go on with a new one and nobody is
// told to delete a healthy block.
func TestDamagedOpenHeaderIsBuiltAnew(t *testing.T) {
	bkt, middle := threeBlocks(t)
	whole := mustRead(t, openOver(t, bkt, t.TempDir(), Options{}), 0, 299, like("__name__", "one|two"))
	for name, spoil := range map[string]func(path string, size int64) error{
		"overwritten": func(path string, size int64) error {
			damage(t, path, 0, bytes.Repeat([]byte{0xff}, int(size)))
			return nil
		},
		"zeroed":  func(path string, size int64) error { damage(t, path, 0, make([]byte, size)); return nil },
		"cut":     func(path string, _ int64) error { return os.Truncate(path, 10) },
		"symbols": func(path string, _ int64) error { damage(t, path, 22, make([]byte, 20)); return nil },
		// The last symbols are values: "one" and "two".
		"values": func(path string, _ int64) error {
			header, err := os.ReadFile(path)
			if err == nil {
				damage(t, path, int64(bytes.Index(header, []byte("\x03one\x03two"))), make([]byte, 8))
			}
			return err
		},
		// What was read is a symbol still, but another one.
		"a bit of a value": func(path string, _ int64) error {
			header, err := os.ReadFile(path)
			if err == nil {
				damage(t, path, int64(bytes.Index(header, []byte("\x03one\x03two"))+1), []byte("n"))
			}
			return err
		},
		"its tables": func(path string, size int64) error { damage(t, path, size-110, make([]byte, 30)); return nil },
	} {
		for what, ask := range map[string]func(*Bucket) string{
			"series": func(b *Bucket) string { return mustRead(t, b, 0, 299, like("__name__", "one|two")) },
			"names":  func(b *Bucket) string { return strings.Join(mustNames(t, b, equal("__name__", "one")), " ") },
			"values": func(b *Bucket) string { return strings.Join(mustValues(t, b, "__name__"), " ") },
		} {
			t.Run(name+"/"+what, func(t *testing.T) {
				var logged bytes.Buffer
				reg, dir := prometheus.NewRegistry(), t.TempDir()
				b := openOver(t, bkt, dir, Options{Registerer: reg, Logger: slog.New(slog.NewTextHandler(&logged, nil))})
				want := ask(b)
				path := filepath.Join(dir, middle.String(), headerFilename)
				info, err := os.Stat(path)
				if err != nil {
					t.Fatal(err)
				}
				if err := spoil(path, info.Size()); err != nil {
					t.Fatal(err)
				}
				if got := ask(b); got != want {
					t.Errorf("with a damaged header: %s, want %s", got, want)
				}
				if got := mustRead(t, b, 0, 299, like("__name__", "one|two")); got != whole {
					t.Errorf("after that: %s", got)
				}
				if n := testutil.ToFloat64(b.metrics.headerRebuilt); n != 1 {
					t.Errorf("%v headers were discarded", n)
				}
				if !strings.Contains(logged.String(), path) || strings.Contains(logged.String(), "deletion") {
					t.Errorf("logged %s", &logged)
				}
			})
		}
	}
}

func TestDamagedHeaderUnderManyReaders(t *testing.T) {
	bkt, middle := threeBlocks(t)
	dir := t.TempDir()
	b := openOver(t, bkt, dir, Options{})
	want := mustRead(t, b, 0, 299, like("__name__", "one|two"))
	damage(t, filepath.Join(dir, middle.String(), headerFilename), 14, bytes.Repeat([]byte{0xff}, 60))
	var readers sync.WaitGroup
	for range 8 {
		readers.Go(func() {
			got, _, err := read(t.Context(), b, 0, 299, like("__name__", "one|two"))
			if err != nil || got != want {
				t.Errorf("got %s, %v", got, err)
			}
		})
	}
	readers.Wait()
	if n := testutil.ToFloat64(b.metrics.headerRebuilt); n != 1 {
		t.Errorf("%v headers were discarded", n)
	}
}

// Where the header cannot be built anew the error is about what kept it from
// that, and the block answers again once the bucket does.
func TestDamagedHeaderWhileTheBucketIsAway(t *testing.T) {
	memory, middle := threeBlocks(t)
	bkt, dir := objstoretest.NewFaulty(memory), t.TempDir()
	b := openOver(t, bkt, dir, Options{})
	want := mustRead(t, b, 0, 299, like("__name__", "one|two"))
	damage(t, filepath.Join(dir, middle.String(), headerFilename), 14, bytes.Repeat([]byte{0xff}, 60))
	away := errors.New("the bucket is away")
	bkt.Set(objstoretest.Rule{Op: objstore.OpGetRange, Name: middle.String() + "/index", Fault: objstoretest.Fail(away)})
	_, _, err := read(t.Context(), b, 0, 299, like("__name__", "one|two"))
	if fault := new(BlockError); !errors.As(err, &fault) || !fault.Retryable() || !errors.Is(err, away) {
		t.Errorf("got %v", err)
	}
	bkt.Set()
	if got := mustRead(t, b, 0, 299, like("__name__", "one|two")); got != want {
		t.Errorf("afterwards: %s", got)
	}
}

// A header that is damaged as often as it is built comes to an error about the
// local file.
func TestHeaderThatIsDamagedAgainAndAgain(t *testing.T) {
	bkt, middle := threeBlocks(t)
	dir := t.TempDir()
	r := &blockReader{block: pinned(t, openOver(t, bkt, dir, Options{}), middle)}
	defer r.block.release()
	reads := 0
	err := r.repeated(t.Context(), func(context.Context) error {
		reads++
		return &headerDamage{nil, errors.New("the symbol table fails its checksum")}
	})
	var fault *BlockError
	if !errors.As(err, &fault) || !errors.Is(err, ErrHeader) || !fault.Retryable() || reads != 2 {
		t.Fatalf("after %d reads: %v", reads, err)
	}
	path := filepath.Join(dir, middle.String(), headerFilename)
	if fault.Object != path || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "deletion") {
		t.Errorf("the error %v does not name the file", err)
	}
}

// A read that is repeated when its first series are out already goes on behind
// them.
func TestRepeatedReadSendsNothingTwice(t *testing.T) {
	bkt := objstoretest.NewMemory()
	id := blocktest.Put(t, bkt, mixedBlock())
	r := &blockReader{block: pinned(t, openOver(t, bkt, t.TempDir(), Options{}), id), readBytes: 1 << 16}
	defer r.block.release()
	names := func(sent progress) (all []labels.Labels) {
		out := make(chan batch)
		done := make(chan error, 1)
		go func() {
			defer close(out)
			done <- r.run(t.Context(), selection{maxt: 10_000}, leastReadAhead, nil, out, &sent, nil)
		}()
		for batch := range out {
			for _, s := range batch.series {
				all = append(all, s.labels)
			}
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		return all
	}
	whole := names(progress{})
	if len(whole) < 3 {
		t.Fatalf("only %d series", len(whole))
	}
	for i, last := range whole {
		if rest := names(progress{sent: i + 1, last: last}); !slices.EqualFunc(rest, whole[i+1:], labels.Equal) {
			t.Errorf("after %s: %q, want %q", last, rest, whole[i+1:])
		}
	}
}

func mustNames(t *testing.T, b *Bucket, matchers ...*labels.Matcher) []string {
	t.Helper()
	q, err := b.ChunkQuerier(0, 299)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	names, _, err := q.LabelNames(t.Context(), nil, matchers...)
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func mustValues(t *testing.T, b *Bucket, name string) []string {
	t.Helper()
	q, err := b.ChunkQuerier(0, 299)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	values, _, err := q.LabelValues(t.Context(), name, nil)
	if err != nil {
		t.Fatal(err)
	}
	return values
}
