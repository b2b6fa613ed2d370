package store

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/varve-tsdb/varve/block"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

// lines counts the lines of a log that hold all parts.
func lines(log string, parts ...string) (n int) {
	for line := range strings.Lines(log) {
		all := true
		for _, part := range parts {
			all = all && strings.Contains(line, part)
		}
		if all {
			n++
		}
	}
	return n
}

func mustSync(t *testing.T, b *Bucket, times int) {
	t.Helper()
	for range times {
		if err := b.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// A block that loses its meta.json but nothing else leaves the answers, and the
// log says so once.
func TestSyncNamesBlocksWithoutMeta(t *testing.T) {
	bkt, middle := threeBlocks(t)
	var logged bytes.Buffer
	b := openOver(t, bkt, t.TempDir(), Options{Logger: slog.New(slog.NewTextHandler(&logged, nil))})
	if n := lines(logged.String(), "meta.json is gone"); n != 0 {
		t.Fatalf("logged too early: %s", &logged)
	}
	if err := bkt.Delete(t.Context(), block.MetaObject(middle)); err != nil {
		t.Fatal(err)
	}
	mustSync(t, b, 3)
	if n := lines(logged.String(), "level=INFO", "meta.json is gone", middle.String()); n != 1 {
		t.Errorf("the block is named %d times in %s", n, &logged)
	}
}

// A block that stays broken is news once.
func TestSyncNamesBrokenBlocksOnce(t *testing.T) {
	bkt, middle := threeBlocks(t)
	bkt.Put(block.MetaObject(middle), []byte("{"))
	var logged bytes.Buffer
	b := openOver(t, bkt, t.TempDir(), Options{Logger: slog.New(slog.NewTextHandler(&logged, nil))})
	mustSync(t, b, 2)
	if n := lines(logged.String(), "level=WARN", middle.String()); n != 1 {
		t.Errorf("%d warnings in %s", n, &logged)
	}
}

// A bucket without blocks, which may be another than was meant, is news once.
func TestSyncNamesABucketWithoutBlocks(t *testing.T) {
	var logged bytes.Buffer
	b := openOver(t, objstoretest.NewMemory(), t.TempDir(), Options{Logger: slog.New(slog.NewTextHandler(&logged, nil))})
	mustSync(t, b, 2)
	if n := lines(logged.String(), "no blocks to serve", "configuration"); n != 1 {
		t.Errorf("%d lines about that in %s", n, &logged)
	}
}
