package cache_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/varve-tsdb/varve/objstore/cache"
)

// A store that has stalled and ignores the end of its contexts does not hold up
// the shutdown of a host.
func TestCloseDoesNotWaitForAStalledBucket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 10*pageSize, cache.Options{})
		release := make(chan struct{})
		defer close(release)
		ctx, cancel := context.WithCancel(t.Context())
		answer := make(chan error, 1)
		req := f.request(f.version, rng(0, 100))
		req.Open = func(context.Context, int64, int64) (io.ReadCloser, error) {
			<-release
			return nil, io.ErrUnexpectedEOF
		}
		go func() { answer <- f.ReadRanges(ctx, req, func(int, int, []byte) error { return nil }) }()
		synctest.Wait()
		cancel()
		<-answer
		closed := make(chan error, 1)
		go func() { closed <- f.Bucket.Close() }()
		synctest.Wait()
		select {
		case err := <-closed:
			if err != nil {
				t.Error(err)
			}
		default:
			t.Error("Close waits for the bucket")
		}
	})
}

// Close ends the reads of the bucket that are under way, and with them those that
// wait for them.
func TestCloseEndsReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 10*pageSize, cache.Options{})
		answer := make(chan error, 1)
		req := f.request(f.version, rng(0, 100))
		req.Open = func(ctx context.Context, _, _ int64) (io.ReadCloser, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { answer <- f.ReadRanges(ctx, req, func(int, int, []byte) error { return nil }) }()
		synctest.Wait()
		if err := f.Bucket.Close(); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		select {
		case err := <-answer:
			if err == nil {
				t.Error("a read that was ended has an answer")
			}
		default:
			t.Error("a read goes on after Close")
		}
	})
}

// What was of use goes last, also where that was before a restart.
func TestUseOutlivesARestart(t *testing.T) {
	dir := t.TempDir()
	opts := cache.Options{MemoryBytes: -1, Dir: dir}
	f := newFixture(t, 2*segmentSize, opts)
	f.mustRead(t, rng(0, segmentSize))
	f.settle(t)
	first := files(t, dir)[0]
	f.open(t, opts)
	f.mustRead(t, rng(segmentSize, 2*segmentSize))
	f.settle(t)
	long := time.Now().Add(-time.Hour)
	for _, path := range files(t, dir) {
		written := long
		if path == first {
			written = long.Add(-time.Hour)
		}
		if err := os.Chtimes(path, written, written); err != nil {
			t.Fatal(err)
		}
	}
	f.open(t, opts)
	f.mustRead(t, rng(0, 100))
	f.settle(t)
	f.reads()

	opts.DiskBytes = segmentSize + segmentSize/2
	f.open(t, opts)
	f.mustRead(t, rng(0, 100))
	if n := f.reads(); n != 0 {
		t.Error("what was written first was evicted, though it was read last")
	}
	f.mustRead(t, rng(segmentSize, segmentSize+100))
	if n := f.reads(); n != 1 {
		t.Error("there is room for more than one file")
	}
}

// A damaged file is not taken for a disk that is put aside.
func TestDamageIsLoggedAsSuch(t *testing.T) {
	var log bytes.Buffer
	dir := t.TempDir()
	opts := cache.Options{MemoryBytes: -1, Dir: dir, Logger: slog.New(slog.NewTextHandler(&log, nil))}
	f := newFixture(t, pageSize, opts)
	f.mustRead(t, rng(0, pageSize))
	f.settle(t)
	path := files(t, dir)[0]
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)-1] ^= 1
	if err := os.WriteFile(path, content, 0o666); err != nil {
		t.Fatal(err)
	}
	f.open(t, opts)
	f.mustRead(t, rng(0, pageSize))
	f.flush(t)
	if text := log.String(); strings.Count(text, "level=WARN") != 1 || !strings.Contains(text, path) ||
		!strings.Contains(text, "is damaged") || strings.Contains(text, "does without") {
		t.Errorf("the log says\n%s", text)
	}
	f.reads()
	f.mustRead(t, rng(0, pageSize))
	if n := f.reads(); n != 0 {
		t.Error("the disk is put aside")
	}
}
