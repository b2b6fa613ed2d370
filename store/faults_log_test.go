package store

import (
	"bytes"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/varve-tsdb/varve/block"
)

// However many queries meet a broken block, the log names it once in a while.
func TestFaultsAreLoggedOnceInAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bkt, middle := threeBlocks(t)
		var logged bytes.Buffer
		b := openOver(t, bkt, t.TempDir(), Options{Logger: slog.New(slog.NewTextHandler(&logged, nil))})
		if err := bkt.Delete(t.Context(), block.IndexObject(middle)); err != nil {
			t.Fatal(err)
		}
		for round := 1; round <= 2; round++ {
			for range 5 {
				if _, _, err := read(t.Context(), b, 0, 299, equal("__name__", "one")); err == nil {
					t.Fatal("a block without an index was read")
				}
			}
			if n := lines(logged.String(), "level=WARN", block.IndexObject(middle)); n != round {
				t.Fatalf("after %d rounds %d warnings in %s", round, n, &logged)
			}
			time.Sleep(warnEvery)
		}
	})
}
